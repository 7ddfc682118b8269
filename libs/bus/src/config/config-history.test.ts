import fc from 'fast-check';
import { expect, test } from 'vitest';
import { CONFIG_LOG_PER_KEY } from '../topology/topology.ts';
import { type ConfigChange, ConfigHistory } from './config-history.ts';

const change = (part: Partial<ConfigChange>): ConfigChange => ({
  sequence: 1,
  timestampMicros: 1_000,
  key: 'a',
  json: '{}',
  by: '',
  why: '',
  ...part,
});

/** Slow reference implementation of the definition. */
function oracle(changes: readonly ConfigChange[], timeMicros: number) {
  const entries = new Map<string, string>();
  let revision = 0;
  let clock = 0;
  for (const { key, json, sequence, timestampMicros } of changes) {
    clock = Math.max(clock, timestampMicros);
    if (clock > timeMicros) break;
    revision = sequence;
    if (json === null) entries.delete(key);
    else entries.set(key, json);
  }
  return { revision, entries };
}

test('config history - agrees with its definition for any log and any order of queries', () => {
  const step = fc.record({
    gap: fc.integer({ min: 1, max: 3 }),
    // Includes clocks that step back.
    timestampMicros: fc.integer({ min: 1, max: 60 }),
    key: fc.constantFrom('a', 'b', 'c'),
    json: fc.option(fc.string({ maxLength: 3 })),
  });
  const ask = fc.integer({ min: 0, max: 70 });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 30 }), fc.array(ask, { minLength: 1, maxLength: 20 }), (steps, asks) => {
      const history = new ConfigHistory();
      const changes: ConfigChange[] = [];
      let sequence = 0;
      for (const [index, { gap, ...part }] of steps.entries()) {
        sequence += gap;
        changes.push(change({ sequence, ...part }));
        history.append(changes.at(-1) as ConfigChange);
        const time = asks[index % asks.length] as number;
        expect(history.at(time)).toMatchObject(oracle(changes, time));
      }
      for (const time of asks) expect(history.at(time)).toMatchObject(oracle(changes, time));
      expect(history.latest()).toMatchObject(oracle(changes, Number.POSITIVE_INFINITY));
    }),
  );
});

test('config history - returns the same object until the result changes', () => {
  const history = new ConfigHistory();
  history.append(change({ sequence: 1, timestampMicros: 10 }));
  const first = history.at(15);
  expect(history.at(19)).toBe(first);
  history.append(change({ sequence: 2, timestampMicros: 20, json: '{"x":1}' }));
  expect(history.at(19)).toBe(first);
  const second = history.at(20);
  expect(second).not.toBe(first);
  expect(first.entries.get('a')).toBe('{}');
});

test('config history - before the first change there is nothing, at revision 0', () => {
  const history = new ConfigHistory();
  expect(history.latest()).toMatchObject({ revision: 0, timestampMicros: 0 });
  history.append(change({ timestampMicros: 10 }));
  expect(history.at(9)).toMatchObject({ revision: 0 });
  expect(history.at(10)).toMatchObject({ revision: 1 });
});

test('config history - keeps as many changes of each key as the stream', () => {
  const history = new ConfigHistory();
  history.append(change({ sequence: 1, timestampMicros: 1, key: 'rare', json: 'kept' }));
  for (let index = 0; index < CONFIG_LOG_PER_KEY + 5; index += 1) {
    history.append(change({ sequence: 2 + index, timestampMicros: 2 + index, json: String(index) }));
  }
  expect(history.length).toBe(CONFIG_LOG_PER_KEY + 1);
  expect(history.of('a').at(0)?.json).toBe('5');
  expect(history.latest().entries).toEqual(
    new Map([
      ['rare', 'kept'],
      ['a', String(CONFIG_LOG_PER_KEY + 4)],
    ]),
  );
  // Before its oldest kept change, a key has that change, in any order of queries.
  for (const time of [1, 3, 7, 2, CONFIG_LOG_PER_KEY + 6, 1]) {
    const json = String(Math.max(5, time - 2));
    expect(history.at(time).entries, `at ${time}`).toEqual(
      new Map([
        ['rare', 'kept'],
        ['a', json],
      ]),
    );
  }
  expect(history.at(0)).toMatchObject({ revision: 0, entries: new Map([['a', '5']]) });
});

test('config history - reading after the stream dropped changes agrees with reading before', () => {
  const changes = Array.from({ length: CONFIG_LOG_PER_KEY + 3 }, (_, index) =>
    change({ sequence: index + 1, timestampMicros: index + 1, json: String(index) }),
  );
  const [live, restarted] = [new ConfigHistory(), new ConfigHistory()];
  for (const one of changes) live.append(one);
  for (const one of changes.slice(3)) restarted.append(one);
  for (const time of [0, 1, 4, 5, 500, CONFIG_LOG_PER_KEY + 3]) expect(live.at(time)).toEqual(restarted.at(time));
});

test('config history - a change out of order is a bug', () => {
  const history = new ConfigHistory();
  history.append(change({ sequence: 5 }));
  expect(() => history.append(change({ sequence: 5 }))).toThrow('log order');
});
