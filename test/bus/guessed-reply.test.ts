// A client has the server send the response of its own request to the inbox of another client of its
// account. The monitoring port lists inboxes, so it knows all but the last token of the reply
// subject. The controls know that token too.
import {
  apiRequest,
  type Bus,
  consumeOrdered,
  ensureTopology,
  FramePublisher,
  getNextMessage,
  inboxPrefixOf,
  violationSubject,
} from '@bailiff/bus';
import { freePort, startNats } from '@bailiff/bus/testing';
import { waitFor } from '@bailiff/service/testing';
import { expect, onTestFinished, test, vi } from 'vitest';
import { withhold } from '../support/bus.ts';

const GUESSES = 100;
const FRAME = violationSubject('node-a', 'spoof');
const VERDICT = 'bailiff.v1.verdicts.high.shop.web-0.5f1d3c7a';
const DIRECT_GET = '$JS.API.DIRECT.GET.';

async function start() {
  const monitorPort = await freePort();
  const nats = await startNats({ monitorPort });
  onTestFinished(() => nats.stop());
  const admin = await nats.connect('admin');
  await ensureTopology(admin);
  /** The newest subscription to an inbox of a user, as the monitoring port lists it. */
  const inboxOf = async (user: string): Promise<string> => {
    const response = await fetch(`http://127.0.0.1:${monitorPort}/connz?subs=1`);
    const { connections } = (await response.json()) as { connections: { subscriptions_list?: string[] }[] };
    const subjects = connections.flatMap(({ subscriptions_list: list = [] }) => list);
    return subjects.findLast((subject) => subject.startsWith(`${inboxPrefixOf(user)}.`)) ?? '';
  };
  return { nats, admin, inboxOf: (user: string) => waitFor(() => inboxOf(user), { what: `an inbox of ${user}` }) };
}

/** Everything that arrives at an inbox. */
function arrivals({ nc }: Bus, inbox: string): string[] {
  const subjects: string[] = [];
  nc.subscribe(inbox, { callback: (_, { subject }) => void subjects.push(subject) });
  return subjects;
}

/** The reply subjects that a client guesses, from an inbox that ends with a wildcard. */
const guesses = (inbox: string) => Array.from({ length: GUESSES }, (_, n) => inbox.replace('*', n.toString(36)));

test('guessed reply - a node cannot have frames of another node taken as stored', async () => {
  const { nats, inboxOf } = await start();
  const [victim, thief] = [await nats.connect('collector-node-b'), await nats.connect('collector-node-a')];
  const replies = withhold(victim, (subject) => subject.startsWith('bailiff.v1.violations.'));
  const publisher = new FramePublisher(victim, { ackTimeoutMs: 60_000 });
  onTestFinished(() => publisher.close());
  const stored = publisher.publish(violationSubject('node-b', 'spoof'), Buffer.from('frame'), { msgId: 'id' });
  const inbox = await inboxOf('collector-node-b');
  const arrived = arrivals(victim, inbox);
  await victim.nc.flush();
  // True acks of the right stream, for frames of the thief.
  for (const reply of guesses(inbox)) thief.nc.publish(FRAME, 'own frame', { reply });
  await waitFor(() => arrived.length === GUESSES, { what: 'the control: the acks arrive' });
  expect(publisher.unacked).toBe(1);
  // Who knows the token can, but not with an ack of another stream.
  thief.nc.publish('$KV.bailiff_nodes.node-a', 'own status', { reply: replies[0] as string });
  await waitFor(() => arrived.at(-1) === replies[0], { what: 'the ack of the other stream' });
  expect(publisher.unacked).toBe(1);
  thief.nc.publish(FRAME, 'own frame', { reply: replies[0] as string });
  expect(await stored).toMatchObject({ sequence: GUESSES + 1 });
});

