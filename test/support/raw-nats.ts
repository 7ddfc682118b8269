/**
 * Speaks the NATS protocol by hand over TCP or TLS, for messages that a client library refuses to
 * send: arbitrary header bytes, header lengths, sizes and subjects.
 *
 * `await using raw = await RawNats.connect(...)`. Responses and deliveries are kept as bytes.
 */
import { once } from 'node:events';
import { connect as connectTcp, type Socket } from 'node:net';
import { type ConnectionOptions, connect as connectTls } from 'node:tls';
import { inboxPrefixOf } from '@bailiff/bus';

export interface RawOptions {
  port: number;
  host?: string;
  /** User and password, or a token. */
  user?: string;
  password?: string;
  token?: string;
  tls?: ConnectionOptions;
}

export interface RawMessage {
  subject: string;
  reply?: string;
  /** Header block with its terminator, exactly as sent. */
  header?: Uint8Array | string;
  /** Header length in the control line. Default: length of `header`. */
  headerLength?: number;
  body?: Uint8Array | string;
}

const CRLF = Buffer.from('\r\n');
const REPLY_MS = 10_000;
const bytesOf = (value: Uint8Array | string = '') =>
  typeof value === 'string' ? Buffer.from(value, 'latin1') : Buffer.from(value);

/** Header block of names and values. */
export const headerBlock = (...lines: string[]): Buffer =>
  Buffer.from(`NATS/1.0\r\n${lines.map((line) => `${line}\r\n`).join('')}\r\n`, 'latin1');

/** The bytes of HPUB (with a header) or PUB. */
export function publishBytes({ subject, reply = '', header, headerLength, body }: RawMessage): Buffer {
  const content = bytesOf(body);
  const target = reply === '' ? subject : `${subject} ${reply}`;
  if (header === undefined && headerLength === undefined) {
    return Buffer.concat([Buffer.from(`PUB ${target} ${content.length}\r\n`, 'latin1'), content, CRLF]);
  }
  const head = bytesOf(header);
  const line = `HPUB ${target} ${headerLength ?? head.length} ${head.length + content.length}\r\n`;
  return Buffer.concat([Buffer.from(line, 'latin1'), head, content, CRLF]);
}

export class RawNats implements AsyncDisposable {
  readonly #socket: Socket;
  readonly #inbox: string;
  #received = '';
  #end: string | null = null;
  #wake: () => void = () => undefined;

  private constructor(socket: Socket, inbox: string) {
    this.#socket = socket;
    this.#inbox = inbox;
    socket.on('data', (chunk: Buffer) => {
      this.#received += chunk.toString('latin1');
      this.#wake();
    });
    const onEnd = (why: string) => {
      this.#end ??= why;
      this.#wake();
    };
    socket.on('error', (error) => onEnd(error.message));
    socket.on('close', () => onEnd('closed'));
  }

  /** Connects and logs in. @throws Error with the server's response */
  static async connect({ port, host = '127.0.0.1', user = '', password, token, tls }: RawOptions): Promise<RawNats> {
    const inbox = `${inboxPrefixOf(user)}.raw`;
    const plain = connectTcp(port, host);
    await once(plain, 'connect');
    let raw = new RawNats(plain, inbox);
    await raw.#until('INFO ', 0);
    if (tls) {
      plain.removeAllListeners('data');
      const secured = connectTls({ socket: plain, ...tls });
      await once(secured, 'secureConnect');
      raw = new RawNats(secured, inbox);
    }
    const login = token === undefined ? { user, pass: password } : { auth_token: token };
    raw.write(`CONNECT ${JSON.stringify({ verbose: false, headers: true, no_responders: true, ...login })}\r\n`);
    raw.write(`SUB ${inbox} 1\r\n`);
    await raw.flush();
    return raw;
  }

  /** Everything that the server sent, as Latin-1. */
  get received(): string {
    return this.#received;
  }

  write(bytes: Uint8Array | string): void {
    this.#socket.write(bytes);
  }

  publish(message: RawMessage): void {
    this.write(publishBytes(message));
  }

  /** Resolves when the server has processed everything sent before. @throws Error if it disconnects */
  async flush(): Promise<void> {
    const from = this.#received.length;
    this.write('PING\r\n');
    await this.#until('PONG\r\n', from);
  }

  /** Stores a message. @returns its sequence @throws Error with the server's refusal */
  async store(message: Omit<RawMessage, 'reply'>): Promise<number> {
    const from = this.#received.length;
    this.publish({ ...message, reply: this.#inbox });
    await this.#until('}\r\n', from);
    const response = this.#received.slice(from);
    const sequence = Number(/"seq": ?(\d+)/.exec(response)?.[1] ?? 0);
    if (sequence === 0) throw new Error(response);
    return sequence;
  }

  /**
   * Responds to each request on a subject, until the connection ends. For a second subscription use
   * another connection.
   */
  async respond(subject: string, response: () => Omit<RawMessage, 'subject' | 'reply'>): Promise<void> {
    this.write(`SUB ${subject} 2\r\n`);
    await this.flush();
    let from = this.#received.length;
    const onRequest = () => {
      // Across accounts the server adds a header.
      const request = new RegExp(`\\r\\nH?MSG ${subject} 2 (\\S+) [\\d ]+\\r\\n`, 'g');
      request.lastIndex = from - 2;
      for (let found = request.exec(this.#received); found; found = request.exec(this.#received)) {
        from = request.lastIndex;
        this.publish({ subject: found[1] as string, ...response() });
      }
    };
    this.#socket.on('data', onRequest);
  }

  async #until(text: string, from: number): Promise<void> {
    const endMs = performance.now() + REPLY_MS;
    while (!this.#received.includes(text, from)) {
      const leftMs = endMs - performance.now();
      const sent = this.#received.slice(from, from + 500);
      if (this.#end !== null) throw new Error(`the server ended the connection (${this.#end}): ${sent}`);
      if (leftMs <= 0) throw new Error(`no ${JSON.stringify(text)} within ${REPLY_MS} ms: ${sent}`);
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, leftMs);
        this.#wake = () => {
          clearTimeout(timer);
          resolve();
        };
      });
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#end !== null) return;
    this.#socket.destroy();
    await once(this.#socket, 'close');
  }
}
