// Two tasks that share the entry of a pod.
import type { QuarantineBucket } from '@bailiff/response';
import type { QuarantineEntry } from '@bailiff/schemas';
import { sampleResponse, sampleVerdict } from '@bailiff/schemas/testing';
import { expect, it } from 'vitest';
import type { ActionContext } from './action.ts';
import { withdrawEntry } from './quarantine-entry.ts';

const verdict = sampleVerdict();
const podUid = verdict.pod?.uid ?? '';
const own: QuarantineEntry = {
  ...{ podUid, podNamespace: 'shop', podName: 'web-0', verdictId: verdict.verdictId, reason: 'why' },
  until: '2030-01-01T00:00:00.000Z',
};
const other = {
  taskId: 'other',
  sequence: 1,
  sinceMicros: 0,
  untilMicros: Date.parse('2029-01-01T00:00:00.000Z') * 1000,
  response: sampleResponse({ podUid, verdictId: 'v2', action: 'quarantine' }),
};

it.each([
  ['at first', [other], ['v2']],
  ['only after the edit, because it has ended meanwhile', [null, other], ['v2']],
  ['never', [null, null], []],
])('withdrawEntry - another quarantine of the pod is known %s', async (_, known, verdicts) => {
  let value = Buffer.from(JSON.stringify({ nodeName: verdict.nodeName, revision: 1, entries: [own] }));
  const quarantine: QuarantineBucket = {
    newest: async () => ({ value, revision: 1, deleted: false }),
    put: async (_key, next) => {
      value = Buffer.from(next);
      return 2;
    },
  };
  const answers = [...known];
  const context = { quarantine, verdict, nowMs: 0, otherQuarantine: async () => answers.shift() ?? null };
  const left = await withdrawEntry(context as unknown as ActionContext, own);
  const { entries } = JSON.parse(value.toString()) as { entries: QuarantineEntry[] };
  expect([entries.map(({ verdictId }) => verdictId), left ? [left.verdictId] : []]).toEqual([verdicts, verdicts]);
});
