import {
  type Bus,
  FramePublisher,
  NODE_INTERVAL_MS,
  NODE_MESSAGES_PER_SECOND,
  publishOnce,
  violationSubject,
} from '@bailiff/bus';
import type { TestNats } from '@bailiff/bus/testing';
import { waitFor } from '@bailiff/service/testing';
import { DiscardPolicy } from '@nats-io/jetstream';
import { expect, test, vi } from 'vitest';
import { freeze, losing, readAll, startBus, tally, text } from '../support/bus.ts';
import { random } from '../support/random.ts';

const SUBJECT = violationSubject('node-a', 'spoof');
const COUNT = 4_000;
const SEED = Number(process.env['BAILIFF_SEED'] ?? 20_261_124);

/**
 * Kills the server at moments that the generator selects while `progress` grows from 0 to COUNT,
 * and starts it again.
 */
async function killDuring(nats: TestNats, progress: () => number, next: () => number, kills: number): Promise<void> {
  for (let kill = 1; kill <= kills; kill += 1) {
    const at = Math.floor(((kill - next()) / kills) * COUNT * 0.9);
    await waitFor(() => progress() >= at, { what: `message ${at}`, intervalMs: 1, state: progress });
    await nats.restart();
  }
}

test('publish - a server that is killed repeatedly while frames arrive loses none, and stores twice only what was sent again', async () => {
  await using nats = await startBus();
  const bus = await nats.connect('collector-node-a');
  let stored = 0;
  const publisher = new FramePublisher(bus, {
    onAck: () => {
      stored += 1;
    },
  });
  const promises: Promise<unknown>[] = [];
  const feed = async () => {
    for (let index = 0; index < COUNT; index += 1) {
      await publisher.whenCapacity();
      promises.push(publisher.publish(SUBJECT, Buffer.from(String(index)), { msgId: `boot/${index}` }));
    }
    await publisher.whenFlushed();
  };
  await Promise.all([feed(), killDuring(nats, () => stored, random(SEED), 4)]);
  await Promise.all(promises);
  const messages = await readAll(await nats.connect('correlator'), 'VIOLATIONS');
  const { missing, twice } = tally(messages.map(text), COUNT);
  expect(missing, `seed ${SEED}`).toEqual([]);
  expect(publisher.resent).toBeGreaterThan(0);
  // A kill can take an ack. The server forgets the id before the frame comes again.
  expect(twice.length).toBeLessThanOrEqual(publisher.resent);
  expect(messages).toHaveLength(COUNT + twice.length);
  expect(publisher.unacked).toBe(0);
});

test('publish - control: without acknowledgements the same kills lose messages silently', async () => {
  await using nats = await startBus();
  const bus = await nats.connect('collector-node-a');
  let sent = 0;
  const feed = async () => {
    for (; sent < COUNT; sent += 1) {
      bus.nc.publish(SUBJECT, Buffer.from(String(sent)));
      if (sent % 20 === 0) await new Promise((resolve) => setImmediate(resolve));
    }
  };
  await Promise.all([feed(), killDuring(nats, () => sent, random(SEED), 1)]);
  await bus.whenConnected();
  await bus.nc.flush();
  const messages = await readAll(await nats.connect('correlator'), 'VIOLATIONS');
  expect(tally(messages.map(text), COUNT).missing.length).toBeGreaterThan(0);
});

test('publish - the server drops a resend before the ack by its message id', async () => {
  await using nats = await startBus();
  const bus = await nats.connect('collector-node-a');
  const resends: string[] = [];
  const collisions: unknown[] = [];
  const publisher = new FramePublisher(bus, {
    ackTimeoutMs: 100,
    onResend: ({ error }) => resends.push(error.code),
    onCollision: (collision) => collisions.push(collision),
  });
  // A stopped process responds to no request but keeps its connections: the acks are late, not
  // lost.
  await freeze(nats.pid);
  const published = publisher.publish(SUBJECT, Buffer.from('x'), { msgId: 'one' });
  await waitFor(() => resends.length >= 3, { what: 'three sendings', state: () => resends });
  process.kill(nats.pid, 'SIGCONT');
  expect(await published).toMatchObject({ sequence: 1, collision: false });
  expect(new Set(resends)).toEqual(new Set(['BUS_TIMEOUT']));
  const another = await publisher.publish(SUBJECT, Buffer.from('y'), { msgId: 'two' });
  // Its own ack may also be late, and then it is sent again.
  expect(another).toMatchObject({ sequence: 2, collision: false });
  expect(collisions).toEqual([]);
  expect(await readAll(await nats.connect('correlator'), 'VIOLATIONS')).toHaveLength(2);
});

