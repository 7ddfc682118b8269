/** Starts a server with the complete topology, with helpers for the tests of the bus. */

import { readdirSync, readFileSync } from 'node:fs';
import {
  type Bus,
  BusError,
  consumeOrdered,
  ensureTopology,
  type FollowerBuses,
  type StreamMessage,
  type TopologyOptions,
} from '@bailiff/bus';
import { freePort, type StartNatsOptions, startNats, type TestNats } from '@bailiff/bus/testing';
import { waitFor } from '@bailiff/service/testing';
import type { Msg } from '@nats-io/nats-core';

export async function startBus(options: TopologyOptions = {}): Promise<TestNats> {
  const nats = await startNats();
  const admin = await nats.connect('admin');
  await ensureTopology(admin, options);
  await admin.close();
  return nats;
}

/** Three servers of one cluster, with the complete topology on each. */
export async function startThree(options: Pick<StartNatsOptions, 'users' | 'without' | 'authCallout'> = {}) {
  const ports = await Promise.all([0, 1, 2].map(() => freePort()));
  const routes = ports.map((port) => `127.0.0.1:${port}`);
  const servers: TestNats[] = [];
  const stop = async () => void (await Promise.all(servers.map((server) => server.stop())));
  try {
    for (const [index, port] of ports.entries()) {
      const cluster = { name: 'bailiff', port, routes, user: 'route', password: 'route' };
      servers.push(await startNats({ ...options, serverName: `nats-${index}`, cluster }));
    }
    const [first, second, third] = servers as [TestNats, TestNats, TestNats];
    const admin = await first.connect('admin');
    // A leader places no replica on servers whose figures it has not received yet.
    await waitFor(() => ensureTopology(admin, { replicas: 3 }).then(() => true), {
      what: 'streams on three servers',
      timeoutMs: 60_000,
      intervalMs: 250,
      state: () => servers.map(({ log }) => log.slice(-2000)).join('\n'),
    });
    return { first, second, third, admin, [Symbol.asyncDispose]: stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

/** Both connections of a collector. */
export async function connectCollector(nats: TestNats, node: string): Promise<FollowerBuses> {
  return { reads: await nats.connect(`collector-${node}`), pushes: await nats.connect(`push-${node}`) };
}

/**
 * A read loop that the test ends itself and waits for. If the test fails earlier, `nats.stop()`
 * closes the bus and the loop rejects with BUS_CLOSED. That rejection must not hide the test's own
 * failure.
 */
export function underWay(reading: Promise<void>): Promise<void> {
  reading.catch(() => undefined);
  return reading;
}

/**
 * A bus whose subscriptions hand each message to `receive`, with the step that delivers it: a network
 * between server and client may lose messages, or hold them back. @param more members to replace
 */
export function intercepted(
  bus: Bus,
  receive: (error: Error | null, message: Msg, deliver: () => void) => void,
  more: Partial<Bus> = {},
): Bus {
  const nc = new Proxy(bus.nc, {
    get(target, property) {
      const value: unknown = Reflect.get(target, property, target);
      if (typeof value !== 'function') return value;
      if (property !== 'subscribe') return value.bind(target);
      return (subject: string, options: { callback: (error: Error | null, message: Msg) => void }) =>
        target.subscribe(subject, {
          callback: (error, message) => receive(error, message, () => options.callback(error, message)),
        });
    },
  });
  const replaced: Partial<Bus> = { ...more, nc };
  return new Proxy(bus, {
    get: (target, property) => Reflect.get(property in replaced ? replaced : target, property),
  });
}

/**
 * A bus that loses the first request to a subject: on the way to the server, or on the way back,
 * after the server has stored it. `meanwhile` runs between the loss and the error that the caller
 * gets. `requests` counts the caller's requests.
 */
export function losing(bus: Bus, subject: string, where: 'request' | 'answer', meanwhile: () => unknown = () => {}) {
  let requests = 0;
  const send = async (...args: Parameters<Bus['requests']['send']>) => {
    if (!args[0].startsWith(subject)) return bus.requests.send(...args);
    requests += 1;
    const isLost = requests === 1;
    const answer = isLost && where === 'request' ? undefined : await bus.requests.send(...args);
    if (answer && !isLost) return answer;
    await meanwhile();
    throw new BusError('BUS_TIMEOUT', `${args[0]}: lost`);
  };
  const lossy = new Proxy(bus, {
    get: (target, name) => (name === 'requests' ? { send } : Reflect.get(target, name, target)),
  });
  return { bus: lossy, requests: () => requests };
}

/** A cluster that lost a server elects leaders first. */
const READ_MS = 60_000;

/** All messages of a stream, in order. */
export async function readAll(bus: Bus, stream: string, filterSubjects?: string[]): Promise<StreamMessage[]> {
  const messages: StreamMessage[] = [];
  const end = new AbortController();
  await consumeOrdered(bus, stream, {
    start: 'all',
    ...(filterSubjects ? { filterSubjects } : {}),
    onMessage: (message) => {
      messages.push(message);
    },
    onIdle: () => end.abort(),
    signal: AbortSignal.any([end.signal, AbortSignal.timeout(READ_MS)]),
  });
  if (!end.signal.aborted)
    throw new Error(`${stream} was not read within ${READ_MS} ms; ${messages.length} messages came`);
  return messages;
}

/**
 * Stops a process until SIGCONT. The signal takes effect on each thread when it is next scheduled,
 * so this waits for all threads.
 */
export async function freeze(pid: number): Promise<void> {
  const states = () =>
    readdirSync(`/proc/${pid}/task`).map(
      (thread) => readFileSync(`/proc/${pid}/task/${thread}/stat`, 'utf8').split(') ').at(-1)?.[0],
    );
  process.kill(pid, 'SIGSTOP');
  await waitFor(() => states().every((state) => state === 'T'), {
    what: `${pid} to stop`,
    intervalMs: 1,
    state: states,
  });
}

export const text = (message: { data?: Uint8Array; value?: Uint8Array }): string =>
  Buffer.from(message.data ?? message.value ?? []).toString('utf8');

/**
 * Numbers from 0 to count - 1, as strings, that are missing in `seen`, and those that occur more
 * than once.
 */
export function tally(seen: readonly string[], count: number) {
  const times = new Map<string, number>();
  for (const value of seen) times.set(value, (times.get(value) ?? 0) + 1);
  const all = Array.from({ length: count }, (_, index) => String(index));
  return {
    missing: all.filter((value) => !times.has(value)),
    twice: all.filter((value) => (times.get(value) ?? 0) > 1),
  };
}

/**
 * Withholds requests from the server, as if they waited there for ever. @returns their reply
 * subjects
 */
export function withhold({ nc }: Bus, isWithheld: (subject: string) => boolean): string[] {
  const replies: string[] = [];
  const publish = nc.publish.bind(nc);
  nc.publish = (subject, payload, options) => {
    if (!isWithheld(subject)) return publish(subject, payload, options);
    replies.push(options?.reply ?? '');
  };
  return replies;
}

/** Whether the server processes a request in the queue that all clients share. */
export const isQueued = (subject: string): boolean => /^\$JS\.API\.(?!DIRECT\.GET|CONSUMER\.MSG\.NEXT)/.test(subject);
