// bus-auth lists the connections of nodes on all servers of a cluster, and ends one on another server.
import { once } from 'node:events';
import { connect } from 'node:net';
import { ensureTopology, violationSubject } from '@bailiff/bus';
import {
  type AdmittedConnection,
  ConnectionWatch,
  type EndedConnection,
  type ListedConnections,
} from '@bailiff/bus/auth';
import { startNats, testCallout } from '@bailiff/bus/testing';
import { waitFor } from '@bailiff/service/testing';
import { expect, test } from 'vitest';
import { MAX_CLOSED_CLIENTS } from '../../libs/bus/src/topology/server-limits.ts';
import { startThree } from '../support/bus.ts';
import { RawNats } from '../support/raw-nats.ts';

const USER = 'collector-node-a';
const rawUser = (port: number) => RawNats.connect({ port, user: USER, password: `password-of-${USER}` });

test('connections of nodes - are listed by every server, and end on every server', async () => {
  await using servers = await startThree({ authCallout: testCallout() });
  const { first, second } = servers;
  const busAuth = await first.connect('bus-auth');
  const lists = new Map<string, ListedConnections>();
  const refused: Error[] = [];
  const watch = new ConnectionWatch(busAuth, {
    onList: (list) => void (list.account === 'NODES' && lists.set(list.server, list)),
    onConnectionEnd: () => undefined,
    onRefusedLogin: () => undefined,
    onAdmitted: () => undefined,
    onFlooding: () => undefined,
    onRefused: (error) => refused.push(error),
  });
  const open = [await rawUser(first.port), await rawUser(second.port)];
  const listed = () =>
    [...lists.values()].flatMap(({ server, connections }) => connections.map((one) => ({ server, ...one })));
  const look = (count: number) => () => {
    watch.request();
    return lists.size === 3 && listed().length === count;
  };
  await waitFor(look(2), { what: 'both connections', intervalMs: 100, state: () => [...lists.values()] });
  expect(listed().map(({ user, host }) => [user, host])).toEqual([
    [USER, '127.0.0.1'],
    [USER, '127.0.0.1'],
  ]);
  for (const { server, id } of listed()) watch.kick(server, id);
  await waitFor(look(0), { what: 'both to end', intervalMs: 100, state: listed });
  for (const raw of open) await expect(raw.flush()).rejects.toThrow('the server ended the connection');
  expect(refused).toEqual([]);
  watch.close();
}, 90_000);

/** Connects and ends without a login, until the server lists no other closed connections. */
async function fillClosed(port: number): Promise<void> {
  for (let times = 0; times < MAX_CLOSED_CLIENTS; times += 1) {
    const socket = connect(port, '127.0.0.1');
    await once(socket, 'data');
    socket.end();
    await once(socket, 'close');
  }
}

test('connections of nodes - the end of one is reported with what it sent, also if no list has it', async () => {
  await using servers = await startThree({ authCallout: testCallout() });
  const { first, second } = servers;
  await ensureTopology(await first.connect('admin'), { replicas: 3 });
  const busAuth = await first.connect('bus-auth');
  const [lists, ended]: [ListedConnections[], EndedConnection[]] = [[], []];
  const watch = new ConnectionWatch(busAuth, {
    onList: (list) => void (list.account === 'NODES' && lists.push(list)),
    onConnectionEnd: (one) => ended.push(one),
    onRefusedLogin: () => undefined,
    onAdmitted: () => undefined,
    onFlooding: () => undefined,
    onRefused: (error) => expect.unreachable(error.message),
  });
  await busAuth.nc.flush();
  const listed = async () => {
    lists.length = 0;
    watch.request();
    await waitFor(() => lists.length === 3, { what: 'the lists' });
    return lists.flatMap(({ server, connections }) => connections.map(({ id }) => ({ server, id })));
  };
  const sendAndEnd = async () => {
    const raw = await rawUser(second.port);
    for (let times = 0; times < 5; times += 1)
      raw.publish({ subject: violationSubject('node-a', 'spoof'), body: 'x'.repeat(100) });
    await raw.flush();
    await raw[Symbol.asyncDispose]();
  };
  await sendAndEnd();
  await waitFor(() => ended.length === 1, { what: 'its end', state: () => ended });
  const [found] = ended;
  expect(found).toMatchObject({
    account: 'NODES',
    connection: { user: USER, host: '127.0.0.1', messages: 5, sentBytes: 500, isClosed: true },
  });
  // The control: a list has it, until others have ended on that server.
  const place = { server: found?.server, id: found?.connection.id };
  expect(await listed()).toContainEqual(place);
  await fillClosed(second.port);
  expect(await listed()).not.toContainEqual(place);
  expect(ended).toHaveLength(1);
  watch.close();
}, 90_000);

