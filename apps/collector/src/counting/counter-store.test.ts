import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { COUNTER_NUMBERS, type CounterTable, type IfaceKey } from '@bailiff/bpf';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Accounts } from './counter-store.ts';
import { CELLS } from './epochs.ts';

describe('accounts', () => {
  const key = { ifindex: 3, generation: 30 };
  let dir: string;
  let problems: string[];
  let kernel: Map<number, Float64Array>;
  let acks: Map<number, Float64Array>;
  beforeEach(() => {
    dir = mkdtempSync(path.join(tmpdir(), 'bailiff-accounts-'));
    problems = [];
    kernel = new Map([[30, new Float64Array(COUNTER_NUMBERS).fill(7, 3, 6)]]);
    acks = new Map([[30, new Float64Array(CELLS).fill(2, 1, 2)]]);
  });
  afterEach(() => rmSync(dir, { recursive: true, force: true }));
  const open = () =>
    new Accounts({
      dir,
      counters: {
        read: ({ generation }: IfaceKey) => (kernel.has(generation) ? [] : undefined),
        readInto: ({ generation }: IfaceKey, into: Float64Array) => {
          into.set(kernel.get(generation) ?? []);
          return kernel.has(generation);
        },
        delete: ({ generation }: IfaceKey) => kernel.delete(generation),
      } as unknown as CounterTable,
      acked: {
        read: ({ generation }) => acks.get(generation),
        write: ({ generation }, packets) => void acks.set(generation, packets),
        delete: ({ generation }) => void acks.delete(generation),
        keys: () => [...acks.keys()].map((generation) => ({ ifindex: 3, generation })),
      },
      onProblem: ({ reason }) => problems.push(reason),
    });
  const read = (accounts: Accounts) => {
    const into = new Float64Array(COUNTER_NUMBERS);
    return accounts.readInto(key, into) ? [into[3], accounts.acked(key)?.[1]] : null;
  };

  it('what made room says the same from disk, to the next process as well, until it is removed', () => {
    const accounts = open();
    expect([accounts.load(), read(accounts)]).toEqual([[], [7, 2]]);
    expect(accounts.fold(key)).toBe(true);
    expect([kernel.size, acks.size, read(accounts)]).toEqual([0, 0, [7, 2]]);
    accounts.writeAcked(key, new Float64Array(CELLS).fill(7, 1, 2));
    const next = open();
    expect([next.load(), next.isOwed(30), read(next)]).toEqual([[key], true, [7, 7]]);
    next.remove(key);
    expect([readdirSync(dir), read(next), problems]).toEqual([[], null, []]);
  });
  it('a process that ended between the file and the map - the kernel counts', () => {
    const accounts = open();
    accounts.load();
    const before = kernel.get(30) as Float64Array;
    accounts.fold(key);
    kernel.set(
      30,
      before.map((n) => n * 2),
    );
    const next = open();
    expect([next.load(), read(next), readdirSync(dir)]).toEqual([[], [14, undefined], []]);
  });
  it('acknowledgements of what nobody counts for are removed', () => {
    acks.set(31, new Float64Array(CELLS));
    open().dropStrays((generation) => generation === 30);
    expect([...acks.keys()]).toEqual([30]);
  });
  it('a torn file is told; a disk that refuses leaves the count where it is', () => {
    writeFileSync(path.join(dir, 'owed-3-30.json'), '{"ifindex":3');
    const accounts = open();
    expect([accounts.load(), problems.length]).toEqual([[], 1]);
    rmSync(dir, { recursive: true });
    expect([accounts.fold(key), read(accounts)]).toEqual([false, [7, 2]]);
  });
});
