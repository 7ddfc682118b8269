import { expect, it } from 'vitest';
import { quarantinedOf } from './release.ts';

const entry = {
  podUid: 'u1',
  podNamespace: 'shop',
  podName: 'web-0',
  verdictId: 'v',
  until: '2026-11-24T12:00:00Z',
  reason: 'r',
};
const list = (...entries: unknown[]) => JSON.stringify({ nodeName: 'node-a', revision: 1, entries });

it('quarantine list - a bad entry hides neither itself nor the others, as the kernel has it', () => {
  const { entries, problems } = quarantinedOf(list(entry, { ...entry, podUid: 'u2', until: 'soon' }));
  expect(entries.map(({ podUid, untilMs }) => [podUid, untilMs])).toEqual([
    ['u1', Date.parse(entry.until)],
    ['u2', Number.POSITIVE_INFINITY],
  ]);
  expect(problems).toEqual([expect.stringMatching(/^entries\.1\.until: /)]);
});

it('quarantine list - an invalid snapshot is reported', () => {
  expect(quarantinedOf('{')).toEqual({ entries: [], problems: [expect.stringMatching(/^cannot be parsed: not JSON/)] });
});
