import { type KubeApi, KubeError } from '@bailiff/kube';
import { describe, expect, it } from 'vitest';
import { resultOf } from './resource-changes.ts';

const TARGET = { kind: 'CorrelationRule', name: 'repeated-spoofing', verb: 'update' } as const;
const WRITTEN = { metadata: { name: TARGET.name, uid: 'u', resourceVersion: '7', generation: 4 } };
const accepted = (generation: number, status = 'True') => ({
  ...WRITTEN,
  status: {
    observedGeneration: generation,
    configRevision: 9,
    conditions: [{ type: 'Accepted', status, reason: 'Invalid', message: 'gte: must be a number' }],
  },
});

/** Answers each request with the next of these; a function decides for itself. */
function api(...replies: (object | (() => Promise<never>))[]): KubeApi {
  const request = () => {
    const reply = replies.shift() ?? accepted(3);
    return typeof reply === 'function' ? reply() : Promise.resolve(reply);
  };
  return { request } as unknown as KubeApi;
}

describe('resultOf', () => {
  it('result - that of the written generation, not of an earlier one', async () => {
    const found = await resultOf(api(accepted(3), accepted(4)), TARGET, WRITTEN, new AbortController().signal);
    expect([found.isWritten, found.text]).toEqual([true, expect.stringContaining('it is revision 9 on the bus')]);
    const refused = await resultOf(api(accepted(4, 'False')), TARGET, WRITTEN, new AbortController().signal);
    expect([refused.isWritten, refused.notes]).toEqual([false, ['gte: must be a number']]);
  });

  it.each([
    ['while the API server does not respond', true],
    ['between two reads', false],
  ])('time is up %s - the change was made, so it is no failure', async (_, isPending) => {
    const end = new AbortController();
    const hang = () =>
      new Promise<never>((_resolve, reject) => {
        end.signal.addEventListener('abort', () => reject(new KubeError('KUBE_ABORTED', 'aborted')));
        end.abort();
      });
    const once = () => {
      end.abort();
      return Promise.reject(new KubeError('KUBE_UNREACHABLE', 'reset'));
    };
    const found = await resultOf(api(isPending ? hang : once), TARGET, WRITTEN, end.signal);
    expect([found.isWritten, found.text]).toEqual([
      false,
      'The API server accepted CorrelationRule repeated-spoofing, generation 4; ipam-sync has not written it to the bus yet',
    ]);
  });
});
