import {
  NODE_BYTES_PER_SECOND,
  NODE_INTERVAL_MS,
  NODE_MESSAGES_PER_SECOND,
  NODE_SENT_BYTES_PER_SECOND,
} from '@bailiff/bus';
import type { NodeConnection } from '@bailiff/bus/auth';
import { expect, test } from 'vitest';
import { ConnectionShares, type Excess, MAX_CONNECTIONS_PER_USER } from './connection-shares.ts';

const A = 'collector-node-a';
const connection = (id: number, more: Partial<NodeConnection> = {}): NodeConnection => ({
  id,
  user: A,
  host: '10.0.0.1',
  sinceMs: id,
  messages: 0,
  sentBytes: 0,
  bytes: 0,
  isClosed: false,
  isSlow: false,
  isMalformed: false,
  ...more,
});
const ids = (excess: Excess[]) =>
  excess.map(({ server, connection, reason }) => `${reason} ${server} ${connection.id}`);

/** Lists of one account, a second apart. Each connection logged in as it is listed first, unless told otherwise. */
function judging(account = 'NODES', userOf: (one: NodeConnection) => string | null = ({ user }) => user) {
  const shares = new ConnectionShares();
  const judge = (atMs: number, connections: NodeConnection[], server = 'one') => {
    for (const one of connections) {
      const user = userOf(one);
      if (user !== null) shares.admit({ server, account, id: one.id, user }, atMs);
    }
    return shares.judge({ server, account, atMs, connections }, atMs);
  };
  return Object.assign((...list: Parameters<typeof judge>) => ids(judge(...list)), { judge });
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

test('a flood - goes on in a connection that did not end, because the request for it was lost', () => {
  const judge = judging();
  const found: [number, string[]][] = [];
  const list = (nowMs: number) => {
    const flooding = connection(1, { messages: nowMs });
    const closed = connection(2, nowMs === 1_000 ? {} : { isClosed: true, isMalformed: true });
    const ended = judge(nowMs, [flooding, closed]);
    if (ended.length > 0) found.push([nowMs, ended]);
  };
  for (let nowMs = 1_000; nowMs < 20_000; nowMs += 1_000) list(nowMs);
  // The closed one counts once.
  expect(found).toEqual([
    [2_000, ['flooding one 1', 'flooding one 2']],
    [13_000, ['flooding one 1']],
  ]);
});

test.each<[string, Partial<NodeConnection>, string | null]>([
  [
    'the largest honest rate',
    { messages: NODE_MESSAGES_PER_SECOND, sentBytes: NODE_SENT_BYTES_PER_SECOND, bytes: NODE_BYTES_PER_SECOND },
    null,
  ],
  ['more messages', { messages: NODE_MESSAGES_PER_SECOND + 1 }, 'flooding'],
  ['more bytes of its own', { sentBytes: NODE_SENT_BYTES_PER_SECOND + 1 }, 'flooding'],
  // Others can cause these two.
  ['more bytes', { bytes: NODE_BYTES_PER_SECOND + 1 }, 'heavy'],
  ['closed because it did not read', { isClosed: true, isSlow: true }, 'heavy'],
  // Also while it sends as many frames as it may.
  [
    'more bytes, and its own messages',
    { bytes: NODE_BYTES_PER_SECOND + 1, messages: NODE_MESSAGES_PER_SECOND },
    'heavy',
  ],
  [
    'closed because it did not read, after its own messages',
    { isClosed: true, isSlow: true, messages: NODE_MESSAGES_PER_SECOND },
    'heavy',
  ],
  [
    'closed because it did not read, after too many messages',
    { isClosed: true, isSlow: true, messages: NODE_MESSAGES_PER_SECOND + 1 },
    'flooding',
  ],
  [
    'closed because of what it sent, which the server has not counted',
    { isClosed: true, isMalformed: true },
    'malformed',
  ],
])('a flood - %s', (_, more, reason) => {
  const judge = judging();
  judge(1_000, [connection(1), connection(2)]);
  const expected = reason === null ? [] : [`${reason} one 1`, `${reason} one 2`];
  expect(judge(2_000, [connection(1, more), connection(2)])).toEqual(expected);
});

test('a flood - the rate is that of all connections together, also of new ones', () => {
  const judge = judging();
  judge(1_000, [connection(1)]);
  const half = { messages: NODE_MESSAGES_PER_SECOND / 2 + 1 };
  expect(judge(2_000, [connection(1, half), connection(2, half)])).toEqual(['flooding one 1', 'flooding one 2']);
});

test.each([0, 500, 2_000, 5_000, 9_000])(
  'a flood - a node that moves from a server that is gone to another one after %i ms has none',
  (reconnectMs) => {
    const judge = judging();
    const goneMs = 5_000;
    const sent = (fromMs: number, nowMs: number) =>
      connection(1, {
        messages: ((nowMs - fromMs) * NODE_MESSAGES_PER_SECOND * 0.8) / 1_000,
        sentBytes: ((nowMs - fromMs) * NODE_SENT_BYTES_PER_SECOND * 0.8) / 1_000,
      });
    const isThere = (nowMs: number) => nowMs >= goneMs + reconnectMs;
    const found: string[] = [];
    for (let nowMs = 0; nowMs < 20_000; nowMs += 250) {
      if (nowMs <= goneMs) found.push(...judge(nowMs, [sent(0, nowMs)]));
      found.push(...judge(nowMs, isThere(nowMs) ? [sent(goneMs + reconnectMs, nowMs)] : [], 'two'));
    }
    expect(found).toEqual([]);
    // The control: the same rate on two servers at a time.
    const both = judging();
    for (let nowMs = 0; nowMs <= 1_000; nowMs += 250)
      found.push(...both(nowMs, [sent(0, nowMs)]), ...both(nowMs + 5, [sent(0, nowMs)], 'two'));
    expect(found).toEqual(['flooding one 1', 'flooding two 1']);
  },
);

test('a flood - counts from before the first list are none', () => {
  const judge = judging();
  const before = [
    connection(1, { messages: 1_000_000 }),
    connection(2, { isClosed: true, isSlow: true, isMalformed: true }),
  ];
  expect(judge(1_000, before)).toEqual([]);
  expect(judge(2_000, before)).toEqual([]);
});

test('a flood - is that of the user who logged in, whatever its connection calls itself', () => {
  const B = 'collector-node-b';
  const { judge } = judging('NODES', ({ id }) => (id === 1 ? A : B));
  judge(1_000, [connection(1, { user: B }), connection(2, { user: B })]);
  const named = (more: object) => [connection(1, { user: B, ...more }), connection(2, { user: B })];
  const ended = judge(2_000, named({ messages: NODE_MESSAGES_PER_SECOND + 1 }));
  expect(ended.map(({ user, connection }) => [user, connection.id])).toEqual([[A, 1]]);
  // Closed as slow while it called itself so.
  const slow = judging('NODES', ({ id }) => (id === 1 ? A : B)).judge;
  slow(1_000, named({}));
  expect(slow(2_000, named({ isSlow: true })).map(({ user }) => user)).toEqual([A]);
});

test('a flood - a connection of an unknown login ends alone, and no user is penalized', () => {
  const { judge } = judging('NODES', ({ id }) => (id === 1 ? null : A));
  const list = (messages: number) => [connection(1, { messages }), ...many(MAX_CONNECTIONS_PER_USER, 2)];
  expect(judge(1_000, list(0))).toEqual([]);
  const ended = judge(2_000, list(NODE_MESSAGES_PER_SECOND + 1));
  expect(ended.map(({ user, connection }) => [user, connection.id])).toEqual([[null, 1]]);
});

test('connections of a user - logins are forgotten when their connection is not listed', () => {
  const shares = new ConnectionShares();
  const place = { server: 'one', account: 'NODES' };
  const user = 'collector-node-a';
  shares.admit({ ...place, id: 1, user }, 1_000);
  const judge = (atMs: number, connections: NodeConnection[]) => shares.judge({ ...place, atMs, connections }, atMs);
  // The list is older than the login.
  judge(1_001, []);
  judge(2_000, [connection(1)]);
  const flood = (messages: number) => [connection(1, { messages })];
  expect(judge(20_000, []).length).toBe(0);
  judge(21_000, flood(0));
  expect(judge(22_000, flood(1_000_000)).map((one) => one.user)).toEqual([null]);
});

test('a flood - two lists at once are judged as one, and a flood between them is seen at once', () => {
  const judge = judging();
  const most = (NODE_MESSAGES_PER_SECOND * NODE_INTERVAL_MS) / 1_000;
  judge(1_000, [connection(1)]);
  expect(judge(1_010, [connection(1, { messages: most })])).toEqual([]);
  expect(judge(1_300, [connection(1, { messages: most + 1 })])).toEqual(['flooding one 1']);
  // Once, and against a base that moves.
  expect(judge(1_400, [connection(1, { messages: 2 * most })])).toEqual([]);
  const other = judging();
  for (let list = 0; list < 20; list += 1)
    expect(other(1_000 + list * 250, [connection(1, { messages: (list * NODE_MESSAGES_PER_SECOND) / 4 })])).toEqual([]);
});

test.each([10, 3_600])('a flood - the clock of a server that is set back by %i s blames no node', (seconds) => {
  const messages = (nowMs: number) => ({ messages: (nowMs * NODE_MESSAGES_PER_SECOND) / 2_000 });
  const judge = judging();
  for (let nowMs = 0; nowMs < 20_000; nowMs += 250) {
    const atMs = 1e12 + nowMs - (nowMs < 5_000 ? 0 : seconds * 1_000);
    expect(judge(atMs, [connection(1, messages(nowMs))]), `after ${nowMs} ms`).toEqual([]);
  }
  // The control: a flood afterwards is seen.
  const flood = { messages: messages(20_000).messages + NODE_MESSAGES_PER_SECOND };
  expect(judge(1e12 + 20_000 - seconds * 1_000, [connection(1, flood)])).toEqual(['flooding one 1']);
});

test('a flood - in a connection that the client has closed is its own, and such ones are not too many', () => {
  const judge = judging();
  const closed = (count: number, more: Partial<NodeConnection> = {}) =>
    many(count).map((one) => ({ ...one, isClosed: true, ...more }));
  judge(1_000, []);
  expect(judge(2_000, [...closed(9), connection(10)])).toEqual([]);
  const sentBytes = NODE_SENT_BYTES_PER_SECOND / 9 + 1;
  expect(judge(3_000, [...closed(9, { sentBytes }), connection(10)]).length).toBe(10);
  // Those that were listed before this process knew them say nothing about now.
  const next = judging();
  expect(next(1_000, closed(2, { sentBytes: 10 * NODE_SENT_BYTES_PER_SECOND }))).toEqual([]);
  expect(next(2_000, closed(2, { sentBytes: 10 * NODE_SENT_BYTES_PER_SECOND }))).toEqual([]);
});

test('a flood - in connections of which the lists know only that they ended', () => {
  const shares = new ConnectionShares();
  const place = { server: 'one', account: 'NODES' };
  const list = (atMs: number, connections: NodeConnection[] = []) =>
    ids(shares.judge({ ...place, atMs, connections }, atMs));
  const end = (atMs: number, count: number, sentBytes: number) => {
    for (const one of many(count, atMs)) {
      shares.admit({ ...place, id: one.id, user: A }, atMs);
      shares.addEnded({ ...place, connection: { ...one, sentBytes, isClosed: true } });
    }
  };
  list(1_000);
  // The control: what a collector may send.
  end(1_500, 4, NODE_SENT_BYTES_PER_SECOND / 4);
  expect(list(2_000)).toEqual([]);
  end(2_500, 4, NODE_SENT_BYTES_PER_SECOND / 4 + 1);
  expect(list(3_000)).toEqual([2_500, 2_501, 2_502, 2_503].map((id) => `flooding one ${id}`));
  expect(list(4_000)).toEqual([]);
  // A list has one of them, too: it counts once.
  end(4_500, 4, NODE_SENT_BYTES_PER_SECOND / 4);
  const sentBytes = NODE_SENT_BYTES_PER_SECOND / 4;
  expect(list(5_000, [connection(4_500, { sentBytes, isClosed: true })])).toEqual([]);
});

test('a flood - a connection for pushes, which sends no requests, may be slow, and sends no more than others', () => {
  const judge = judging('NODE_PUSH');
  judge(1_000, [connection(1)]);
  const slow = { isSlow: true, bytes: 10 * NODE_BYTES_PER_SECOND, messages: NODE_MESSAGES_PER_SECOND };
  expect(judge(2_000, [connection(1, slow)])).toEqual([]);
  expect(judge(3_000, [connection(1, { ...slow, messages: 2 * NODE_MESSAGES_PER_SECOND + 1 })])).toEqual([
    'flooding one 1',
  ]);
});