test('publish - a message id that another publisher used is an error: the message is not in the stream', async () => {
  await using nats = await startBus();
  const other = new FramePublisher(await nats.connect('collector-node-a'));
  await other.publish(SUBJECT, Buffer.from('theirs'), { msgId: 'one' });
  const collisions: unknown[] = [];
  const publisher = new FramePublisher(await nats.connect('collector-node-a'), {
    onCollision: (collision) => collisions.push(collision),
  });
  const published = await publisher.publish(SUBJECT, Buffer.from('ours'), { msgId: 'one' });
  expect(published).toEqual({ sequence: 1, duplicate: true, collision: true });
  expect(collisions).toEqual([{ msgId: 'one', subject: SUBJECT, sequence: 1 }]);
  expect([publisher.collisions, publisher.resent]).toEqual([1, 0]);
  expect((await readAll(await nats.connect('correlator'), 'VIOLATIONS')).map(text)).toEqual(['theirs']);
});

test('publish - a clock that is set back by an hour delays no resend', async () => {
  await using nats = await startBus();
  const admin = await nats.connect('admin');
  for (const stream of ['VIOLATIONS', 'VERDICTS']) await admin.jsm.streams.delete(stream);
  const publisher = new FramePublisher(await nats.connect('collector-node-a'));
  const published = publisher.publish(SUBJECT, Buffer.from('x'), { msgId: 'x' });
  const once = publishOnce(await nats.connect('correlator'), 'bailiff.v1.verdicts.a.b.c.d', Buffer.from('x'), {
    deadlineMs: 1_000,
  });
  const refused = expect(once).rejects.toMatchObject({ code: 'BUS_NO_STREAM' });
  await waitFor(() => publisher.resent >= 1, { what: 'a resend', state: () => publisher.resent });
  const now = Date.now;
  const clock = vi.spyOn(Date, 'now').mockImplementation(() => now() - 3_600_000);
  try {
    await admin.jsm.streams.add({ name: 'VIOLATIONS', subjects: ['bailiff.v1.violations.>'] });
    expect(await published).toMatchObject({ sequence: 1 });
    await refused;
  } finally {
    clock.mockRestore();
  }
});

test('publish - messages published while the bus is unavailable are sent when it is back, up to the window', async () => {
  await using nats = await startBus();
  const bus = await nats.connect('collector-node-a');
  const publisher = new FramePublisher(bus, { maxInFlight: 3 });
  await nats.kill();
  await waitFor(() => !bus.connected, { what: 'the disconnect' });
  const waiting = ['a', 'b', 'c'].map((id) => publisher.publish(SUBJECT, Buffer.from(id), { msgId: id }));
  expect(publisher.capacity).toBe(0);
  await expect(publisher.publish(SUBJECT, Buffer.from('d'), { msgId: 'd' })).rejects.toMatchObject({
    code: 'BUS_CAPACITY',
  });
  let free = false;
  const capacity = publisher.whenCapacity().then(() => {
    free = true;
  });
  expect(free).toBe(false);
  await nats.restart();
  expect((await Promise.all(waiting)).map(({ duplicate }) => duplicate)).toEqual([false, false, false]);
  await capacity;
  expect(publisher.capacity).toBe(3);
  expect(await publisher.publish(SUBJECT, Buffer.from('d'), { msgId: 'd' })).toMatchObject({ duplicate: false });
});

test('publish - a reconnect sends the most frames that a collector may have in flight slower than bus-auth ends a node', async () => {
  await using nats = await startBus();
  const bus = await nats.connect('collector-node-a');
  const publisher = new FramePublisher(bus, { maxInFlight: 512 });
  await nats.kill();
  await waitFor(() => !bus.connected, { what: 'the disconnect' });
  const sentMs: number[] = [];
  const send = bus.nc.publish.bind(bus.nc);
  vi.spyOn(bus.nc, 'publish').mockImplementation((...args) => {
    sentMs.push(performance.now());
    send(...args);
  });
  const published = Array.from({ length: 512 }, (_, index) =>
    publisher.publish(SUBJECT, Buffer.from(String(index)), { msgId: `boot/${index}` }),
  );
  await nats.restart();
  expect(await Promise.all(published)).toHaveLength(512);
  const within = (fromMs: number) => sentMs.filter((ms) => ms >= fromMs && ms < fromMs + NODE_INTERVAL_MS).length;
  const rate = (Math.max(...sentMs.map(within)) * 1_000) / NODE_INTERVAL_MS;
  expect(rate).toBeLessThan(NODE_MESSAGES_PER_SECOND);
});

