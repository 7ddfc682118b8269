// A holder of one node's token that floods the bus and then logs in again on the same connection: the
// servers list the connection under the name of the second login (2.10), or no longer (2.15).
import { userOf } from '@bailiff/bus';
import { testUsers } from '@bailiff/bus/testing';
import { waitFor } from '@bailiff/service/testing';
import { expect, test } from 'vitest';
import { RawNats } from '../support/raw-nats.ts';
import type { RunningService } from '../support/service.ts';
import { AuthRig, NODES } from './bus-auth/rig.ts';

const [A, B] = NODES;
const [AS_A, AS_B] = [A, B].map((node) => userOf({ role: 'collector', node })) as [string, string];
/** In a second, more than a collector sends. */
const FLOOD = `PUB $JS.API.DIRECT.GET.LATEST_bailiff_pods.$KV.bailiff_pods.${A} 0\r\n\r\n`.repeat(8_000);

async function start() {
  const rig = await AuthRig.start();
  await rig.topology();
  const token = await rig.tokenOf(A);
  const logIn = () => RawNats.connect({ port: rig.nats.port, user: AS_A, password: token });
  return { rig, token, logIn };
}

const began = async (rig: AuthRig): Promise<RunningService> => {
  const auth = await rig.busAuth();
  await waitFor(async () => (await auth.metric('connections_watched')) === 1, { what: 'a list of connections' });
  return auth;
};

/** The same claims, with the signature of a key that the API server does not know. */
function unproven(token: string): string {
  const [, ...rest] = token.split('.');
  return [Buffer.from('{"alg":"ES256","kid":"another"}').toString('base64url'), ...rest].join('.');
}

const connectLine = (user: string, pass: string) => `CONNECT ${JSON.stringify({ verbose: false, user, pass })}\r\n`;

const SECOND: [name: string, line: (token: string, ofB: string) => string][] = [
  ['an unproven token of another node', (token) => connectLine(AS_B, unproven(token))],
  ['an unproven token of its own', (token) => connectLine(AS_A, unproven(token))],
  ['its own token', (token) => connectLine(AS_A, token)],
  ['a stolen token of another node', (_, ofB) => connectLine(AS_B, ofB)],
  ['a text', () => connectLine('x', 'y')],
];

test.each(SECOND)('second login - with %s, its node is blamed, and kept out', async (_, line) => {
  const { rig, token, logIn } = await start();
  await using _rig = rig;
  const auth = await began(rig);
  const victim = await rig.connect(await rig.collector(B));
  await using thief = await logIn();
  thief.write(line(token, await rig.tokenOf(B)));
  await expect(thief.flush()).rejects.toThrow('the server ended the connection');
  expect(await auth.metric('refused_total{reason="second-login"}')).toBe(1);
  expect(await auth.metric('connections_ended_total{reason="second-login"}')).toBe(1);
  await expect(logIn()).rejects.toThrow('Authorization');
  expect(await auth.metric('dropped_total{reason="flooding"}')).toBe(1);
  // The other node is not affected.
  expect([victim.connected, victim.connects]).toEqual([true, 1]);
  expect(await rig.login(AS_B, await rig.tokenOf(B))).toBe('in');
});

test.each(['reader', 'bus-auth', 'admin'])(
  'second login - as %s, which the servers check without bus-auth, its node is blamed, and kept out',
  async (user) => {
    const { rig, logIn } = await start();
    await using _rig = rig;
    const auth = await began(rig);
    // The control: the same line as the first login of a connection.
    const refused = RawNats.connect({ port: rig.nats.port, user, password: 'wrong' });
    await expect(refused).rejects.toThrow('the server ended the connection');
    await using thief = await logIn();
    expect(await auth.metric('connections_ended_total{reason="second-login"}')).toBe(0);
    thief.write(connectLine(user, 'wrong'));
    await expect(thief.flush()).rejects.toThrow('the server ended the connection');
    const isBlamed = async () => (await auth.metric('connections_ended_total{reason="second-login"}')) === 1;
    await waitFor(isBlamed, { what: 'the end to be reported' });
    await expect(logIn()).rejects.toThrow('Authorization');
    expect(await auth.metric('dropped_total{reason="flooding"}')).toBe(1);
  },
);

test('second login - control: where bus-auth does not know the first one, a flood before the second one is not punished', async () => {
  const { rig, token, logIn } = await start();
  await using _rig = rig;
  const former = await began(rig);
  await using thief = await logIn();
  await former.stop();
  const auth = await began(rig);
  thief.write(`${FLOOD}${connectLine(AS_B, unproven(token))}`);
  await expect(thief.flush()).rejects.toThrow('the server ended the connection');
  expect(await auth.metric('refused_total{reason="second-login"}')).toBe(0);
  await using again = await logIn();
  await again.flush();
});

test('second login - servers that reload their configuration end connections of collectors, which log in at once', async () => {
  const { rig } = await start();
  await using _rig = rig;
  const auth = await began(rig);
  const collectors = [await rig.connect(await rig.collector(A)), await rig.connect(await rig.collector(B))];
  const users = testUsers([]).map((one) => (one.user === 'reader' ? { ...one, password: 'another' } : one));
  await rig.nats.reload({ users });
  const state = () => collectors.map(({ connected, connects }) => ({ connected, connects }));
  const isBack = () => state().every(({ connected, connects }) => connected && connects === 2);
  await waitFor(isBack, { what: 'the collectors to be back', state });
  expect(await auth.metric('refused_total{reason="second-login"}')).toBe(0);
  expect(await auth.metric('dropped_total{reason="flooding"}')).toBe(0);
});
