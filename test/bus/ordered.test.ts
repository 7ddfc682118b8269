import {
  type Bus,
  BusError,
  consumeOrdered,
  FramePublisher,
  type StreamMessage,
  streamInfo,
  violationSubject,
} from '@bailiff/bus';
import type { TestNats } from '@bailiff/bus/testing';
import { waitFor } from '@bailiff/service/testing';
import { expect, test } from 'vitest';
import { intercepted, isQueued, readAll, startBus, text, underWay, withhold } from '../support/bus.ts';
import { random } from '../support/random.ts';

const SUBJECT = violationSubject('node-a', 'spoof');
const SEED = Number(process.env['BAILIFF_SEED'] ?? 20_261_124);

async function publishMany(bus: Bus, from: number, to: number, subject = SUBJECT): Promise<void> {
  const publisher = new FramePublisher(bus);
  for (let index = from; index < to; index += 1) {
    await publisher.whenCapacity();
    publisher.publish(subject, Buffer.from(String(index)), { msgId: `${subject}/${index}` }).catch(() => undefined);
  }
  await publisher.whenFlushed();
  publisher.close();
}

const consumersOf = async (nats: TestNats, stream: string): Promise<string[]> => {
  const admin = await nats.connect('admin');
  const names: string[] = [];
  for await (const info of admin.jsm.consumers.list(stream)) names.push(info.name);
  await admin.close();
  return names;
};

/**
 * A bus whose subscriptions lose the deliveries that `lose` selects, as a network between server
 * and client might.
 */
function lossy(bus: Bus, lose: (sequence: number) => boolean): Bus {
  return intercepted(bus, (error, message, deliver) => {
    const sequence = Number(message?.reply?.split('.').at(-4) ?? Number.NaN);
    if (error || !lose(sequence)) deliver();
  });
}

/** Withholds requests of a bus that pass the queue of the server, and records reply subjects of its pulls. */
function watchRequests(bus: Bus): { requests: string[]; pulls: string[] } {
  const pulls: string[] = [];
  const { nc } = bus;
  const publish = nc.publish.bind(nc);
  nc.publish = (subject, payload, options) => {
    if (subject.startsWith('$JS.API.CONSUMER.MSG.NEXT.')) pulls.push(options?.reply ?? '');
    publish(subject, payload, options);
  };
  return { requests: withhold(bus, isQueued), pulls };
}

/** The correlator reads by consumers, cli by direct gets, the console by the API of JetStream. */
const READERS = ['correlator', 'cli', 'console'] as const;

test.each(READERS)(
  'ordered - over restarts of the server every message is delivered once and in order, by the %s',
  async (user) => {
    await using nats = await startBus();
    const reader = await nats.connect(user);
    const next = random(SEED);
    const seen: StreamMessage[] = [];
    const restarts: string[] = [];
    const end = new AbortController();
    const reading = underWay(
      consumeOrdered(reader, 'VIOLATIONS', {
        start: 'all',
        maxMessages: 100,
        onMessage: (message) => {
          seen.push(message);
        },
        onRestart: (why) => restarts.push(why),
        signal: end.signal,
      }),
    );
    const writing = publishMany(await nats.connect('collector-node-a'), 0, 6_000);
    for (const part of [1, 2, 3]) {
      const at = Math.floor((part - next()) * 1_800);
      await waitFor(() => seen.length >= at, { what: `message ${at}`, intervalMs: 1, state: () => seen.length });
      await nats.restart();
    }
    await writing;
    const stored = async () => (await streamInfo(reader, 'VIOLATIONS')).state.last_seq;
    await waitFor(async () => seen.length >= (await stored()), {
      what: 'all messages',
      state: () => [seen.length, restarts],
    });
    end.abort();
    await reading;
    // More than were sent if a restart took an ack.
    expect(seen.length).toBeGreaterThanOrEqual(6_000);
    expect(
      seen.map(({ sequence }) => sequence),
      `seed ${SEED}`,
    ).toEqual(Array.from(seen, (_, i) => i + 1));
    // A restart between two of the reader's direct gets is only a reconnect to it, and each can be.
    if (user === 'correlator') expect(restarts.length).toBeGreaterThanOrEqual(3);
    const times = seen.map(({ timestampMicros }) => timestampMicros);
    expect([...times].sort((a, b) => a - b)).toEqual(times);
  },
);

