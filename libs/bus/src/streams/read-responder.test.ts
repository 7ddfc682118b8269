import { expect, test } from 'vitest';
import { cheapRead } from './read-responder.ts';

test.each([
  { seq: 5 },
  { seq: 5, next_by_subj: 'bailiff.v1.verdicts.*.shop.>' },
  { start_time: '2026-11-30T00:00:00Z' },
  { last_by_subj: '>' },
  { last_by_subj: 'bailiff.v1.verdicts.high.shop.web-0.id' },
])('a read of one message passes: %j', (query) => {
  expect(cheapRead(Buffer.from(JSON.stringify(query)))).toEqual(query);
});

test.each([
  '',
  'null',
  '"seq"',
  '{"seq":1} x',
  '{"multi_last":[">"]}',
  // The server ignores the case of names.
  '{"seq":1,"MULTI_LAST":[">"]}',
  '{"seq":1,"up_to_time":"2026-11-30T00:00:00Z"}',
  '{"seq":1,"batch":2}',
  '{"seq":1,"max_bytes":1}',
  '{"last_by_subj":"bailiff.v1.verdicts.*.*.*.nothing"}',
  '{"seq":-1}',
  '{"seq":1.5}',
  '{"seq":"1"}',
  '{"next_by_subj":["a"]}',
  `{"next_by_subj":"${'a'.repeat(5_000)}"}`,
])('any other is refused: %s', (body) => {
  expect(cheapRead(Buffer.from(body))).toBeNull();
});
