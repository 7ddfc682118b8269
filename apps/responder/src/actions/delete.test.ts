// Removals after the API server has accepted them.

import { type KubeApi, KubeError, type RequestOptions } from '@bailiff/kube';
import { podFactsOf, type QuarantineBucket, type Task } from '@bailiff/response';
import { sampleVerdict } from '@bailiff/schemas/testing';
import { expect, test } from 'vitest';
import type { ActionContext } from './action.ts';
import { Api } from './api.ts';
import { deleteAction, REMOVAL_MARGIN_MS } from './delete.ts';

const verdict = sampleVerdict();
const uid = verdict.pod?.uid ?? '';
const going = { deletionTimestamp: 'now', deletionGracePeriodSeconds: 5 };

/**
 * @param pod its current metadata; null if it is gone
 * @param refusal error of each change
 */
function world(pod: Record<string, unknown> | null, refusal: KubeError | null = null) {
  const asked: RequestOptions[] = [];
  let stored: { value: Uint8Array; revision: number; deleted: boolean } | null = null;
  const kube: KubeApi = {
    request: async <T>(options: RequestOptions): Promise<T> => {
      asked.push(options);
      if (refusal && options.verb !== undefined) throw refusal;
      if (pod) return { metadata: { uid, ...pod } } as T;
      throw new KubeError('KUBE_NOT_FOUND', 'gone', { status: 404 });
    },
    watch: () => Promise.reject(new Error('not here')),
  };
  const quarantine: QuarantineBucket = {
    newest: async () => stored,
    put: async (_key, value, { previousRevision }) => {
      stored = { value: Buffer.from(value), revision: previousRevision + 1, deleted: false };
      return stored.revision;
    },
  };
  const contextAt = (nowMs: number, now: Record<string, unknown> | null = pod) =>
    ({
      task: { step: { action: 'delete' } } as Task,
      verdict,
      facts: {
        pod: now && podFactsOf({ metadata: { uid, ...now }, spec: { terminationGracePeriodSeconds: 5 } }),
        owner: null,
        node: null,
      },
      startedAtMicros: 0,
      removingForMs: nowMs,
      expiresAtMicros: null,
      maxGraceSeconds: 30,
      nowMs,
      api: new Api(kube, { timeoutMs: 1_000 }),
      quarantine,
    }) as unknown as ActionContext;
  const isolated = () => (stored ? JSON.parse(Buffer.from(stored.value).toString()).entries.length : 0);
  const release = (podUid: string, verdictId: string) => {
    const value = {
      nodeName: verdict.nodeName,
      revision: 1,
      entries: [],
      released: [{ podUid, verdictId, until: '' }],
    };
    stored = { value: Buffer.from(JSON.stringify(value)), revision: 1, deleted: false };
  };
  return { contextAt, asked, isolated, release };
}

test('delete - an existing pod is polled until its bound; then the task fails and the pod stays in quarantine', async () => {
  const { contextAt, asked, isolated } = world(going);
  const boundMs = 5_000 + REMOVAL_MARGIN_MS;
  expect(await deleteAction.carryOut(contextAt(boundMs - 1))).toMatchObject({ inProgress: true });
  const end = await deleteAction.carryOut(contextAt(boundMs));
  expect(end).toMatchObject({ failed: true, reasonCode: 'not-gone' });
  expect(isolated()).toBe(1);
  // The deletion in progress ends in time, so no new one is requested.
  expect(asked.every(({ verb = 'GET' }) => verb === 'GET')).toBe(true);
});

test.each([
  ['a year', 31_536_000],
  ['more seconds than a number holds exactly', 2 ** 63],
])(
  'delete - a deletion in progress with a longer grace period is requested again with a shorter one: %s',
  async (_, longer) => {
    const { contextAt, asked } = world({ ...going, deletionGracePeriodSeconds: longer });
    await deleteAction.carryOut(contextAt(0));
    expect(asked[0]).toMatchObject({ verb: 'DELETE', body: { gracePeriodSeconds: 5, preconditions: { uid } } });
  },
);

test('delete - effect: the object is gone, and the pod stays isolated; not while it terminates', async () => {
  const { contextAt, isolated } = world(going);
  await deleteAction.carryOut(contextAt(0));
  expect(await deleteAction.tookEffect(contextAt(1))).toBe(false);
  expect(isolated()).toBe(1);
  expect(await deleteAction.tookEffect(contextAt(2, null))).toBe(true);
  expect(isolated()).toBe(1);
});

test.each([
  ['no pod has its name', null],
  ['another pod has its name', { uid: 'another' }],
])('delete - a pod that was removed by force, and %s: its containers may run on, so it is isolated', async (_, now) => {
  const { contextAt, asked, isolated } = world(now);
  const outcome = await deleteAction.carryOut(contextAt(0, now));
  expect(outcome).toMatchObject({
    reasonCode: 'already-gone',
    reason: expect.stringMatching(/stays blocked\. A pod that uses the network of its node has/),
  });
  expect(isolated()).toBe(1);
  expect(asked).toEqual([]);
});

test('delete - a pod that a person released, and that does not end: the record says that its traffic passes', async () => {
  const { contextAt, isolated, release } = world(going);
  release(uid, verdict.verdictId);
  const { reason } = await deleteAction.carryOut(contextAt(5_000 + REMOVAL_MARGIN_MS));
  expect([reason, isolated()]).toEqual([
    expect.stringContaining('its traffic passes, because a person released it'),
    0,
  ]);
});

test('delete - a pod on the network of its node: no entry claims to block its traffic, and the record says so', async () => {
  const { contextAt, isolated } = world(going);
  const onNode = (nowMs: number, now: Record<string, unknown> | null = going) => ({
    ...contextAt(nowMs, now),
    hostNetwork: true,
  });
  expect(await deleteAction.carryOut(onNode(0))).toMatchObject({ inProgress: true });
  const { reason } = await deleteAction.carryOut(onNode(5_000 + REMOVAL_MARGIN_MS));
  expect(reason).toContain('its traffic passes, because it uses the network of node');
  expect(await deleteAction.tookEffect(onNode(1, null))).toBe(true);
  expect(isolated()).toBe(0);
});

test.each([
  ['a webhook that is away', new KubeError('KUBE_SERVER', 'failed calling webhook', { status: 500 }), 1],
  ['a pod without room for its deletion timestamp', new KubeError('KUBE_INVALID', 'too large', { status: 500 }), 1],
  ['an admission policy on its labels', new KubeError('KUBE_INVALID', 'denied the request', { status: 403 }), 1],
  ['a right that the account lacks', new KubeError('KUBE_FORBIDDEN', 'cannot delete resource', { status: 403 }), 0],
  ['another pod of the same name', new KubeError('KUBE_CONFLICT', 'precondition', { status: 409 }), 0],
  ['an exhausted disruption budget', new KubeError('KUBE_TOO_MANY_REQUESTS', 'budget', { status: 429 }), 0],
])('delete - %s: the task fails, and only the pod of the verdict is isolated', async (_, refusal, entries) => {
  const { contextAt, isolated } = world({}, refusal);
  await expect(deleteAction.carryOut(contextAt(0))).rejects.toThrow(refusal.message);
  expect(isolated()).toBe(entries);
});