test.each(READERS)(
  'ordered - resumes within seconds when the server is back and nothing more is published, by the %s',
  async (user) => {
    await using nats = await startBus();
    await publishMany(await nats.connect('collector-node-a'), 0, 10);
    const seen: number[] = [];
    const end = new AbortController();
    const reading = underWay(
      consumeOrdered(await nats.connect(user), 'VIOLATIONS', {
        start: 'all',
        onMessage: ({ sequence }) => {
          seen.push(sequence);
        },
        signal: end.signal,
      }),
    );
    await waitFor(() => seen.length === 10);
    await nats.kill();
    await nats.restart();
    await publishMany(await nats.connect('collector-node-a'), 10, 12);
    const backAt = performance.now();
    await waitFor(() => seen.length === 12, { what: 'the rest', state: () => seen });
    // A reader that does not notice the loss would wait until the server forgets its consumer.
    expect(performance.now() - backAt).toBeLessThan(20_000);
    end.abort();
    await reading;
    expect(seen).toEqual(Array.from({ length: 12 }, (_, i) => i + 1));
  },
);

test.each([
  ['in the middle', (n: number) => n === 40, 'a delivery is missing'],
  ['at the end, without a later message that would show it', (n: number) => n > 95, 'deliveries were lost'],
])('ordered - deliveries that are lost %s are delivered again', async (_name, lost, why) => {
  await using nats = await startBus();
  await publishMany(await nats.connect('collector-node-a'), 0, 100);
  let losses = 0;
  const once = (sequence: number) => {
    if (losses >= 5 || !lost(sequence)) return false;
    losses += 1;
    return true;
  };
  const seen: number[] = [];
  const restarts: string[] = [];
  const end = new AbortController();
  const reading = underWay(
    consumeOrdered(lossy(await nats.connect('correlator'), once), 'VIOLATIONS', {
      start: 'all',
      onMessage: ({ sequence }) => {
        seen.push(sequence);
      },
      onRestart: (reason) => restarts.push(reason),
      signal: end.signal,
    }),
  );
  await waitFor(() => seen.length === 100, { what: 'all messages', state: () => [seen.length, restarts] });
  end.abort();
  await reading;
  expect(losses).toBeGreaterThan(0);
  expect(seen).toEqual(Array.from({ length: 100 }, (_, i) => i + 1));
  expect(restarts).toContain(why);
});

test('ordered - a deleted consumer is created again after the last message', async () => {
  await using nats = await startBus();
  const writer = await nats.connect('collector-node-a');
  await publishMany(writer, 0, 5);
  const seen: number[] = [];
  const restarts: string[] = [];
  const end = new AbortController();
  const reading = underWay(
    consumeOrdered(await nats.connect('correlator'), 'VIOLATIONS', {
      start: 'all',
      onMessage: ({ sequence }) => {
        seen.push(sequence);
      },
      onRestart: (why) => restarts.push(why),
      signal: end.signal,
    }),
  );
  await waitFor(() => seen.length === 5);
  const admin = await nats.connect('admin');
  for (const name of await consumersOf(nats, 'VIOLATIONS')) await admin.jsm.consumers.delete('VIOLATIONS', name);
  await publishMany(writer, 5, 8);
  await waitFor(() => seen.length === 8, { what: 'the rest', state: () => [seen, restarts] });
  end.abort();
  await reading;
  expect(seen).toEqual([1, 2, 3, 4, 5, 6, 7, 8]);
});

test('ordered - leaves no consumer behind when it is ended', async () => {
  await using nats = await startBus();
  await publishMany(await nats.connect('collector-node-a'), 0, 3);
  const bus = await nats.connect('correlator');
  await readAll(bus, 'VIOLATIONS');
  await readAll(bus, 'VIOLATIONS');
  await waitFor(async () => (await consumersOf(nats, 'VIOLATIONS')).length === 0, {
    what: 'no consumers',
    state: () => consumersOf(nats, 'VIOLATIONS'),
  });
});