test('publish - a rejected message is retried with a reason until the stream accepts it', async () => {
  await using nats = await startBus();
  const admin = await nats.connect('admin');
  await admin.jsm.streams.delete('VIOLATIONS');
  const bus = await nats.connect('collector-node-a');
  const reasons = new Set<string>();
  const publisher = new FramePublisher(bus, { onResend: ({ error }) => reasons.add(error.code) });
  const published = publisher.publish(SUBJECT, Buffer.from('x'), { msgId: 'x' });
  await waitFor(() => publisher.resent >= 2, { what: 'sendings', state: () => publisher.resent });
  expect([...reasons]).toEqual(['BUS_NO_STREAM']);
  await admin.jsm.streams.add({ name: 'VIOLATIONS', subjects: ['bailiff.v1.violations.>'] });
  expect(await published).toMatchObject({ sequence: 1 });
});

test('publish - the reason names a subject that this identity may not use', async () => {
  await using nats = await startBus();
  const publisher = new FramePublisher(await nats.connect('collector-node-a'), { ackTimeoutMs: 100 });
  const errors: string[] = [];
  const again = new FramePublisher(await nats.connect('collector-node-a'), {
    ackTimeoutMs: 100,
    onResend: ({ error }) => errors.push(error.code),
  });
  const refused = again.publish(violationSubject('node-b', 'spoof'), Buffer.from('x'), { msgId: 'x' });
  await waitFor(() => errors.includes('BUS_PERMISSION'), { what: 'the reason', state: () => errors });
  again.close();
  await expect(refused).rejects.toMatchObject({ code: 'BUS_CLOSED' });
  expect(await publisher.publish(SUBJECT, Buffer.from('x'), { msgId: 'y' })).toMatchObject({ sequence: 1 });
});

test('publish - a message that is too large, a closed publisher and a closed bus reject a promise at once', async () => {
  await using nats = await startBus();
  const bus = await nats.connect('collector-node-a');
  const publisher = new FramePublisher(bus);
  const large = publisher.publish(SUBJECT, Buffer.alloc(2 * 1024 ** 2), { msgId: 'large' });
  await expect(large).rejects.toMatchObject({ code: 'BUS_TOO_LARGE' });
  expect(publisher.capacity).toBe(64);
  expect(await publisher.publish(SUBJECT, Buffer.from('x'), { msgId: 'x' })).toMatchObject({ sequence: 1 });
  await bus.close();
  await waitFor(() => publisher.capacity === 0, { what: 'the publisher to close' });
  await expect(publisher.publish(SUBJECT, Buffer.from('y'), { msgId: 'y' })).rejects.toMatchObject({
    code: 'BUS_CLOSED',
  });
  await expect(publisher.whenCapacity()).rejects.toMatchObject({ code: 'BUS_CLOSED' });
});

test('publish once - of many concurrent writers one is stored, however often each repeats it', async () => {
  await using nats = await startBus();
  const writers = await Promise.all([1, 2, 3].map(() => nats.connect('correlator')));
  const subjects = Array.from({ length: 40 }, (_, index) => `bailiff.v1.verdicts.high.default.web.${index}`);
  const write = (bus: Bus) =>
    Promise.all(
      subjects.flatMap((subject, index) => [0, 1].map(() => publishOnce(bus, subject, Buffer.from(String(index))))),
    );
  const outcomes = (await Promise.all(writers.map(write))).flat();
  expect(outcomes.filter(({ outcome }) => outcome === 'stored')).toHaveLength(subjects.length);
  expect(outcomes.filter(({ outcome }) => outcome === 'exists')).toHaveLength(subjects.length * 5);
  const messages = await readAll(await nats.connect('responder'), 'VERDICTS');
  expect(messages.map(({ subject }) => subject).sort()).toEqual([...subjects].sort());
});

