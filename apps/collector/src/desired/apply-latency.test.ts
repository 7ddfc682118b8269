import { Registry } from 'prom-client';
import { expect, it } from 'vitest';
import { makeMetrics, NO_READINGS } from '../metrics.ts';
import { ChangeTimes } from './apply-latency.ts';

const NOW_MS = 1_000_000;

function timesAt() {
  const registry = new Registry();
  const times = new ChangeTimes(
    makeMetrics(registry, () => NO_READINGS),
    { nowMs: () => NOW_MS },
  );
  const sumOf = async (metric: string, label: string) => {
    const text = await registry.metrics();
    const read = (part: string) => Number(text.split(`${metric}_${part}{${label}} `)[1]?.split('\n')[0]);
    return { count: read('count'), sum: read('sum') };
  };
  return { times, sumOf };
}

const APPLY = 'bailiff_collector_apply_seconds';
const IN_FORCE = 'bailiff_collector_policy_in_force_seconds';

it('change times - by what it came with', async () => {
  const { times, sumOf } = timesAt();
  times.bound(NOW_MS - 20);
  times.taken({ what: 'pods', key: 'node-a' }, (NOW_MS - 40) * 1000);
  times.taken({ what: 'config', key: 'disarm.cluster._.all' }, (NOW_MS - 60) * 1000);
  expect(await sumOf(APPLY, 'source="cni"')).toEqual({ count: 1, sum: 0.02 });
  expect(await sumOf(APPLY, 'source="pods"')).toEqual({ count: 1, sum: 0.04 });
  expect(await sumOf(APPLY, 'source="quarantine"')).toEqual({ count: 0, sum: 0 });
  expect(await sumOf(IN_FORCE, 'kind="disarm"')).toEqual({ count: 1, sum: 0.06 });
});

it('change times - what was there before this process listened is not timed, nor is a clock behind negative', async () => {
  const { times, sumOf } = timesAt();
  times.taken({ what: 'pods', key: 'node-a' }, 0);
  expect(await sumOf(APPLY, 'source="pods"')).toEqual({ count: 0, sum: 0 });
  times.taken({ what: 'pods', key: 'node-a' }, (NOW_MS + 500) * 1000);
  expect(await sumOf(APPLY, 'source="pods"')).toEqual({ count: 1, sum: 0 });
});

it('change times - runtime policies are in force once they are applied, the oldest counts', async () => {
  const { times, sumOf } = timesAt();
  const policy = { what: 'config', key: 'runtime.cluster._.guard' } as const;
  times.applied();
  times.taken(policy, (NOW_MS - 10) * 1000);
  times.taken(policy, (NOW_MS - 250) * 1000);
  expect((await sumOf(IN_FORCE, 'kind="runtime"')).count).toBe(0);
  times.applied();
  times.applied();
  expect(await sumOf(IN_FORCE, 'kind="runtime"')).toEqual({ count: 1, sum: 0.25 });
});
