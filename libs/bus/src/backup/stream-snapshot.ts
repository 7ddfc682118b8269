/**
 * Saves and restores one stream by JetStream's snapshot API: messages, sequences,
 * times, and durable consumers with their positions. Needs the admin identity.
 *
 * The server sends a snapshot in chunks to an inbox of this connection. It waits for acks while 8 MiB
 * are not acknowledged. A chunk is acknowledged after `write`, so this window bounds the memory. The
 * bytes are a compressed archive of the server's files.
 */
import { pause } from '@bailiff/service/retry';
import type { StreamConfig, StreamInfo, StreamState } from '@nats-io/jetstream';
import { acrossElection } from '../connection/across-election.ts';
import type { Bus } from '../connection/connect.ts';
import { BusError, toBusError } from '../connection/errors.ts';
import { type Incoming, subscribe } from '../connection/incoming.ts';
import { ReplyInbox, randomToken } from '../connection/reply-inbox.ts';
import { apiRequest, parseResponse, request } from '../connection/request.ts';
import { storedStreamInfo } from '../streams/direct.ts';

/** Bytes of one message of a snapshot or a restore; below `max_payload` of every server. */
const SNAPSHOT_CHUNK_BYTES = 128 * 1024;
/** Chunks of a restore that wait for their ack. */
const RESTORE_WINDOW = 16;
/**
 * In a cluster, the servers of a new stream elect its leader before it accepts chunks. A round takes up
 * to 9 s (nats-server's raft.go), and a busy machine may need a second one.
 */
const RESTORE_BEGIN_MS = 30_000;
/** The server checks and indexes the stream after the last chunk of a restore. */
const RESTORE_END_MS = 600_000;
const POLL_MS = 50;
/** Status of the last message of a snapshot; not every server sends one. */
const END_OF_SNAPSHOT = [0, 204];

/** A restore needs it in addition to the chunks. The state is that at the start of the snapshot. */
export interface SnapshotHead {
  config: StreamConfig;
  state: StreamState;
}

/**
 * Passes chunks to `write` in order, one at a time, and acknowledges each.
 *
 * The reply subject of a chunk contains its size and number; since 2.15 the last chunk has none. Any
 * other message is not from the server. The monitoring port lists the subject of this subscription,
 * so a client could direct a response to it.
 */
class ChunkReceiver {
  readonly #stream: string;
  readonly #write: (chunk: Uint8Array) => Promise<void>;
  readonly #waiting: Incoming[] = [];
  readonly #onEnd: (error?: unknown) => void;
  #isWriting = false;
  #count = 0;
  #isLast = false;

  constructor(stream: string, write: (chunk: Uint8Array) => Promise<void>, onEnd: (error?: unknown) => void) {
    this.#stream = stream;
    this.#write = write;
    this.#onEnd = onEnd;
  }

  take(message: Incoming): void {
    this.#waiting.push(message);
    if (!this.#isWriting) void this.#drain().catch(this.#onEnd);
  }

  async #drain(): Promise<void> {
    this.#isWriting = true;
    for (let message = this.#waiting.shift(); message; message = this.#waiting.shift()) {
      if (message.data.length === 0) return this.#end(message);
      this.#check(message);
      await this.#write(message.data);
      if (message.reply) message.respond(new Uint8Array());
    }
    this.#isWriting = false;
  }

  #check({ reply, data }: Incoming): void {
    this.#count += 1;
    const [size, number] = reply.split('.').slice(-2).map(Number);
    const isNext =
      reply.startsWith(`$JS.SNAPSHOT.ACK.${this.#stream}.`) && size === data.length && number === this.#count;
    if (this.#isLast || (reply !== '' && !isNext)) throw this.#broken(`chunk ${this.#count} is not from the server`);
    this.#isLast = reply === '';
  }

  #end({ headers }: Incoming): void {
    const code = headers?.code ?? 0;
    if (!END_OF_SNAPSHOT.includes(code)) this.#onEnd(this.#broken(`${code} ${headers?.description}`));
    else if (this.#count === 0) this.#onEnd(this.#broken('it is empty'));
    else this.#onEnd();
  }

  #broken(why: string): BusError {
    return new BusError('BUS_MESSAGE', `the snapshot of ${this.#stream} is not usable: ${why}`);
  }
}

/**
 * Saves a stream. Calls `write` with the chunks in order, one at a time.
 * @throws what `write` throws; BusError BUS_NO_STREAM, BUS_TIMEOUT after `timeoutMs` without a chunk,
 * BUS_UNREACHABLE, BUS_PERMISSION, BUS_REFUSED
 */
