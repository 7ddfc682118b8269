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
