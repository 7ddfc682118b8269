// The end of labels of a pod that its author has made too large for a change.

import { type KubeApi, KubeError, type RequestOptions } from '@bailiff/kube';
import { QUARANTINE_LABEL, type QuarantineBucket, VERDICT_ID } from '@bailiff/response';
import { sampleResponse } from '@bailiff/schemas/testing';
import { expect, it } from 'vitest';
import { markOf, type UndoContext } from './action.ts';
import { Api } from './api.ts';
import { ACTION_OF } from './index.ts';

const done = sampleResponse({ expiresAt: 1 });
const metadata = {
  uid: done.podUid,
  labels: { [QUARANTINE_LABEL]: done.podUid },
  annotations: { [VERDICT_ID]: markOf(done) },
};

/** Ends the effect of an action; the API server answers each change of the pod with `refusal`. */
async function undoneBy(action: 'label' | 'quarantine', refusal: KubeError | null) {
  const kube: KubeApi = {
    request: async <T>({ verb, path }: RequestOptions): Promise<T> => {
      if (path.includes('networkpolicies')) throw new KubeError('KUBE_NOT_FOUND', 'none', { status: 404 });
      if (verb === 'PATCH' && refusal) throw refusal;
      return { metadata } as T;
    },
    watch: () => Promise.reject(new Error('not here')),
  };
  const quarantine: QuarantineBucket = { newest: async () => null, put: async () => 1 };
  const api = new Api(kube, { timeoutMs: 1_000 });
  const context: UndoContext = { done, nowMs: 0, isQuarantinedToo: () => false, api, quarantine };
  return (await ACTION_OF[action].undo?.(context))?.reasonCode;
}

it.each(['label', 'quarantine'] as const)(
  '%s - a pod too large for its removal ends; a missing right does not',
  async (action) => {
    expect(await undoneBy(action, null)).toBe('');
    expect(await undoneBy(action, new KubeError('KUBE_INVALID', 'too many', { status: 422 }))).toBe('not-unmarked');
    const forbidden = new KubeError('KUBE_FORBIDDEN', 'no right', { status: 403 });
    await expect(undoneBy(action, forbidden)).rejects.toThrow('no right');
  },
);
