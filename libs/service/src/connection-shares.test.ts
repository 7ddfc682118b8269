import { describe, expect, test } from 'vitest';
import { ConnectionShares } from './connection-shares.ts';

const shares = () => new ConnectionShares<string>({ perSource: 3, total: 5 });
/** Adds connections named by source and number; returns what each one displaced. */
const fill = (into: ConnectionShares<string>, source: string, n: number) =>
  Array.from({ length: n }, (_, i) => into.add(source, `${source}${i + 1}`)?.connection ?? null);

describe('connection shares', () => {
  test('below the limits nothing is closed', () => {
    const of = shares();
    expect([...fill(of, 'a', 3), ...fill(of, 'b', 2)]).toEqual([null, null, null, null, null]);
    expect(of.count).toBe(5);
  });

  test('a source above its share loses its own oldest connections, and no other source does', () => {
    const of = shares();
    fill(of, 'b', 1);
    expect(fill(of, 'a', 6)).toEqual([null, null, null, 'a1', 'a2', 'a3']);
    expect(of.add('b', 'b2')).toBeNull();
    expect(of.count).toBe(5);
  });

  test('at the limit of all, a new source gets in, and the largest one loses its oldest connection', () => {
    const of = shares();
    fill(of, 'b', 2);
    fill(of, 'a', 3);
    expect(of.add('c', 'c1')).toEqual({ connection: 'a1', reason: 'all-shares' });
    expect(of.add('d', 'd1')?.connection).toBe('b1');
    expect(of.count).toBe(5);
  });

  test('more sources than connections: the newest source still gets in', () => {
    const of = shares();
    for (const source of 'vwxyz') of.add(source, source);
    expect(of.add('a', 'a')).toEqual({ connection: 'v', reason: 'all-shares' });
  });

  test('a connection that is answered outlives idle ones, and is closed when there are only such', () => {
    const of = shares();
    fill(of, 'a', 3);
    of.setBusy('a', 'a1');
    expect(of.add('a', 'a4')).toEqual({ connection: 'a2', reason: 'source-share' });
    for (const name of ['a3', 'a4']) of.setBusy('a', name);
    expect(of.add('a', 'a5')?.connection).toBe('a1');
  });

  test('a closed connection frees its place', () => {
    const of = shares();
    fill(of, 'a', 3);
    of.remove('a', 'a2');
    of.remove('a', 'a2');
    expect(of.count).toBe(2);
    expect(of.add('a', 'a4')).toBeNull();
    of.setBusy('a', 'a2');
    expect(of.add('a', 'a5')?.connection).toBe('a1');
  });

  test('with idleFirst, a source with many busy connections keeps them while others are idle', () => {
    for (const [idleFirst, displaced] of [
      [true, 'b1'],
      [false, 'a1'],
    ] as const) {
      const of = new ConnectionShares<string>({ perSource: 5, total: 5, idleFirst });
      fill(of, 'a', 3);
      for (const one of ['a1', 'a2', 'a3']) of.setBusy('a', one);
      fill(of, 'b', 2);
      expect(of.add('c', 'c1')?.connection).toBe(displaced);
    }
    const busy = new ConnectionShares<string>({ perSource: 5, total: 2, idleFirst: true });
    fill(busy, 'a', 2);
    for (const one of ['a1', 'a2']) busy.setBusy('a', one);
    busy.setBusy('a', 'a2', false);
    expect(busy.add('b', 'b1')?.connection, 'its response is complete').toBe('a2');
    expect(busy.add('c', 'c1')?.connection).toBe('b1');
    busy.setBusy('c', 'c1');
    expect(busy.add('d', 'd1')?.connection, 'all are busy').toBe('a1');
    expect(busy.count).toBe(2);
  });
});
