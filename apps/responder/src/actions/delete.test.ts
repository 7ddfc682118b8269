// What becomes of a removal that the API server has accepted.
import { podFactsOf, type QuarantineBucket, type Task } from '@bailiff/answer';
import { type KubeApi, KubeError, type RequestOptions } from '@bailiff/kube';
import { sampleVerdict } from '@bailiff/schemas/testing';
import { expect, test } from 'vitest';
import { Api } from '../api.ts';
import type { ActionContext } from './action.ts';
import { deleteAction, REMOVAL_MARGIN_MS } from './delete.ts';

const verdict = sampleVerdict();
const uid = verdict.pod?.uid ?? '';
const going = { deletionTimestamp: 'now', deletionGracePeriodSeconds: 5 };

/**
 * @param pod its metadata now; null when it is gone
 * @param refusal of changes
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
      ...{ startedAtMicros: 0, expiresAtMicros: null, maxGraceSeconds: 30, nowMs },
      ...{ api: new Api(kube, { timeoutMs: 1_000 }), quarantine },
    }) as unknown as ActionContext;
  const cutOff = () => (stored ? JSON.parse(Buffer.from(stored.value).toString()).entries.length : 0);
  return { contextAt, asked, cutOff };
}

test('delete - a pod that is still there is looked at again until its bound, and then the task has failed with the pod cut off', async () => {
  const { contextAt, asked, cutOff } = world(going);
  const boundMs = 5_000 + REMOVAL_MARGIN_MS;
  expect(await deleteAction.carryOut(contextAt(boundMs - 1))).toMatchObject({ underWay: true });
  const end = await deleteAction.carryOut(contextAt(boundMs));
  expect(end).toMatchObject({ failed: true, reasonCode: 'not-gone' });
  expect(cutOff()).toBe(1);
  // The deletion that is under way ends in time, so none is asked for.
  expect(asked.every(({ verb = 'GET' }) => verb === 'GET')).toBe(true);
});

test('delete - a deletion under way that would take longer is asked for again, with less', async () => {
  const { contextAt, asked } = world({ ...going, deletionGracePeriodSeconds: 31_536_000 });
  await deleteAction.carryOut(contextAt(0));
  expect(asked[0]).toMatchObject({ verb: 'DELETE', body: { gracePeriodSeconds: 5, preconditions: { uid } } });
});

test('delete - a pod that has gone took effect, and its entry goes with it; one that is going has not', async () => {
  const { contextAt, cutOff } = world(going);
  await deleteAction.carryOut(contextAt(0));
  expect(await deleteAction.tookEffect(contextAt(1))).toBe(false);
  expect(cutOff()).toBe(1);
  expect(await deleteAction.tookEffect(contextAt(2, null))).toBe(true);
  expect(cutOff()).toBe(0);
});

test.each([
  ['a pod that is too large to be marked', new KubeError('KUBE_SERVER', 'request is too large', { status: 500 }), 1],
  ['a pod that the server refuses to delete', new KubeError('KUBE_INVALID', 'invalid', { status: 422 }), 1],
  ['another pod of its name', new KubeError('KUBE_CONFLICT', 'precondition', { status: 409 }), 0],
  ['a budget without room', new KubeError('KUBE_TOO_MANY_REQUESTS', 'budget', { status: 429 }), 0],
])('delete - %s: the task fails, and the pod is cut off only if it is the one', async (_, refusal, entries) => {
  const { contextAt, cutOff } = world({}, refusal);
  await expect(deleteAction.carryOut(contextAt(0))).rejects.toThrow(refusal.message);
  expect(cutOff()).toBe(entries);
});
