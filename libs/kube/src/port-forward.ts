/**
 * A byte stream to a port of a pod through the API server (`pods/portforward`, WebSocket), without a
 * listener on this machine.
 *
 * Each message begins with its channel: 0 for data, 1 for the kubelet's errors. The first message of
 * a channel has the port's number. Both directions have backpressure.
 */
import type { IncomingMessage } from 'node:http';
import { Duplex } from 'node:stream';
import { onAbort } from '@bailiff/service/retry';
import { WebSocket } from 'ws';
import type { Credentials } from './credentials.ts';
import { KubeError } from './errors.ts';
import { type Answer, readAll } from './http.ts';

/** The kubelet's and the container runtimes' name of this framing. */
const PROTOCOL = 'v4.channel.k8s.io';
const DATA = 0;
const PORT_BYTES = 2;
const MAX_REFUSAL_BYTES = 64 * 1024;

export interface ForwardOptions {
  namespace: string;
  pod: string;
  port: number;
  /** Until the API server has accepted the stream. */
  timeoutMs: number;
  signal?: AbortSignal | undefined;
}

class ForwardedPort extends Duplex {
  readonly #socket: WebSocket;
  /** Channels whose first message has arrived, one bit each. */
  #begun = 0;
  readonly #what: string;

  constructor(socket: WebSocket, what: string) {
    super();
    this.#socket = socket;
    this.#what = what;
    socket.on('message', (message) => this.#take(message[0] ?? DATA, message.subarray(1)));
    socket.on('error', (cause) => this.destroy(unreachable(what, cause)));
    socket.on('close', () => this.push(null));
  }

  #take(channel: number, message: Buffer): void {
    const bit = 1 << channel;
    const body = this.#begun & bit ? message : message.subarray(PORT_BYTES);
    this.#begun |= bit;
    if (body.length === 0) return;
    if (channel !== DATA) this.destroy(unreachable(this.#what, new Error(body.toString('utf8').trim())));
    else if (!this.push(body)) this.#socket.pause();
  }

  override _read(): void {
    this.#socket.resume();
  }

  override _write(chunk: Buffer, _encoding: string, done: (error?: Error | null) => void): void {
    this.#socket.send(Buffer.concat([Buffer.of(DATA), chunk]), done);
  }

  override _final(done: () => void): void {
    this.#socket.close();
    done();
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    this.#socket.terminate();
    done(error);
  }
}

const unreachable = (what: string, cause: Error) =>
  new KubeError('KUBE_UNREACHABLE', `${what}: ${cause.message}`, {}, { cause });

/**
 * @param onRefused the error of a response that is not an upgrade. @throws KubeError
 * KUBE_UNREACHABLE | KUBE_ABORTED, and those of `onRefused`
 */
export function forwardPort(
  { server, agent, headers }: Credentials,
  target: string,
  what: string,
  { timeoutMs, signal }: Pick<ForwardOptions, 'timeoutMs' | 'signal'>,
  onRefused: (answer: Answer) => Error,
): Promise<Duplex> {
  const address = `wss://${server.host}${server.pathname === '/' ? '' : server.pathname}${target}`;
  const options = { perMessageDeflate: false, followRedirects: false } as const;
  return new Promise((resolve, reject) => {
    if (signal?.aborted) throw new KubeError('KUBE_ABORTED', `${what}: aborted`);
    const socket = new WebSocket(address, [PROTOCOL], { agent, headers, ...options });
    const fail = (error: Error) => {
      forget();
      reject(error);
      socket.terminate();
    };
    // Of the whole handshake: the timeout of `ws` begins again with each byte.
    const late = () => fail(new KubeError('KUBE_TIMEOUT', `${what}: no response within ${timeoutMs} ms`));
    const timer = setTimeout(late, timeoutMs);
    const stay = onAbort(signal, () => fail(new KubeError('KUBE_ABORTED', `${what}: aborted`)));
    const forget = () => {
      clearTimeout(timer);
      stay();
    };
    socket.on('error', (cause) => fail(unreachable(what, cause)));
    socket.on('unexpected-response', (_, response) => {
      refusalIn(response).then((answer) => fail(onRefused(answer)), fail);
    });
    // Messages may follow in the same packet, so the stream exists before they are read.
    const stream = new ForwardedPort(socket, what);
    stream.on('error', fail);
    socket.on('open', () => {
      forget();
      stream.off('error', fail);
      resolve(stream);
    });
  });
}

async function refusalIn(response: IncomingMessage): Promise<Answer> {
  const { statusCode: status = 0, headers } = response;
  return { status, headers, body: await readAll(response, MAX_REFUSAL_BYTES) };
}