test('ordered - an asynchronous handler has one message at a time, and slows the server down', async () => {
  await using nats = await startBus();
  await publishMany(await nats.connect('collector-node-a'), 0, 300);
  let running = 0;
  let most = 0;
  const seen: number[] = [];
  const end = new AbortController();
  const reading = underWay(
    consumeOrdered(await nats.connect('correlator'), 'VIOLATIONS', {
      start: 'all',
      maxMessages: 10,
      onMessage: async ({ sequence }) => {
        running += 1;
        most = Math.max(most, running);
        await new Promise((resolve) => setImmediate(resolve));
        running -= 1;
        seen.push(sequence);
      },
      signal: end.signal,
    }),
  );
  const admin = await nats.connect('admin');
  let furthest = 0;
  await waitFor(async () => {
    for await (const info of admin.jsm.consumers.list('VIOLATIONS')) {
      furthest = Math.max(furthest, info.delivered.stream_seq - seen.length);
    }
    return seen.length === 300;
  });
  end.abort();
  await reading;
  expect(seen).toEqual(Array.from({ length: 300 }, (_, i) => i + 1));
  expect(most).toBe(1);
  // The reader asks for ten; its count may be that much older than the server's.
  expect(furthest).toBeLessThanOrEqual(20);
});

test.each(READERS)('ordered - ending waits for the message being handled, by the %s', async (user) => {
  await using nats = await startBus();
  await publishMany(await nats.connect('collector-node-a'), 0, 2);
  let finish: (() => void) | null = null;
  const end = new AbortController();
  const bus = await nats.connect(user);
  const onMessage = () =>
    new Promise<void>((resolve) => {
      finish = resolve;
    });
  let ended = false;
  const reading = underWay(consumeOrdered(bus, 'VIOLATIONS', { start: 'all', onMessage, signal: end.signal })).then(
    () => {
      ended = true;
    },
  );
  const handled = await waitFor(() => finish as (() => void) | null);
  end.abort();
  await bus.nc.flush();
  expect(ended).toBe(false);
  handled();
  await reading;
});

test.each(
  READERS.flatMap((user) =>
    (['thrown', 'rejected'] as const).flatMap((how) =>
      // The reader itself retries the second one.
      [new Error('cannot take it'), new BusError('BUS_TIMEOUT', 'cannot take it')].map((error) => ({
        user,
        how,
        error,
      })),
    ),
  ),
)('ordered - $error.name $how by the handler ends the read loop of the $user, not the connection', async (one) => {
  await using nats = await startBus();
  await publishMany(await nats.connect('collector-node-a'), 0, 3);
  const bus = await nats.connect(one.user);
  const signal = new AbortController().signal;
  const fail = (): void => {
    throw one.error;
  };
  const onMessage = one.how === 'thrown' ? fail : async () => fail();
  await expect(consumeOrdered(bus, 'VIOLATIONS', { start: 'all', onMessage, signal })).rejects.toBe(one.error);
  expect((await readAll(bus, 'VIOLATIONS')).map(text)).toEqual(['0', '1', '2']);
});

test.each(READERS)('ordered - starts at the given position, by the %s', async (user) => {
  await using nats = await startBus();
  const writer = await nats.connect('collector-node-a');
  await publishMany(writer, 0, 5);
  const bus = await nats.connect(user);
  const all = await readAll(bus, 'VIOLATIONS');
  const from = async (start: Parameters<typeof consumeOrdered>[2]['start']) => {
    const seen: number[] = [];
    const end = new AbortController();
    let idle = false;
    const reading = underWay(
      consumeOrdered(bus, 'VIOLATIONS', {
        start,
        onMessage: ({ sequence }) => {
          seen.push(sequence);
        },
        onIdle: () => {
          idle = true;
        },
        signal: end.signal,
      }),
    );
    await waitFor(() => idle);
    end.abort();
    await reading;
    return seen;
  };
  expect(await from({ sequence: 4 })).toEqual([4, 5]);
  expect(await from({ sequence: 6 })).toEqual([]);
  expect(await from('new')).toEqual([]);
  expect(await from('last-per-subject')).toEqual([5]);
  expect(await from({ timeMs: Math.ceil((all[4]?.timestampMicros ?? 0) / 1000) + 1_000 })).toEqual([]);
  expect(await from({ timeMs: Math.floor((all[0]?.timestampMicros ?? 0) / 1000) })).toEqual([1, 2, 3, 4, 5]);
});

