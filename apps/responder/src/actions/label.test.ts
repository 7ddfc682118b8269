// Labels of verdicts about one pod: the level only rises.

import { type KubeApi, KubeError, type RequestOptions } from '@bailiff/kube';
import { podFactsOf, type Task, VERDICT_LABEL } from '@bailiff/response';
import { sampleVerdict } from '@bailiff/schemas/testing';
import { expect, it } from 'vitest';
import type { ActionContext } from './action.ts';
import { Api } from './api.ts';
import { label, MAX_VERSIONED } from './label.ts';

const verdict = sampleVerdict();
const uid = verdict.pod?.uid ?? '';
type Level = (typeof verdict)['level'];

/**
 * A pod of an API server.
 * @param checks false: it ignores the version in a patch
 * @param churn a tenant changes the pod before each patch
 */
function world(before: string | null, { checks = true, churn = false } = {}) {
  const metadata = {
    uid,
    namespace: 'default',
    name: 'attacker-0',
    labels: (before === null ? {} : { [VERDICT_LABEL]: before }) as Record<string, string>,
    annotations: {} as Record<string, string>,
  };
  let version = 1;
  let patches = 0;
  const pod = () => ({ metadata: { ...structuredClone(metadata), resourceVersion: String(version) } });
  const kube: KubeApi = {
    request: async <T>({ verb, body }: RequestOptions): Promise<T> => {
      if (verb !== 'PATCH') return pod() as T;
      patches++;
      if (churn) version++;
      const patch = (body as { metadata: typeof metadata & { resourceVersion?: string } }).metadata;
      if (checks && patch.resourceVersion !== undefined && patch.resourceVersion !== String(version))
        throw new KubeError('KUBE_CONFLICT', 'the object has been modified', { status: 409 });
      version++;
      Object.assign(metadata.labels, patch.labels);
      Object.assign(metadata.annotations, patch.annotations);
      return pod() as T;
    },
    watch: () => Promise.reject(new Error('not here')),
  };
  /** A task that has read the pod. */
  const task = (level: Level) => {
    const context = {
      task: { verdictId: `verdict-${level}`, policy: 'answer' } as Task,
      verdict: { ...verdict, level },
      facts: { pod: podFactsOf(pod()), owner: null, node: null },
      api: new Api(kube, { timeoutMs: 1_000 }),
    } as unknown as ActionContext;
    return () => label.carryOut(context);
  };
  return { task, now: () => metadata.labels[VERDICT_LABEL], patches: () => patches };
}

it.each([
  [null, 'low', 'low', ''],
  ['low', 'high', 'high', ''],
  ['high', 'high', 'high', ''],
  ['critical', 'high', 'critical', 'higher-level'],
  ['any other word', 'low', 'low', ''],
] as const)('label - %s, then a verdict of level %s: %s', async (before, level, after, reasonCode) => {
  const { task, now } = world(before);
  expect(await task(level)()).toMatchObject({ reasonCode });
  expect(now()).toBe(after);
});

it('label - two tasks that have read the same pod: the higher level stays, in either order', async () => {
  for (const order of [['critical', 'high'] as const, ['high', 'critical'] as const]) {
    const { task, now } = world(null);
    for (const run of order.map(task)) await run();
    expect(now()).toBe('critical');
  }
});

it('control - a server that ignores the version: the later patch lowers the level', async () => {
  const { task, now } = world(null, { checks: false });
  for (const run of [task('critical'), task('high')]) await run();
  expect(now()).toBe('high');
});

it('label - a tenant that changes its pod without pause does not keep it from its label', async () => {
  const { task, now, patches } = world(null, { churn: true });
  await task('high')();
  expect(now()).toBe('high');
  expect(patches()).toBe(MAX_VERSIONED + 1);
});