test('guessed reply - a client of the core cannot have a later message taken for the next one', async () => {
  const { nats, admin, inboxOf } = await start();
  const [victim, thief] = [await nats.connect('correlator'), await nats.connect('siem-relay')];
  for (const subject of [FRAME, FRAME, violationSubject('node-b', 'spoof')]) await admin.js.publish(subject, 'frame');
  expect(await getNextMessage(victim, 'VIOLATIONS', 1, FRAME)).toMatchObject({ sequence: 1 });
  const replies = withhold(victim, (subject) => subject.startsWith(DIRECT_GET));
  const inbox = await inboxOf('correlator');
  const arrived = arrivals(victim, inbox);
  await victim.nc.flush();
  const inject = (sequence: number, reply = '') =>
    thief.nc.publish(`${DIRECT_GET}VIOLATIONS`, JSON.stringify({ seq: sequence }), { reply });
  const settled = vi.fn();
  const next = getNextMessage(victim, 'VIOLATIONS', 1, FRAME);
  void next.finally(settled);
  for (const reply of guesses(inbox)) inject(2, reply);
  await waitFor(() => arrived.length === GUESSES, { what: 'the control: the messages arrive' });
  expect(settled).not.toHaveBeenCalled();
  inject(2, replies[0]);
  expect(await next).toMatchObject({ sequence: 2 });
  // A message outside the filter is refused even so.
  const filtered = getNextMessage(victim, 'VIOLATIONS', 1, FRAME);
  inject(3, replies[1]);
  await expect(filtered).rejects.toMatchObject({ code: 'BUS_MESSAGE' });
});

test('guessed reply - a command cannot add messages to what another one reads', async () => {
  const { nats, admin, inboxOf } = await start();
  const [victim, thief] = [await nats.connect('cli'), await nats.connect('cli')];
  await admin.js.publish(VERDICT, 'verdict');
  const replies = withhold(victim, (subject) => subject.startsWith(DIRECT_GET));
  const end = new AbortController();
  const read: number[] = [];
  const reading = consumeOrdered(victim, 'VERDICTS', {
    start: 'all',
    onMessage: ({ sequence }) => void read.push(sequence),
    signal: end.signal,
  });
  await waitFor(() => replies.length === 1, { what: 'its request' });
  const inbox = await inboxOf('cli');
  const arrived = arrivals(victim, inbox);
  await victim.nc.flush();
  const inject = (reply: string) => thief.nc.publish(`${DIRECT_GET}VERDICTS`, '{"seq":1}', { reply });
  for (const reply of guesses(inbox)) inject(reply);
  await waitFor(() => arrived.length === GUESSES, { what: 'the control: the messages arrive' });
  expect(read).toEqual([]);
  inject(replies[0] as string);
  await waitFor(() => read.length === 1, { what: 'the control: with its token' });
  end.abort();
  await reading;
});

test('guessed reply - deliveries of another consumer and statuses of another pull do not reach a reader', async () => {
  const { nats, admin, inboxOf } = await start();
  const [victim, thief] = [await nats.connect('correlator'), await nats.connect('siem-relay')];
  const end = new AbortController();
  const read: number[] = [];
  const restarts: string[] = [];
  const reading = consumeOrdered(victim, 'VIOLATIONS', {
    start: 'all',
    onMessage: ({ sequence }) => void read.push(sequence),
    onRestart: (why) => restarts.push(why),
    signal: end.signal,
  });
  await admin.js.publish(FRAME, 'first');
  await waitFor(() => read.length === 1, { what: 'the first frame' });
  const inbox = await inboxOf('correlator');
  const reply = inbox.replace('*', '0');
  // The server delivers to a consumer's subject only if it is subscribed to without a wildcard.
  const arrived = arrivals(victim, reply);
  await victim.nc.flush();
  const create = { stream_name: 'VIOLATIONS', config: { name: 'own', deliver_subject: reply, ack_policy: 'none' } };
  await apiRequest(thief, '$JS.API.CONSUMER.CREATE.VIOLATIONS.own', create);
  const pull = { stream_name: 'VIOLATIONS', config: { name: 'pull', ack_policy: 'none', max_batch: 1 } };
  await apiRequest(thief, '$JS.API.CONSUMER.CREATE.VIOLATIONS.pull', pull);
  await waitFor(() => arrived.includes(FRAME), { what: 'the control: a delivery of the own consumer arrives' });
  thief.nc.publish('$JS.API.CONSUMER.MSG.NEXT.VIOLATIONS.pull', '{"batch":2}', { reply });
  await waitFor(() => arrived.includes(reply), { what: 'the control: a status arrives' });
  await admin.js.publish(FRAME, 'second');
  await waitFor(() => read.length >= 2, { what: 'the second frame' });
  expect({ read, restarts }).toEqual({ read: [1, 2], restarts: [] });
  end.abort();
  await reading;
});
