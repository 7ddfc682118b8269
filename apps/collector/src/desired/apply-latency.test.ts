import { Registry } from 'prom-client';
import { expect, it } from 'vitest';
import { makeMetrics, NO_READINGS } from '../metrics.ts';
import { ApplyLatency } from './apply-latency.ts';

const NOW_MS = 1_000_000;

function latencyAt() {
  const registry = new Registry();
  const latency = new ApplyLatency(
    makeMetrics(registry, () => NO_READINGS),
    { nowMs: () => NOW_MS },
  );
  const sumOf = async (metric: string, label: string) => {
    const text = await registry.metrics();
    const read = (part: string) => Number(text.split(`${metric}_${part}{${label}} `)[1]?.split('\n')[0]);
    return { count: read('count'), sum: read('sum') };
  };
  return { latency, sumOf };
}

const APPLY = 'bailiff_collector_apply_seconds';
const IN_FORCE = 'bailiff_collector_policy_in_force_seconds';

it('apply latency - by source', async () => {
  const { latency, sumOf } = latencyAt();
  latency.recordApplied(NOW_MS - 20);
  latency.documentApplied({ what: 'pods', key: 'node-a' }, (NOW_MS - 40) * 1000);
  latency.documentApplied({ what: 'config', key: 'disarm.cluster._.all' }, (NOW_MS - 60) * 1000);
  expect(await sumOf(APPLY, 'source="cni"')).toEqual({ count: 1, sum: 0.02 });
  expect(await sumOf(APPLY, 'source="pods"')).toEqual({ count: 1, sum: 0.04 });
  expect(await sumOf(APPLY, 'source="quarantine"')).toEqual({ count: 0, sum: 0 });
  expect(await sumOf(IN_FORCE, 'kind="disarm"')).toEqual({ count: 1, sum: 0.06 });
});

it('apply latency - not for documents of unknown age, never negative', async () => {
  const { latency, sumOf } = latencyAt();
  latency.documentApplied({ what: 'pods', key: 'node-a' }, 0);
  expect(await sumOf(APPLY, 'source="pods"')).toEqual({ count: 0, sum: 0 });
  latency.documentApplied({ what: 'pods', key: 'node-a' }, (NOW_MS + 500) * 1000);
  expect(await sumOf(APPLY, 'source="pods"')).toEqual({ count: 1, sum: 0 });
});

it('apply latency - runtime policies count once they are applied, by the oldest', async () => {
  const { latency, sumOf } = latencyAt();
  const policy = { what: 'config', key: 'runtime.cluster._.guard' } as const;
  latency.runtimeApplied();
  latency.documentApplied(policy, (NOW_MS - 10) * 1000);
  latency.documentApplied(policy, (NOW_MS - 250) * 1000);
  expect((await sumOf(IN_FORCE, 'kind="runtime"')).count).toBe(0);
  latency.runtimeApplied();
  latency.runtimeApplied();
  expect(await sumOf(IN_FORCE, 'kind="runtime"')).toEqual({ count: 1, sum: 0.25 });
});
