import { createHash, generateKeyPairSync } from 'node:crypto';
import { temporaryDirectory } from '@bailiff/service/testing';
import { expect, it } from 'vitest';
import { signHead } from '../log/checkpoint.ts';
import { LogWriter } from './log-files.ts';

const { privateKey } = generateKeyPairSync('ed25519');

function add(log: LogWriter, count: number): void {
  for (let index = log.size; index < log.size + count; index++)
    log.add('VIOLATIONS', 1, index + 1, createHash('sha256').update(String(index)).digest());
}
const flush = (log: LogWriter) => log.flush((size) => signHead({ origin: 'log', size }, log.at, privateKey));

it.each([
  ['a first level', 200],
  ['a second level', 65_500],
])('log - killed before the head that begins %s - continues into the same tree', (_, size) => {
  const directory = temporaryDirectory();
  const killed = new LogWriter(directory);
  add(killed, size);
  flush(killed);
  add(killed, 100);
  // The head is not stored.
  killed.append();
  killed.close();

  const [log, other] = [new LogWriter(directory), new LogWriter(temporaryDirectory())];
  expect(log.size).toBe(size);
  add(log, 150);
  flush(log);
  add(other, size + 150);
  flush(other);
  expect(log.note).toBe(other.note);
  expect(log.leaves(size, 1_000)).toEqual(other.leaves(size, 1_000));
  for (const one of [log, other]) one.close();
});

it('log - sequences that a restored stream repeats have places of their own; the newest message with a sequence is found', () => {
  const directory = temporaryDirectory();
  const leaf = (name: string) => createHash('sha256').update(name).digest();
  const log = new LogWriter(directory);
  for (const sequence of [1, 2, 3]) log.add('VERDICTS', 1, sequence, leaf(`a${sequence}`));
  for (const sequence of [2, 3, 4]) log.add('VERDICTS', 1, sequence, leaf(`b${sequence}`));
  flush(log);
  // Without a head, they are cut off.
  log.add('VERDICTS', 1, 4, leaf('c4'));
  log.append();
  log.close();

  const again = new LogWriter(directory);
  const found = () => [1, 2, 3, 4, 5].map((sequence) => again.find('VERDICTS', 1, sequence));
  expect([again.last('VERDICTS', 1), found()]).toEqual([4, [0, 3, 4, 5, null]]);
  expect([again.has('VERDICTS', 1, 2, leaf('b2')), again.has('VERDICTS', 1, 2, leaf('a2'))]).toEqual([true, false]);
  again.add('VERDICTS', 1, 3, leaf('d3'));
  flush(again);
  expect([again.last('VERDICTS', 1), found()]).toEqual([3, [0, 3, 6, 5, null]]);
  expect(again.leaves(0, 100).map(({ sequence }) => sequence)).toEqual([1, 2, 3, 2, 3, 4, 3]);
  expect(() => {
    for (let n = 0; n < 1_000; n++) again.add('VERDICTS', 1, 1, leaf('e'));
  }).toThrow(/repeats its sequences more than 1000 times/);
  again.close();
});
