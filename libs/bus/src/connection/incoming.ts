/**
 * A received message, and its headers read from the raw header block.
 *
 * A client that speaks the protocol by hand can store any bytes as headers, and the message stays
 * in its stream. The parser of the NATS client throws on a name that it would not send, which stops
 * the connection, and takes quadratic time for many names. So no reader lets it see a message:
 * `subscribe` is the only way to receive. One header is looked up by its name; other lines are never
 * looked at. Limits: MAX_HEADER_BYTES a block, SOURCE_BYTES for the lines that the server appends.
 */
import type { Msg, MsgHdrs, NatsConnection, Payload, Subscription, SubscriptionOptions } from '@nats-io/nats-core';
import type { MsgImpl } from '@nats-io/nats-core/internal';
import type { BusStatus } from './bus-status.ts';
import { toBusError } from './errors.ts';

/**
 * Largest header block that is read. The longest of Bailiff's own has two subjects of 4 KiB and
 * 2 KiB of text; a direct get adds a subject.
 */
export const MAX_HEADER_BYTES = 16 * 1024;
/** The server appends a stream name, a subject of at most 4 KiB, and numbers. */
const SOURCE_BYTES = 8 * 1024;

const VERSION = Buffer.from('NATS/1.0');
const LINE_END = '\r\n';
const END = Buffer.from('\r\n\r\n');
/** The first of the lines that the server appends to direct gets and pushes. */
const SOURCE = 'Nats-Stream: ';

export class HeaderBlock {
  readonly #bytes: Buffer;
  /** The lines, decoded on first use; null if the block is not readable. */
  #decoded: string | null | undefined;