test('publish once - continues over a restart of the server and is stored once', async () => {
  await using nats = await startBus();
  const bus = await nats.connect('correlator');
  const subject = 'bailiff.v1.verdicts.high.default.web.abc';
  await nats.kill();
  const publishing = publishOnce(bus, subject, Buffer.from('x'));
  await nats.restart();
  expect(await publishing).toEqual({ outcome: 'stored', sequence: 1 });
  expect(await publishOnce(bus, subject, Buffer.from('x'))).toEqual({ outcome: 'exists' });
});

test.each([
  ['answer', 'RESPONSES', 'mine', { outcome: 'stored', sequence: 1 }],
  // If the identity may read no stream, a repeat counts as the second message.
  ['answer', undefined, 'mine', { outcome: 'exists' }],
  ['request', 'RESPONSES', 'theirs', { outcome: 'exists' }],
] as const)(
  'publish once - the first %s is lost, the stream to read is %s: the %s is kept',
  async (where, stream, kept, outcome) => {
    await using nats = await startBus();
    const [bus, other] = await Promise.all([nats.connect('responder'), nats.connect('responder')]);
    const subject = 'bailiff.v1.responses.label.default.web.abc';
    const publishTheirs = () => publishOnce(other, subject, Buffer.from('theirs'));
    const lossy = losing(bus, subject, where, publishTheirs);
    const options = { lastSequence: 0, ...(stream ? { stream, isUnique: true } : {}) };
    expect(await publishOnce(lossy.bus, subject, Buffer.from('mine'), options)).toEqual(outcome);
    expect(lossy.requests()).toBe(2);
    expect((await readAll(bus, 'RESPONSES')).map(text)).toEqual([kept]);
  },
);

test('publish once - gives up at the deadline or when aborted, with the reason', async () => {
  await using nats = await startBus();
  const bus = await nats.connect('correlator');
  await nats.kill();
  await waitFor(() => !bus.connected, { what: 'the disconnect' });
  const options = { deadlineMs: 300 };
  await expect(publishOnce(bus, 'bailiff.v1.verdicts.a.b.c.d', Buffer.from('x'), options)).rejects.toMatchObject({
    code: 'BUS_UNREACHABLE',
  });
  const end = new AbortController();
  const waiting = publishOnce(bus, 'bailiff.v1.verdicts.a.b.c.d', Buffer.from('x'), { signal: end.signal });
  end.abort(new Error('the app stops'));
  await expect(waiting).rejects.toThrow('the app stops');
});

test('publish once - a full stream rejects with its own code', async () => {
  await using nats = await startBus();
  const admin = await nats.connect('admin');
  await admin.jsm.streams.update('VERDICTS', { max_bytes: 4_096, discard: DiscardPolicy.New });
  const bus = await nats.connect('correlator');
  const write = (index: number) => publishOnce(bus, `bailiff.v1.verdicts.high.a.b.${index}`, Buffer.alloc(1_000));
  expect(await write(0)).toMatchObject({ outcome: 'stored' });
  await Promise.allSettled([1, 2, 3].map(write));
  await expect(write(4)).rejects.toMatchObject({ code: 'BUS_FULL' });
});

test('publish - a stream that refuses every message: the age and error of the oldest one are known until it is stored', async () => {
  await using nats = await startBus();
  const bus = await nats.connect('collector-node-a');
  const publisher = new FramePublisher(bus);
  const setLimit = async (max_msgs_per_subject: number) => {
    const manager = (await nats.connect('admin')).jsm;
    await manager.streams.update('VIOLATIONS', {
      max_msgs_per_subject,
      discard: DiscardPolicy.New,
      discard_new_per_subject: max_msgs_per_subject > 0,
    });
  };
  // The control: what is stored leaves nothing.
  await setLimit(1);
  await publisher.publish(SUBJECT, Buffer.from('first'), { msgId: 'first' });
  expect(publisher.oldestUnacked).toBe(null);
  const second = publisher.publish(SUBJECT, Buffer.from('second'), { msgId: 'second' });
  await waitFor(() => publisher.resent >= 2, { what: 'two refusals' });
  expect(publisher.oldestUnacked?.error?.message).toMatch(/maximum messages per subject exceeded/);
  expect(publisher.oldestUnacked?.ageMs).toBeGreaterThan(100);
  await setLimit(-1);
  await second;
  expect(publisher.oldestUnacked).toBe(null);
  publisher.close();
});
