import type { NodeConnection } from '@bailiff/bus/auth';
import { expect, test } from 'vitest';
import {
  ConnectionShares,
  type Excess,
  MAX_BYTES_PER_SECOND,
  MAX_CONNECTIONS_PER_USER,
  MAX_MESSAGES_PER_SECOND,
} from './connection-shares.ts';

const A = 'collector-node-a';
const connection = (id: number, more: Partial<NodeConnection> = {}): NodeConnection => ({
  id,
  user: A,
  host: '10.0.0.1',
  sinceMs: id,
  messages: 0,
  bytes: 0,
  isSlow: false,
  ...more,
});
const ids = (excess: Excess[]) =>
  excess.map(({ server, connection, reason }) => `${reason} ${server} ${connection.id}`);

/** Lists of one account, a second apart. */
function judging(account = 'NODES') {
  const shares = new ConnectionShares();
  return (atMs: number, connections: NodeConnection[], server = 'one') =>
    ids(shares.judge({ server, account, atMs, connections }, atMs));
}

const many = (count: number, from = 1) => Array.from({ length: count }, (_, index) => connection(from + index));

test.each<[string, NodeConnection[], string[]]>([
  ['as many as a user may have', many(MAX_CONNECTIONS_PER_USER), []],
  ['one more: the oldest', many(MAX_CONNECTIONS_PER_USER + 1), ['too-many one 1']],
  [
    'of the address that has most',
    [connection(1, { host: '10.0.0.2' }), ...many(5, 2)],
    ['too-many one 2', 'too-many one 3'],
  ],
  ['users apart', [...many(4), connection(9, { user: 'push-node-a' })], []],
])('connections of a user - %s', (_, connections, expected) => {
  expect(judging()(1_000, connections)).toEqual(expected);
});

test('connections of a user - on all servers together', () => {
  const judge = judging();
  expect(judge(1_000, many(3), 'one')).toEqual([]);
  expect(judge(1_100, many(2, 11), 'two')).toEqual(['too-many one 1']);
});

test('connections of a user - a server that is gone does not count', () => {
  const judge = judging();
  judge(1_000, many(4), 'one');
  expect(judge(20_000, many(4), 'two')).toEqual([]);
});

test('connections of a user - one that was to end counts no more, and ends once', () => {
  const judge = judging();
  expect(judge(1_000, many(5))).toEqual(['too-many one 1']);
  expect(judge(2_000, many(5))).toEqual([]);
});

test.each<[string, Partial<NodeConnection>, boolean]>([
  ['the largest honest rate', { messages: MAX_MESSAGES_PER_SECOND, bytes: MAX_BYTES_PER_SECOND }, false],
  ['more messages', { messages: MAX_MESSAGES_PER_SECOND + 1 }, true],
  ['more bytes', { bytes: MAX_BYTES_PER_SECOND + 1 }, true],
  ['closed because it did not read', { isSlow: true }, true],
])('a flood - %s', (_, more, floods) => {
  const judge = judging();
  judge(1_000, [connection(1), connection(2)]);
  const expected = floods ? ['flooding one 1', 'flooding one 2'] : [];
  expect(judge(2_000, [connection(1, more), connection(2)])).toEqual(expected);
});

test('a flood - the rate is that of all connections together, also of new ones', () => {
  const judge = judging();
  judge(1_000, [connection(1)]);
  const half = { messages: MAX_MESSAGES_PER_SECOND / 2 + 1 };
  expect(judge(2_000, [connection(1, half), connection(2, half)])).toEqual(['flooding one 1', 'flooding one 2']);
});

test('a flood - counts from before the first list are none', () => {
  const judge = judging();
  const before = [connection(1, { messages: 1_000_000 }), connection(2, { isSlow: true })];
  expect(judge(1_000, before)).toEqual([]);
  expect(judge(2_000, before)).toEqual([]);
});

test('a flood - two lists at once are judged as one', () => {
  const judge = judging();
  judge(1_000, [connection(1)]);
  expect(judge(1_010, [connection(1, { messages: 100 })])).toEqual([]);
});

test('a flood - a connection for pushes, which sends no requests, may be slow', () => {
  const judge = judging('NODE_PUSH');
  judge(1_000, [connection(1)]);
  expect(judge(2_000, [connection(1, { isSlow: true })])).toEqual([]);
});