test.each(READERS)(
  'ordered - "from now on" starts at the call, also when the consumer has to be created again, by the %s',
  async (user) => {
    await using nats = await startBus();
    const writer = await nats.connect('collector-node-a');
    await publishMany(writer, 0, 3);
    const seen: number[] = [];
    let idle = false;
    const end = new AbortController();
    const reading = underWay(
      consumeOrdered(await nats.connect(user), 'VIOLATIONS', {
        start: 'new',
        onMessage: ({ sequence }) => {
          seen.push(sequence);
        },
        onIdle: () => {
          idle = true;
        },
        signal: end.signal,
      }),
    );
    await waitFor(() => idle);
    await nats.kill();
    await nats.restart();
    // Published before the reader is back. A consumer created with "new" again would miss these.
    await publishMany(await nats.connect('collector-node-a'), 3, 6);
    await waitFor(() => seen.length === 3, { what: 'three messages', state: () => seen });
    end.abort();
    await reading;
    expect(seen).toEqual([4, 5, 6]);
  },
);

test('ordered - one filter or several are honoured', async () => {
  await using nats = await startBus();
  const bus = await nats.connect('admin');
  const b = violationSubject('node-b', 'spoof');
  const lsm = violationSubject('node-b', 'lsm');
  await publishMany(bus, 0, 3);
  await publishMany(bus, 0, 2, b);
  await publishMany(bus, 0, 1, lsm);
  const reader = await nats.connect('correlator');
  expect(await readAll(reader, 'VIOLATIONS', [SUBJECT])).toHaveLength(3);
  expect((await readAll(reader, 'VIOLATIONS', [b, lsm])).map(({ subject }) => subject)).toEqual([b, b, lsm]);
  expect(await readAll(reader, 'VIOLATIONS', ['bailiff.v1.violations.*.node-b.spoof'])).toHaveLength(2);
});

test.each(READERS)(
  'ordered - the reader waits for a missing stream; a stream that it may not read is rejected, by the %s',
  async (user) => {
    await using nats = await startBus();
    const admin = await nats.connect('admin');
    await admin.jsm.streams.delete('VIOLATIONS');
    const seen: string[] = [];
    const end = new AbortController();
    const restarts: string[] = [];
    const reading = underWay(
      consumeOrdered(await nats.connect(user), 'VIOLATIONS', {
        start: 'all',
        onMessage: (message) => {
          seen.push(text(message));
        },
        onRestart: (why) => restarts.push(why),
        signal: end.signal,
      }),
    );
    await waitFor(() => restarts.length > 0);
    await admin.jsm.streams.add({ name: 'VIOLATIONS', subjects: ['bailiff.v1.violations.>'], allow_direct: true });
    await publishMany(await nats.connect('collector-node-a'), 0, 1);
    await waitFor(() => seen.length === 1, { what: 'the message', state: () => restarts });
    end.abort();
    await reading;
    const forbidden = consumeOrdered(await nats.connect('collector-node-a'), 'VIOLATIONS', {
      start: 'all',
      onMessage: () => undefined,
      signal: AbortSignal.timeout(20_000),
    });
    await expect(forbidden).rejects.toMatchObject({ code: 'BUS_PERMISSION' });
  },
);

test('ordered - a stalled reader holds at most one pull of bytes, and continues with the next message', async () => {
  await using nats = await startBus();
  const [collector, admin] = [await nats.connect('collector-node-a'), await nats.connect('admin')];
  const COUNT = 40;
  const large = (index: number) => Buffer.from(`${index}`.padEnd(900_000, ' '));
  for (let index = 0; index < COUNT; index += 1) await collector.js.publish(SUBJECT, large(index));
  const reader = await nats.connect('correlator');
  const before = reader.nc.stats().inBytes;
  const [seen, restarts]: [string[], string[]] = [[], []];
  const end = new AbortController();
  let release = () => {};
  const held = new Promise<void>((resolve) => {
    release = resolve;
  });
  const reading = underWay(
    consumeOrdered(reader, 'VIOLATIONS', {
      start: 'all',
      onMessage: (message) => {
        seen.push(text(message).trim());
        return seen.length === 1 ? held : undefined;
      },
      onRestart: (why) => restarts.push(why),
      signal: end.signal,
    }),
  );
  const state = async () => {
    for await (const { num_waiting, num_pending } of admin.jsm.consumers.list('VIOLATIONS'))
      return { num_waiting, num_pending };
    return null;
  };
  await waitFor(
    async () => {
      const now = await state();
      return seen.length === 1 && now !== null && (now.num_waiting === 0 || now.num_pending === 0);
    },
    { what: 'the server to have sent what was requested', state },
  );
  expect((await state())?.num_pending).toBeGreaterThan(0);
  expect(reader.nc.stats().inBytes - before).toBeLessThan(17 * 1024 * 1024);
  release();
  await waitFor(() => seen.length >= COUNT, { what: 'all messages', state: () => ({ seen, restarts }) });
  expect(seen).toEqual(Array.from({ length: COUNT }, (_, index) => `${index}`));
  expect(restarts).toEqual([]);
  end.abort();
  await reading;
});

