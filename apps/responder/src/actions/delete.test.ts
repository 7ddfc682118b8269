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

/** @param pod its current metadata; null if it is gone */
function world(pod: Record<string, unknown> | null) {
  const asked: RequestOptions[] = [];
  let stored: { value: Uint8Array; revision: number; deleted: boolean } | null = null;
  const kube: KubeApi = {
    request: async <T>(options: RequestOptions): Promise<T> => {
      asked.push(options);
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

test('delete - an existing pod is polled until its bound; then the task fails and the pod stays in quarantine', async () => {
  const { contextAt, asked, cutOff } = world(going);
  const boundMs = 5_000 + REMOVAL_MARGIN_MS;
  expect(await deleteAction.carryOut(contextAt(boundMs - 1))).toMatchObject({ inProgress: true });
  const end = await deleteAction.carryOut(contextAt(boundMs));
  expect(end).toMatchObject({ failed: true, reasonCode: 'not-gone' });
  expect(cutOff()).toBe(1);
  // The deletion in progress ends in time, so no new one is requested.
  expect(asked.every(({ verb = 'GET' }) => verb === 'GET')).toBe(true);
});

test('delete - a deletion in progress with a longer grace period is requested again with a shorter one', async () => {
  const { contextAt, asked } = world({ ...going, deletionGracePeriodSeconds: 31_536_000 });
  await deleteAction.carryOut(contextAt(0));
  expect(asked[0]).toMatchObject({ verb: 'DELETE', body: { gracePeriodSeconds: 5, preconditions: { uid } } });
});

test('delete - effect: the pod is gone, and its entry is removed; not while it terminates', async () => {
  const { contextAt, cutOff } = world(going);
  await deleteAction.carryOut(contextAt(0));
  expect(await deleteAction.tookEffect(contextAt(1))).toBe(false);
  expect(cutOff()).toBe(1);
  expect(await deleteAction.tookEffect(contextAt(2, null))).toBe(true);
  expect(cutOff()).toBe(0);
});
