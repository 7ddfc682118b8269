/**
 * The HTTP server of a witness (C2SP tlog-witness): `POST /add-checkpoint` and `GET /<origin hash>/checkpoint`.
 *
 * A request is decided and stored in one turn of the event loop, so no other one is decided in between. Anyone may send
 * requests: the signature of the log decides. Bounds: MAX_REQUEST_BYTES a request, REQUEST_MS, and MAX_CONNECTIONS, at
 * which a new connection displaces one of the source with most of them.
 */

import { createHash } from 'node:crypto';
import { mkdirSync, readFileSync } from 'node:fs';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import path from 'node:path';
import {
  addCheckpoint,
  type Checkpoint,
  type Decision,
  MAX_REQUEST_BYTES,
  SIZE_TYPE,
  type VerifierKey,
  type Witness,
  witnessedHeadIn,
} from '@bailiff/evidence';
import { replaceFile } from '@bailiff/service';
import { ConnectionShares } from '@bailiff/service/connection-shares';
import { onSingleRequests } from '@bailiff/service/single-requests';

const MAX_CONNECTIONS = 128;
/** From the first byte of a request to its last. */
const REQUEST_MS = 10_000;
const MAX_HEADER_BYTES = 8_192;

interface WitnessOptions {
  host: string;
  port: number;
  witness: Pick<Witness, 'name' | 'key'>;
  /** Keys of logs by origin. */
  logs: ReadonlyMap<string, readonly VerifierKey[]>;
  store: WitnessStore;
  nowMs: () => number;
  onDecision: (decision: Decision) => void;
  /** A request that failed for no fault of its sender. */
  onFailed: (error: Error) => void;
}

interface WitnessServer {
  /** `http://127.0.0.1:9472` */
  origin: string;
  close(): Promise<void>;
}

const text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** The caller closes it. @throws Error EADDRINUSE, EACCES */
export async function startWitness(options: WitnessOptions): Promise<WitnessServer> {
  const server = createServer({
    maxHeaderSize: MAX_HEADER_BYTES,
    requestTimeout: REQUEST_MS,
    connectionsCheckingInterval: 1_000,
  });
  onSingleRequests(server, MAX_HEADER_BYTES);
  const shares = new ConnectionShares<Socket>({ perSource: MAX_CONNECTIONS, total: MAX_CONNECTIONS });
  server.on('connection', (socket: Socket) => {
    const { remoteAddress: source = '' } = socket;
    shares.add(source, socket)?.connection.destroy();
    socket.once('close', () => shares.remove(source, socket));
  });
  server.on('request', (request, response) => {
    respond(request, response, options).catch((error: Error) => {
      // Its sender ended it.
      if (request.destroyed && !request.complete) return;
      options.onFailed(error);
      if (response.headersSent) response.destroy();
      else send(response, 500, 'the witness cannot store or read its state\n');
    });
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen({ host: options.host, port: options.port }, resolve);
  });
  const { address, family, port } = server.address() as AddressInfo;
  return {
    origin: `http://${family === 'IPv6' ? `[${address}]` : address}:${port}`,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

function send(response: ServerResponse, status: number, body: string, type = 'text/plain; charset=utf-8'): void {
  response.writeHead(status, { 'content-type': type, 'content-length': Buffer.byteLength(body) });
  response.end(body);
}

async function respond(request: IncomingMessage, response: ServerResponse, options: WitnessOptions): Promise<void> {
  const path = (request.url ?? '').split('?')[0] ?? '';
  const hash = /^\/([0-9a-f]{64})\/checkpoint$/.exec(path)?.[1];
  if (hash !== undefined) return sendCheckpoint(hash, request, response, options);
  if (path !== '/add-checkpoint') return send(response, 404, 'no such page\n');
  if (request.method !== 'POST') return send(response, 405, 'POST only\n');
  const body = await bodyOf(request);
  if (body === null) {
    response.setHeader('connection', 'close');
    return send(response, 413, `a request has at most ${MAX_REQUEST_BYTES} bytes\n`);
  }
  const decision = decide(body, options);
  options.onDecision(decision);
  if (decision.status === 200) send(response, 200, decision.line);
  else if (decision.status === 409) send(response, 409, `${decision.size}\n`, SIZE_TYPE);
  else send(response, decision.status, `${decision.why}\n`);
}

function sendCheckpoint(
  hash: string,
  { method }: IncomingMessage,
  response: ServerResponse,
  options: WitnessOptions,
): void {
  const isKnown = [...options.logs.keys()].some((origin) => hashOf(origin) === hash);
  const note = isKnown ? options.store.note(hash) : null;
  if (method !== 'GET' && method !== 'HEAD') send(response, 405, 'GET only\n');
  else if (note === null) send(response, 404, 'no checkpoint of this log was cosigned\n');
  else send(response, 200, note);
}

/** Null: it is larger than allowed. The rest is not read. */
async function bodyOf(request: IncomingMessage): Promise<Uint8Array | null> {
  if (Number(request.headers['content-length'] ?? 0) > MAX_REQUEST_BYTES) return null;
  const parts: Buffer[] = [];
  let length = 0;
  for await (const part of request as AsyncIterable<Buffer>) {
    length += part.length;
    if (length > MAX_REQUEST_BYTES) return null;
    parts.push(part);
  }
  return Buffer.concat(parts);
}

/** Without a pause, so that the state of before is that of the decision. */
function decide(body: Uint8Array, { witness, logs, store, nowMs }: WitnessOptions): Decision {
  const logOf = (origin: string) => {
    const keys = logs.get(origin);
    return keys ? { keys, last: store.last(origin) } : null;
  };
  const decision = addCheckpoint(textOf(body), { ...witness, logOf }, Math.floor(nowMs() / 1000));
  if (decision.status === 200) store.store(decision.head.origin, decision.note);
  return decision;
}

/** Empty, which is no request, if it is not UTF-8. */
function textOf(body: Uint8Array): string {
  try {
    return text.decode(body);
  } catch {
    return '';
  }
}

export const hashOf = (origin: string): string => createHash('sha256').update(origin).digest('hex');

/**
 * What a witness remembers: for each log the newest checkpoint that it cosigned, a file each, named by the hash of the
 * origin. A file is replaced only after its content is on disk, so a kill or a power failure never makes the witness
 * forget a head that it cosigned. A file that cannot be read stops cosigning, instead of counting as none.
 */
export class WitnessStore {
  readonly #directory: string;

  /** Creates the directory. */
  constructor(directory: string) {
    mkdirSync(directory, { recursive: true, mode: 0o700 });
    this.#directory = directory;
  }

  /** The newest cosigned checkpoint as a note, by the hash of its origin; null: none. @throws errors of the file */
  note(hash: string): string | null {
    try {
      return readFileSync(path.join(this.#directory, hash), 'utf8');
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null;
      throw error;
    }
  }

  /** @throws EvidenceError EVIDENCE_FORMAT; errors of the file */
  last(origin: string): Checkpoint | null {
    const note = this.note(hashOf(origin));
    return note === null ? null : witnessedHeadIn(note);
  }

  /** On disk when it returns. @throws errors of the file */
  store(origin: string, note: string): void {
    replaceFile(path.join(this.#directory, hashOf(origin)), note, { durable: true });
  }
}