test('ordered - pulls whose messages or bytes are used up need no other consumer', async () => {
  await using nats = await startBus();
  await publishMany(await nats.connect('collector-node-a'), 0, 1_000);
  const [restarts, seen]: [string[], number[]] = [[], []];
  const end = new AbortController();
  const reading = underWay(
    consumeOrdered(await nats.connect('correlator'), 'VIOLATIONS', {
      start: 'all',
      maxMessages: 100,
      onMessage: ({ sequence }) => {
        seen.push(sequence);
      },
      onRestart: (why) => restarts.push(why),
      signal: end.signal,
    }),
  );
  await waitFor(() => seen.length >= 1_000, { what: 'all messages', state: () => [seen.length, restarts] });
  expect(restarts).toEqual([]);
  end.abort();
  await reading;
});

test('ordered - a reader uses its consumer on when the server was silent, without the queue of API requests', async () => {
  await using nats = await startBus();
  const [collector, admin] = [await nats.connect('collector-node-a'), await nats.connect('admin')];
  let [isSilent, lost] = [false, 0];
  const reader = lossy(await nats.connect('correlator'), () => {
    if (isSilent) lost += 1;
    return isSilent;
  });
  const seen: string[] = [];
  const end = new AbortController();
  const reading = underWay(
    consumeOrdered(reader, 'VIOLATIONS', {
      start: 'all',
      onMessage: (message) => {
        seen.push(text(message));
      },
      signal: end.signal,
    }),
  );
  await publishMany(collector, 0, 1);
  await waitFor(() => seen.length === 1, { what: 'the first message' });
  const { requests, pulls } = watchRequests(reader);
  isSilent = true;
  await waitFor(() => pulls.length > 0, { what: 'another session', state: () => [pulls, requests] });
  isSilent = false;
  expect(lost).toBeGreaterThan(0);
  await publishMany(collector, 1, 2);
  await waitFor(() => seen.length === 2, { what: 'the second message', state: () => requests });
  expect(requests).toEqual([]);
  // The control: without its consumer it asks for another one.
  for (const name of await consumersOf(nats, 'VIOLATIONS')) await admin.jsm.consumers.delete('VIOLATIONS', name);
  await waitFor(() => requests.length > 0, { what: 'a request for another consumer' });
  expect(seen).toHaveLength(2);
  end.abort();
  await reading;
});

test.each(['console', 'cli'])(
  'ordered - a message that a lagging replica does not have yet is not skipped where another replica has the next, by the %s',
  async (user) => {
    await using nats = await startBus();
    await publishMany(await nats.connect('collector-node-a'), 0, 20);
    const bus = await nats.connect(user);
    // Of the fifth message, the first request finds a replica without it; those of the others do not.
    const asked: number[] = [];
    const send: Bus['requests']['send'] = (subject, payload, options) => {
      const { seq = 0 } = subject.includes('.GET.') ? (JSON.parse(String(payload)) as { seq?: number }) : {};
      asked.push(seq);
      const isLate = seq === 5 && asked.filter((one) => one === seq).length === 1;
      return bus.requests.send(subject, isLate ? JSON.stringify({ seq: 1_000, next_by_subj: '>' }) : payload, options);
    };
    const lagging = new Proxy(bus, {
      get: (target, name) => (name === 'requests' ? { send } : Reflect.get(target, name, target)),
    });
    const sequences: number[] = [];
    const end = new AbortController();
    await consumeOrdered(lagging, 'VIOLATIONS', {
      start: 'all',
      onMessage: ({ sequence }) => {
        sequences.push(sequence);
        if (sequence === 20) end.abort();
      },
      signal: AbortSignal.any([end.signal, AbortSignal.timeout(60_000)]),
    });
    expect(sequences).toEqual(Array.from({ length: 20 }, (_, index) => index + 1));
    // A server from 2.11 on sends batches to the CLI, each from one replica.
    const [major = 0, minor = 0] = (bus.nc.info?.version ?? '').split('.').map(Number);
    const isSingle = user === 'console' || (major === 2 && minor < 11);
    expect(asked.filter((one) => one === 5).length > 1).toBe(isSingle);
  },
);
