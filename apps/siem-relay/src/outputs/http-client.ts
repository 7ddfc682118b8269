/**
 * One POST to a receiver, with the failures as DeliveryError.
 *
 * Redirects are not followed. Connections are kept, one for each client. Limits: `timeoutMs` for the
 * whole exchange, MAX_RESPONSE_BYTES of the response, MAX_SHOWN characters of it in an error.
 */
import { readFileSync } from 'node:fs';
import http from 'node:http';
import https from 'node:https';
import { escapeUnsafe } from '@bailiff/service';
import { timeLimit } from '@bailiff/service/retry';
import { checkHost, guardedLookup } from './address-guard.ts';
import { DeliveryError } from './output.ts';
import { codeOfStatus, retryAfterOf } from './retry.ts';
import { sharedLookup } from './shared-lookup.ts';

const MAX_RESPONSE_BYTES = 64 * 1024;
const MAX_SHOWN = 200;
/** Parts of a URL that are shorter are words. */
const MIN_SECRET = 8;

export interface HttpOptions {
  timeoutMs: number;
  allowPrivateAddress: boolean;
  /** Empty: the authorities of the system. Read for each connection. */
  caFile: string;
  /** Content of the Authorization header, read for each request; empty: none. */
  authorizationFile?: string;
  certFile?: string;
  keyFile?: string;
  nowMs(): number;
}

export interface HttpResponse {
  status: number;
  headers: http.IncomingHttpHeaders;
  body: Buffer;
}

interface StaleError extends Error {
  isStale?: boolean;
}

export class HttpClient {
  readonly #o: HttpOptions;
  readonly #agents = {
    'http:': new http.Agent({ keepAlive: true, maxSockets: 1 }),
    'https:': new https.Agent({ keepAlive: true, maxSockets: 1 }),
  };

  constructor(options: HttpOptions) {
    this.#o = options;
  }

  /** Resolves for a status of success. @throws DeliveryError; the signal's reason */
  async post(
    url: URL,
    headers: Readonly<Record<string, string>>,
    body: Uint8Array,
    signal: AbortSignal,
  ): Promise<HttpResponse> {
    const { timeoutMs, nowMs, authorizationFile = '' } = this.#o;
    const sent: Record<string, string> = { ...headers };
    if (authorizationFile !== '') sent['authorization'] = readSecret(authorizationFile).trim();
    using limit = timeLimit(timeoutMs, signal);
    const within = limit.signal;
    let response: HttpResponse;
    try {
      response = await this.#exchange(url, sent, body, within).catch((error: StaleError) => {
        // The receiver closed a kept connection while it was idle.
        if (error.isStale && !within.aborted) return this.#exchange(url, sent, body, within);
        throw error;
      });
    } catch (error) {
      signal.throwIfAborted();
      if (error instanceof DeliveryError) throw error;
      if (within.aborted)
        throw new DeliveryError('OUTPUT_TIMEOUT', `${url.host} did not respond within ${timeoutMs} ms`);
      const cause = error as NodeJS.ErrnoException;
      const why = cause.message || cause.code || cause.name;
      throw new DeliveryError('OUTPUT_UNREACHABLE', `cannot reach ${url.host}: ${why}`, { cause });
    }
    const code = codeOfStatus(response.status);
    if (code === null) return response;
    const retryAfterMs = retryAfterOf(response.headers['retry-after'], nowMs());
    throw new DeliveryError(code, `${url.host} responds with ${response.status}${shown(response.body, url)}`, {
      retryAfterMs,
    });
  }

  close(): void {
    for (const agent of Object.values(this.#agents)) agent.destroy();
  }

  #exchange(
    url: URL,
    headers: Readonly<Record<string, string>>,
    body: Uint8Array,
    signal: AbortSignal,
  ): Promise<HttpResponse> {
    const { allowPrivateAddress } = this.#o;
    if (!allowPrivateAddress) checkHost(url.hostname);
    const isTls = url.protocol === 'https:';
    const options: https.RequestOptions = {
      method: 'POST',
      headers: { 'content-length': String(body.length), 'user-agent': 'bailiff', ...headers },
      signal,
      agent: this.#agents[isTls ? 'https:' : 'http:'],
      lookup: allowPrivateAddress ? sharedLookup : guardedLookup,
      ...(isTls ? this.#tls() : {}),
    };
    return new Promise((resolve, reject) => {
      const request = (isTls ? https : http).request(url, options, (response) => {
        readBody(response).then((read) => {
          // Of a receiver that responds before it has read the request: the next one would wait for this connection.
          if (!request.writableFinished) request.destroy();
          resolve({ status: response.statusCode ?? 0, headers: response.headers, body: read });
        }, reject);
      });
      request.on('error', (error: StaleError) => {
        error.isStale = request.reusedSocket;
        reject(error);
      });
      // Without a listener, the end of the socket is no error of the request, and its signal has no effect any more.
      request.on('upgrade', ({ statusCode: status = 0, headers }, socket) => {
        socket.destroy();
        resolve({ status, headers, body: Buffer.alloc(0) });
      });
      request.end(body);
    });
  }

  #tls(): https.RequestOptions {
    const { caFile, certFile = '', keyFile = '' } = this.#o;
    return {
      minVersion: 'TLSv1.2',
      ...(caFile ? { ca: readSecret(caFile) } : {}),
      ...(certFile ? { cert: readSecret(certFile), key: readSecret(keyFile) } : {}),
    };
  }
}

/** What a receiver sends beyond the limit is not read. */
async function readBody(response: http.IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of response as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    if (bytes > MAX_RESPONSE_BYTES) break;
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

/** The beginning of a response, as text that is safe in a log and a terminal. */
function shown(body: Buffer, url: URL): string {
  const text = escapeUnsafe(withoutPath(body.toString('utf8').trim(), url)).slice(0, MAX_SHOWN);
  return text === '' ? '' : `: ${text}`;
}

/** Receivers such as Express and n8n repeat the path that they do not know, which can be a secret, like those of Slack. */
function withoutPath(text: string, { pathname, search, searchParams }: URL): string {
  const encoded = [...pathname.split('/'), search.slice(1)];
  const parts = [pathname, ...encoded, ...encoded.map(decodedOf), ...searchParams.values()];
  const secrets = parts.filter((part) => part.length >= MIN_SECRET).sort((a, b) => b.length - a.length);
  return secrets.reduce((left, part) => left.replaceAll(part, '…'), text);
}

function decodedOf(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

/** Content of a file with a secret. @throws DeliveryError OUTPUT_MISCONFIGURED */
export function readSecret(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch (error) {
    throw new DeliveryError('OUTPUT_MISCONFIGURED', `cannot read ${file}: ${(error as Error).message}`, {
      cause: error as Error,
    });
  }
}
