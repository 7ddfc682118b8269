import { readdirSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { COUNTER_NUMBERS, type CounterTable, type IfaceKey } from '@bailiff/bpf';
import { temporaryDirectory } from '@bailiff/service/testing';
import { beforeEach, describe, expect, it } from 'vitest';
import { CELLS } from './cells.ts';
import { CounterStore } from './counter-store.ts';

describe('counter store', () => {
  const key = { ifindex: 3, generation: 30 };
  let dir: string;
  let problems: string[];
  let kernel: Map<number, Float64Array>;
  let acks: Map<number, Float64Array>;
  beforeEach(() => {
    dir = temporaryDirectory();
    problems = [];
    kernel = new Map([[30, new Float64Array(COUNTER_NUMBERS).fill(7, 3, 6)]]);
    acks = new Map([[30, new Float64Array(CELLS).fill(2, 1, 2)]]);
  });
  const open = () =>
    new CounterStore({
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
      onProblem: (_, reason) => problems.push(reason),
    });
  const read = (store: CounterStore) => {
    const into = new Float64Array(COUNTER_NUMBERS);
    return store.readInto(key, into) ? [into[3], store.acked(key)?.[1]] : null;
  };

  it('archived generation - reads the same from its file, in the next process too, until it is removed', () => {
    const store = open();
    expect([store.load(), read(store)]).toEqual([[], [7, 2]]);
    expect(store.archive(key)).toBe(true);
    expect([kernel.size, acks.size, read(store)]).toEqual([0, 0, [7, 2]]);
    store.writeAcked(key, new Float64Array(CELLS).fill(7, 1, 2));
    const next = open();
    expect([next.load(), next.isArchived(30), read(next)]).toEqual([[key], true, [7, 7]]);
    next.remove(key);
    expect([readdirSync(dir), read(next), problems]).toEqual([[], null, []]);
  });
  it('process that ended between file and map - the kernel entry wins', () => {
    const store = open();
    store.load();
    const before = kernel.get(30) as Float64Array;
    store.archive(key);
    kernel.set(
      30,
      before.map((n) => n * 2),
    );
    const next = open();
    expect([next.load(), read(next), readdirSync(dir)]).toEqual([[], [14, undefined], []]);
  });
  it('acknowledged counts of unknown generations - removed', () => {
    acks.set(31, new Float64Array(CELLS));
    open().removeStrays((generation) => generation === 30);
    expect([...acks.keys()]).toEqual([30]);
  });
  it('torn file is reported; failing disk leaves the count in the kernel', () => {
    writeFileSync(path.join(dir, 'owed-3-30.json'), '{"ifindex":3');
    const store = open();
    expect([store.load(), problems.length]).toEqual([[], 1]);
    rmSync(dir, { recursive: true });
    writeFileSync(dir, '');
    expect([store.archive(key), read(store)]).toEqual([false, [7, 2]]);
  });
});
