// Reasons are words of others: of a subject, and of a status.
import { expect, it } from 'vitest';
import { deadLetterProblems } from './dead-letters.ts';
import { connectionProblems } from './node-connections.ts';

const BUILT_IN = 'constructor';
const letter = (reason: string) => ({ stream: 'VIOLATIONS', node: 'node-a', reason, count: 1 });

it('a reason that is a property of every object - is a word like any other', () => {
  const [known, built] = deadLetterProblems({ counts: [letter('foreign-pod'), letter(BUILT_IN)], cut: false });
  expect(known?.remedy).toMatch(/^it reported pods of other nodes/);
  expect(built?.remedy).toMatch(/^DEAD_LETTERS has them/);
  const ended = { node: 'node-a', connections: 1, host: '10.0.0.1', endedAt: new Date(0).toISOString() };
  const texts = ['flooding', BUILT_IN].map(
    (reason) =>
      connectionProblems({ watched: true, runningForMs: 0, ended: [{ ...ended, reason }] } as never, 1_000)[0]?.text,
  );
  expect(texts[0]).toMatch(/: it sends more than a collector does$/);
  expect(texts[1]).toMatch(/: "constructor"$/);
});