  constructor(bytes: Uint8Array) {
    this.#bytes = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  /**
   * The block as it is stored: without the lines that the server appended to a direct get or a push. Undefined if
   * the message has no headers of its own.
   */
  get stored(): Uint8Array | undefined {
    const start = this.#bytes.lastIndexOf(`${LINE_END}${SOURCE}`);
    if (start < 0) return this.#bytes;
    return start === VERSION.length ? undefined : Buffer.concat([this.#bytes.subarray(0, start), END]);
  }

  /**
   * Whether headers can be looked up: the block begins with the protocol version, ends with its
   * terminator, and is within MAX_HEADER_BYTES. Lines that the server appended do not count: a message has
   * to be the same for every reader, whichever way it reads.
   */
  get isReadable(): boolean {
    return this.#lines !== null;
  }

  /** Status code of the first line; 0 if there is none. */
  get code(): number {
    return Number(/^NATS\/1\.0 +(\d{3})/.exec(this.#head)?.[1] ?? 0);
  }

  /** Text after the status code. */
  get description(): string {
    return /^NATS\/1\.0 +\d{3}([^\r\n]*)/.exec(this.#head)?.[1]?.trim() ?? '';
  }

  /** First value of a header; empty if it is absent or the block is not readable. */
  get(name: string): string {
    return this.#value(name, 'indexOf');
  }

  /** Last value of a header that the server appends; empty as in `get`. */
  last(name: string): string {
    return this.#value(name, 'lastIndexOf');
  }

  #value(name: string, find: 'indexOf' | 'lastIndexOf'): string {
    const line = `${LINE_END}${name}:`;
    const start = this.#lines?.[find](line) ?? -1;
    if (this.#lines === null || start < 0) return '';
    const end = this.#lines.indexOf(LINE_END, start + line.length);
    return this.#lines.slice(start + line.length, end).trim();
  }

  has(name: string): boolean {
    return this.occurrences(name) > 0;
  }

  /** How often a name occurs, up to two. */
  occurrences(name: string): 0 | 1 | 2 {
    const line = `${LINE_END}${name}:`;
    const first = this.#lines?.indexOf(line) ?? -1;
    if (this.#lines === null || first < 0) return 0;
    return this.#lines.indexOf(line, first + line.length) < 0 ? 1 : 2;
  }

  /** All headers of a readable block, in order. For recordings and tests. */
  entries(): [name: string, value: string][] {
    const lines = this.#lines?.split(LINE_END).slice(1) ?? [];
    return lines.flatMap((line) => {
      const colon = line.indexOf(':');
      return colon < 0 ? [] : [[line.slice(0, colon), line.slice(colon + 1).trim()]];
    });
  }

  /**
   * The lines that the server appended to a direct get or a push, by name; empty without them. Read
   * from the end of the block, so that no header of the sender can replace them, and also if the
   * block is not readable.
   */
  source(): ReadonlyMap<string, string> {
    const tail = this.#bytes.subarray(Math.max(0, this.#bytes.length - SOURCE_BYTES)).toString('latin1');
    const start = tail.lastIndexOf(SOURCE);
    const found = new Map<string, string>();
    if (start < 0) return found;
    for (const line of tail.slice(start).split(LINE_END)) {
      const colon = line.indexOf(':');
      if (colon > 0) found.set(line.slice(0, colon), line.slice(colon + 1).trim());
    }
    return found;
  }

  /** Enough of the block for its first line. */
  get #head(): string {
    return this.#bytes.subarray(0, 256).toString('latin1');
  }

  get #lines(): string | null {
    if (this.#decoded === undefined) {
      const { length } = this.#bytes;
      const stored = this.stored?.length ?? 0;
      const isWhole =
        stored <= MAX_HEADER_BYTES &&
        length <= stored + SOURCE_BYTES &&
        this.#bytes.subarray(0, VERSION.length).equals(VERSION) &&
        this.#bytes.subarray(length - END.length).equals(END);
      this.#decoded = isWhole ? this.#bytes.toString('utf8') : null;
    }
    return this.#decoded;
  }
}

/** A received message. Reading it never throws, except `json`. */
export class Incoming {
  readonly #message: MsgImpl;
  #headers: HeaderBlock | undefined;

  constructor(message: Msg) {
    // The internal class of the pinned version: its public interface has no raw header block.
    this.#message = message as MsgImpl;
  }

  get subject(): string {
    return this.#message.subject;
  }

  /** Empty without a reply subject. */
  get reply(): string {
    return this.#message.reply;
  }

  get data(): Uint8Array {
    return this.#message.data;
  }

  /** Undefined if the message has none. */
  get headers(): HeaderBlock | undefined {
    const block = this.headerBlock;
    if (block) this.#headers ??= new HeaderBlock(block);
    return this.#headers;
  }

  /** The bytes of the headers; undefined if there are none. */
  get headerBlock(): Uint8Array | undefined {
    const { hdr } = this.#message._msg;
    return hdr > 0 ? this.#message._rdata.subarray(0, hdr) : undefined;
  }

  /** @throws SyntaxError */
  json<T>(): T {
    return JSON.parse(Buffer.from(this.data).toString('utf8')) as T;
  }

  /** @param headerBlock sent as it is; default: none */
  respond(payload: Payload, headerBlock?: Uint8Array): void {
    // The client calls nothing else of a header that it sends.
    const headers = headerBlock && ({ encode: () => headerBlock } as unknown as MsgHdrs);
    this.#message.respond(payload, headers ? { headers } : {});
  }
}

/**
 * Subscribes. The callback gets a message, or the error of a refused subscription, which then no
 * longer exists. An exception of the callback becomes an error of the connection's status: thrown on,
 * it would stop the client from reading its socket, so that one message ends all subscriptions.
 */
export function subscribe(
  { nc, statusListeners }: { nc: NatsConnection; statusListeners: ReadonlySet<(status: BusStatus) => void> },
  subject: string,
  callback: (error: Error | null, message: Incoming) => void,
  options: Pick<SubscriptionOptions, 'queue' | 'max'> = {},
): Subscription {
  return nc.subscribe(subject, {
    ...options,
    callback: (error, message) => {
      try {
        callback(error, new Incoming(message));
      } catch (cause) {
        const failed = toBusError(cause, `a message on ${subject} cannot be processed`);
        for (const listener of [...statusListeners]) listener({ type: 'error', error: failed });
      }
    },
  });
}
