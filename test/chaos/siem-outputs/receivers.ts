/**
 * Receivers of each kind of output, with the ids and contents of what they accepted. They can be killed
 * and started again on their port. Contents are kept as hashes, so that very many events fit.
 */
import { createHash } from 'node:crypto';
import net from 'node:net';
import { gunzipSync } from 'node:zlib';
import { HttpReceiver, type Received, type Reply } from '../../cluster/http-receiver.ts';

/** What arrived, by id. */
export class Ledger {
  readonly #contents = new Map<string, string>();
  /** Ids that came again with another content. */
  readonly changed: string[] = [];
  repeated = 0;
  readonly arrivedMs = new Map<string, number>();

  add(id: string, content: string): void {
    const hash = createHash('sha256').update(content).digest('base64');
    const known = this.#contents.get(id);
    if (known === undefined) this.arrivedMs.set(id, performance.now());
    else this.repeated += 1;
    if (known !== undefined && known !== hash) this.changed.push(id);
    this.#contents.set(id, hash);
  }
  get size(): number {
    return this.#contents.size;
  }
  ids(): Iterable<string> {
    return this.#contents.keys();
  }
  has(id: string): boolean {
    return this.#contents.has(id);
  }
}

export interface Receiver extends AsyncDisposable {
  readonly ledger: Ledger;
  start(): Promise<unknown>;
  kill(): Promise<void>;
}

/** Octet-counting syslog; a kill resets its connections with what is unread. */
export class SyslogReceiver implements Receiver {
  readonly ledger = new Ledger();
  readonly #sockets = new Set<net.Socket>();
  #server: net.Server | null = null;
  port = 0;

  async start(): Promise<this> {
    const server = net.createServer((socket) => {
      this.#sockets.add(socket);
      let buffer = '';
      socket.on('error', () => undefined).on('close', () => this.#sockets.delete(socket));
      socket.on('data', (chunk) => {
        buffer += chunk.toString('latin1');
        let at = 0;
        for (;;) {
          const space = buffer.indexOf(' ', at);
          const end = space + 1 + Number(buffer.slice(at, space));
          if (space < 0 || buffer.length < end) break;
          const text = buffer.slice(buffer.indexOf('CEF:', space), end);
          this.ledger.add(/externalId=(\S+)/.exec(text)?.[1] ?? '', text);
          at = end;
        }
        buffer = buffer.slice(at);
      });
    });
    await new Promise<void>((resolve) => server.listen(this.port, '127.0.0.1', resolve));
    this.port = (server.address() as net.AddressInfo).port;
    this.#server = server;
    return this;
  }
  async kill(): Promise<void> {
    const server = this.#server;
    this.#server = null;
    const closed = new Promise((resolve) => (server ? server.close(resolve) : resolve(null)));
    for (const socket of this.#sockets) socket.resetAndDestroy();
    await closed;
  }
  [Symbol.asyncDispose](): Promise<void> {
    return this.kill();
  }
}

/** Ids and contents of a request. */
type Parse = (request: Received) => (readonly [id: string, content: string])[];

export class HttpLedger implements Receiver {
  readonly ledger = new Ledger();
  readonly http = new HttpReceiver();
  readonly #parse: Parse;
  #requests = 0;

  /** @param reply by number of the request */
  constructor(parse: Parse, reply: (index: number) => Reply = () => ({ status: 200 })) {
    this.#parse = parse;
    this.http.reply = () => reply(this.#requests++);
    this.http.onAccepted = (request) => {
      for (const [id, content] of this.#parse(request)) this.ledger.add(id, content);
      // Very many requests do not fit into memory.
      this.http.requests.length = 0;
      this.http.accepted.length = 0;
    };
  }

  start(): Promise<unknown> {
    return this.http.start();
  }
  kill(): Promise<void> {
    return this.http.kill();
  }
  [Symbol.asyncDispose](): Promise<void> {
    return this.kill();
  }
}

/** 429 with a pause, 500, slow and good replies in turn: each fault once in `every` requests. */
export const faulty =
  (every: number) =>
  (index: number): Reply => {
    if (index % every === 2) return { status: 429, headers: { 'retry-after': '1' } };
    if (index % every === 5) return { status: 500 };
    if (index % every === 6) return { status: 503 };
    const after = index % every === 8 ? new Promise((resolve) => setTimeout(resolve, 150)) : Promise.resolve();
    return { status: 200, after };
  };

export const webhookIds: Parse = ({ headers, body }) => [[String(headers['webhook-id']), body.toString('utf8')]];

export const falcoIds: Parse = ({ body }) => {
  const text = body.toString('utf8');
  return [[(JSON.parse(text) as { output_fields: Record<string, string> }).output_fields['bailiff.uid'] ?? '', text]];
};

interface LogRecord {
  attributes: { key: string; value: { stringValue: string } }[];
}
export const otlpIds: Parse = ({ body }) => {
  const { resourceLogs } = JSON.parse(gunzipSync(body).toString('utf8')) as {
    resourceLogs: { scopeLogs: { logRecords: LogRecord[] }[] }[];
  };
  const records = resourceLogs.flatMap(({ scopeLogs }) => scopeLogs.flatMap(({ logRecords }) => logRecords));
  const uidOf = ({ attributes }: LogRecord) =>
    attributes.find(({ key }) => key === 'log.record.uid')?.value.stringValue;
  return records.map((record) => [uidOf(record) ?? '', JSON.stringify(record)]);
};

/** Alerts have no uid: their labels name the pod. */
export const alertIds: Parse = ({ body }) =>
  (JSON.parse(body.toString('utf8')) as { labels: Record<string, string> }[]).map(({ labels }) => [
    labels['pod'] ?? '',
    JSON.stringify(labels),
  ]);