test('connections of nodes - a server whose configuration is older refuses the list, and nothing else changes', async () => {
  const callout = testCallout();
  const before = { publish: { allow: [] }, subscribe: callout.service.permissions.subscribe, allowResponsesMs: 1_000 };
  const service = { ...callout.service, permissions: before };
  await using nats = await startNats({ authCallout: { ...callout, service } });
  const busAuth = await nats.connect('bus-auth');
  const refused: string[] = [];
  const admitted: AdmittedConnection[] = [];
  const watch = new ConnectionWatch(busAuth, {
    onList: () => undefined,
    onConnectionEnd: () => undefined,
    onRefusedLogin: () => undefined,
    onAdmitted: (connection) => admitted.push(connection),
    onFlooding: () => undefined,
    onRefused: ({ code }) => refused.push(code),
  });
  watch.request();
  await waitFor(() => refused.includes('BUS_PERMISSION'), { what: 'the refusal', state: () => refused });
  expect(busAuth.connected).toBe(true);
  // When the servers have the new configuration, it works without another connection.
  await nats.reload({ authCallout: callout });
  const login = { server: 'N', account: 'NODES', id: 1, user: USER };
  const isReported = () => {
    watch.request();
    watch.reportAdmitted(login);
    return admitted.length > 0;
  };
  await waitFor(isReported, { what: 'a login to be reported', intervalMs: 100, state: () => refused });
  expect([admitted[0], busAuth.connects]).toEqual([login, 1]);
  watch.close();
});

test('connections of nodes - a late response is a list, and a refused response to a login is no refusal of lists', async () => {
  await using nats = await startNats({ authCallout: testCallout() });
  const busAuth = await nats.connect('bus-auth');
  await using _node = await rawUser(nats.port);
  const [lists, refused]: [ListedConnections[], Error[]] = [[], []];
  const watch = new ConnectionWatch(busAuth, {
    onList: (list) => void (list.account === 'NODES' && lists.push(list)),
    onConnectionEnd: () => undefined,
    onRefusedLogin: () => undefined,
    onAdmitted: () => undefined,
    onFlooding: () => undefined,
    onRefused: (error) => refused.push(error),
  });
  busAuth.nc.publish('_INBOX_of.the.server', 'late');
  for (let times = 0; times < 3; times += 1) watch.request();
  await waitFor(() => lists.length === 3, { what: 'three lists', state: () => lists });
  expect(lists.map(({ connections }) => connections.map(({ user }) => user))).toEqual([[USER], [USER], [USER]]);
  expect(refused).toEqual([]);
  watch.close();
});

test.each(['collector-node-a', 'push-node-a', 'cli', 'reader', 'siem-reader', 'correlator'])(
  'connections of nodes - %s may not list or end them',
  async (user) => {
    await using nats = await startNats({ authCallout: testCallout() });
    await ensureTopology(await nats.connect('admin'));
    await using node = await rawUser(nats.port);
    const password = `password-of-${user.replace('push-', 'collector-')}`;
    await using raw = await RawNats.connect({ port: nats.port, user, password });
    const id = /Server ID|ID: +(N[A-Z0-9]{55})/.exec(nats.log)?.[1] ?? '';
    expect(id).not.toBe('');
    const reply = `_INBOX_${user}.raw`;
    for (const subject of [
      '$SYS.REQ.ACCOUNT.NODES.CONNZ',
      '$SYS.REQ.SERVER.PING.CONNZ',
      `$SYS.REQ.SERVER.${id}.KICK`,
    ]) {
      for (let cid = 1; cid < 20; cid += 1) raw.publish({ subject, reply, body: `{"cid":${cid},"auth":true}` });
    }
    await raw.flush();
    expect(raw.received).toContain('Permissions Violation');
    expect(raw.received).not.toContain('authorized_user');
    await node.flush();
  },
);

// What docs/threat-model.md says of a stolen password of bus-auth. The control is the test above: the others may not.
test.each(['correlator', 'responder', 'siem-relay', 'cli', 'siem-reader', 'push-node-a'])(
  'connections of nodes - bus-auth can end that of %s too: the server ends any connection by its number',
  async (user) => {
    await using nats = await startNats({ authCallout: testCallout() });
    const password = `password-of-${user.replace('push-', 'collector-')}`;
    await using victim = await RawNats.connect({ port: nats.port, user, password });
    await using beside = await RawNats.connect({ port: nats.port, user, password });
    await using raw = await RawNats.connect({ port: nats.port, user: 'bus-auth', password: 'password-of-bus-auth' });
    const id = /ID: +(N[A-Z0-9]{55})/.exec(nats.log)?.[1] ?? '';
    const cid = Number(/"client_id":(\d+)/.exec(victim.received)?.[1]);
    raw.publish({ subject: `$SYS.REQ.SERVER.${id}.KICK`, reply: '_INBOX_bus-auth.raw', body: JSON.stringify({ cid }) });
    // The reply comes after the end of the connection.
    await waitFor(() => raw.received.includes('MSG _INBOX_bus-auth.raw'), {
      what: 'the reply',
      state: () => raw.received,
    });
    await expect(victim.flush()).rejects.toThrow('the server ended the connection');
    await beside.flush();
  },
);