export async function snapshotStream(
  bus: Bus,
  stream: string,
  write: (chunk: Uint8Array) => Promise<void>,
): Promise<SnapshotHead> {
  // A literal subject: if only a wildcard matches, the server waits two seconds before the first chunk.
  const subject = new ReplyInbox(bus.inboxPrefix).subject(randomToken());
  let settle: (error?: unknown) => void = () => undefined;
  const ended = new Promise<void>((resolve, reject) => {
    settle = (error) => (error === undefined ? resolve() : reject(error));
  });
  // It may reject before `await ended`.
  ended.catch(() => undefined);
  const late = () => settle(new BusError('BUS_TIMEOUT', `${stream}: no part of its snapshot in ${bus.timeoutMs} ms`));
  const silence = setTimeout(late, bus.timeoutMs);
  const receiver = new ChunkReceiver(
    stream,
    async (chunk) => {
      await write(chunk);
      silence.refresh();
    },
    settle,
  );
  const subscription = subscribe(bus, subject, (error, message) => {
    if (error) settle(toBusError(error, subject));
    else receiver.take(message);
  });
  const onStatus = ({ type }: { type: string }) => {
    if (type !== 'disconnected' && type !== 'closed') return;
    settle(new BusError('BUS_UNREACHABLE', `${stream}: the connection broke before the end of its snapshot`));
  };
  bus.statusListeners.add(onStatus);
  try {
    const head = await apiRequest<SnapshotHead>(bus, `$JS.API.STREAM.SNAPSHOT.${stream}`, {
      deliver_subject: subject,
      chunk_size: SNAPSHOT_CHUNK_BYTES,
      no_consumers: false,
    });
    silence.refresh();
    await ended;
    return { config: head.config, state: head.state };
  } finally {
    clearTimeout(silence);
    bus.statusListeners.delete(onStatus);
    if (!bus.nc.isClosed()) subscription.unsubscribe();
  }
}

/** @throws BusError for a refused chunk */
function accepted(subject: string, response: Incoming): void {
  if (response.data.length > 0) parseResponse(response, subject);
}

/**
 * Creates a stream from a snapshot. It exists only after the last chunk. Resolves when each of its
 * servers that is not away has it.
 * @throws what `chunks` throws; BusError BUS_EXISTS if there is such a stream, BUS_TOPOLOGY if the
 * server rejects the snapshot as damaged, and what apiRequest throws
 */
export async function restoreStream(
  bus: Bus,
  head: SnapshotHead,
  chunks: AsyncIterable<Uint8Array>,
): Promise<StreamInfo> {
  const { name } = head.config;
  const { deliver_subject: subject } = await apiRequest<{ deliver_subject: string }>(
    bus,
    `$JS.API.STREAM.RESTORE.${name}`,
    head,
    { timeoutMs: Math.max(bus.timeoutMs, RESTORE_BEGIN_MS) },
  );
  const inFlight: Promise<Incoming>[] = [];
  const oldest = async () => accepted(subject, (await inFlight.shift()) as Incoming);
  let isExpected = false;
  for await (const chunk of chunks) {
    if (!isExpected) {
      accepted(subject, await sendFirst(bus, subject, chunk));
      isExpected = true;
      continue;
    }
    const sent = request(bus, subject, chunk);
    // An earlier chunk may fail before this one is awaited.
    sent.catch(() => undefined);
    inFlight.push(sent);
    if (inFlight.length >= RESTORE_WINDOW) await oldest();
  }
  while (inFlight.length > 0) await oldest();
  const end = await request(bus, subject, new Uint8Array(), { timeoutMs: RESTORE_END_MS });
  parseResponse(end, `${name}: the server cannot restore it`);
  return replicated(bus, name);
}

/**
 * In a cluster, the server of this connection may not know yet that another one expects the chunks. Then it
 * responds that none does, and the chunk reached none.
 */
async function sendFirst(bus: Bus, subject: string, chunk: Uint8Array): Promise<Incoming> {
  const deadline = performance.now() + RESTORE_BEGIN_MS;
  for (;;) {
    try {
      return await request(bus, subject, chunk);
    } catch (error) {
      if ((error as BusError).code !== 'BUS_NO_STREAM' || performance.now() > deadline) throw error;
      await pause(POLL_MS);
    }
  }
}

/** Waits until all servers of the stream have it, because each of them serves readers. One that is away serves none. */
async function replicated(bus: Bus, name: string): Promise<StreamInfo> {
  const deadline = performance.now() + RESTORE_END_MS;
  for (;;) {
    const info = await acrossElection(bus, undefined, () => storedStreamInfo(bus, name));
    if ((info.cluster?.replicas ?? []).every(({ current, lag, offline }) => offline || (current && !lag))) return info;
    if (performance.now() > deadline)
      throw new BusError('BUS_TIMEOUT', `${name} is restored, but not on all of its servers`);
    await pause(POLL_MS);
  }
}
