// The verdicts of generated histories and of recorded attacks, as hashes. A change of the engine that keeps FOLD_VERSION keeps them.
import { createHash } from 'node:crypto';
import { FOLD_VERSION } from '@bailiff/correlation';
import fc from 'fast-check';
import { expect, it } from 'vitest';
import { judge } from '../versions/readers.ts';
import { readMessages } from '../versions/recording.ts';
import { type History, play, Reader, steps } from './correlator-stream.ts';

/** If only `verdicts` differ, the fold has changed: increment FOLD_VERSION, then write the hashes of the new version here. */
const HASHES = {
  version: 6,
  histories: '9103e609c8e08f6d8f98f5f6528d3e544b482a3769b6bdb4c500786d5adb7954',
  verdicts: '1b9e2d64c8a7d9c2de81ac00ff152b5ed8c17621efda1beba81a86c0cd72d018',
  recorded: '283bc5726146900b77df09c047bffcea3723895c2ecd3870890d3af58d36d9c5',
};

const hash = (value: unknown): string => createHash('sha256').update(JSON.stringify(value)).digest('hex');

const histories = (): History[] => fc.sample(steps(200), { numRuns: 300, seed: 1 }).map(play);

it('fold version - the same verdicts for 300 generated histories and a recorded attack', async () => {
  const made = histories();
  const printed = made.map((history) => new Reader(history, 0).run().printed);
  expect(printed.filter((verdicts) => verdicts.length > 3).length, 'histories with verdicts').toBeGreaterThan(200);
  const [verdicts, recorded] = [hash(printed), hash(await judge(readMessages('0.1.0')))];
  expect({ version: FOLD_VERSION, histories: hash(made), verdicts, recorded }).toEqual(HASHES);
});

it('fold version - control: a window that is one packet smaller gives another hash', () => {
  const made = histories().slice(0, 10);
  const verdicts = (of: History[]) => hash(of.map((history) => new Reader(history, 0).run().printed));
  const changed = made.map((history) => ({
    ...history,
    changes: history.changes.map((change) => ({
      ...change,
      json: change.json?.replace('"gte":20', '"gte":19') ?? null,
    })),
  }));
  expect(verdicts(made)).toBe(verdicts(histories().slice(0, 10)));
  expect(verdicts(changed)).not.toBe(verdicts(made));
});
