/**
 * One HTTPS exchange with limits on time and size. No retries, and no interpretation of status
 * codes (see `client.ts`). The response is returned as a whole (`exchange`) or in chunks
 * (`stream`).
 */

import type { ClientRequest, IncomingHttpHeaders, IncomingMessage } from 'node:http';
import { request as httpsRequest } from 'node:https';
import type { Credentials } from './credentials.ts';
import { KubeError } from './errors.ts';

export interface Exchange {
  method: string;
  /** Path with query, from the server root. */
  target: string;
  headers: Record<string, string>;
  body: string | null;
  /** `exchange`: for the whole response; `stream`: until the response headers. */
  timeoutMs: number;
  /** `exchange`: a larger response is KUBE_TOO_LARGE. Default MAX_BODY_BYTES. */
  maxBodyBytes?: number | undefined;
  signal?: AbortSignal | undefined;
}

export interface Answer {
  status: number;
  headers: IncomingHttpHeaders;
  body: Buffer;
}

/**
 * A longer body is read while no other one is. Tenants choose the size of their objects, up to 10 MiB
 * of JSON, and a service reads many at once.
 */
export const LARGE_BODY_BYTES = 1024 * 1024;

/** The largest complete list. A larger response is a server error. */
export const MAX_BODY_BYTES = 128 * 1024 * 1024;

/**
 * Sends a request and reads the whole response. @throws KubeError KUBE_UNREACHABLE | KUBE_TIMEOUT |
 * KUBE_TOO_LARGE | KUBE_ABORTED
 */
export async function exchange(credentials: Credentials, options: Exchange): Promise<Answer> {
  const link = open(credentials, options);
  try {
    const response = await link.response;
    return {
      status: response.statusCode ?? 0,
      headers: response.headers,
      body: await readAll(response, options.maxBodyBytes),
    };
  } catch (error) {
    throw link.explain(error);
  } finally {
    link.close();
  }
}

/**
 * Sends a request and passes on the chunks of the response. Resolves when the server ends it. A
 * response other than 200 is read as a whole and passed to `onRefused`, whose error is thrown. Each
 * chunk restarts the timer. @throws KubeError KUBE_INACTIVE, and those of `exchange`
 */
export async function stream(
  credentials: Credentials,
  options: Exchange & {
    inactivityMs: number;
    onChunk(chunk: Buffer): void;
    onOpen(): void;
    onRefused(answer: Answer): Error;
  },
): Promise<void> {
  const link = open(credentials, options);
  try {
    const response = await link.response;
    if (response.statusCode !== 200) {
      const body = await readAll(response);
      throw options.onRefused({ status: response.statusCode ?? 0, headers: response.headers, body });
    }
    options.onOpen();
    const inactive = () => new KubeError('KUBE_INACTIVE', `${options.target}: no data for ${options.inactivityMs} ms`);
    link.deadline(options.inactivityMs, inactive);
    for await (const chunk of response) {
      link.deadline(options.inactivityMs, inactive);
      options.onChunk(chunk as Buffer);
    }
  } catch (error) {
    throw link.explain(error);
  } finally {
    link.close();
  }
}

/** The body of a response. @throws KubeError KUBE_TOO_LARGE */
export async function readAll(response: IncomingMessage, maxBytes = MAX_BODY_BYTES): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let size = 0;
  let endTurn: (() => void) | null = null;
  try {
    for await (const chunk of response) {
      size += (chunk as Buffer).length;
      if (size > maxBytes) throw new KubeError('KUBE_TOO_LARGE', `response above ${maxBytes} bytes`);
      chunks.push(chunk as Buffer);
      if (size > LARGE_BODY_BYTES) endTurn ??= await nextTurn();
    }
    return chunks.length === 1 ? (chunks[0] as Buffer) : Buffer.concat(chunks);
  } finally {
    endTurn?.();
  }
}

let lastTurn: Promise<void> = Promise.resolve();

/** Waits for its turn among large bodies. @returns a function that ends it */
async function nextTurn(): Promise<() => void> {
  const before = lastTurn;
  let end: () => void = () => {};
  const own = new Promise<void>((resolve) => {
    end = resolve;
  });
  lastTurn = before.then(() => own);
  await before;
  return end;
}

/** A request in progress, with one deadline at a time and one error that ends it. */
function open(credentials: Credentials, options: Exchange) {
  const { server, agent, headers } = credentials;
  const what = `${options.method} ${options.target}`;
  let timer: NodeJS.Timeout | undefined;
  let reason: KubeError | null = null;
  let done = false;
  let request: ClientRequest | null = null;
  const stop = (error: KubeError) => {
    reason ??= error;
    request?.destroy(error);
  };
  const onAbort = () => stop(new KubeError('KUBE_ABORTED', `${what}: aborted`));
  const deadline = (ms: number, error: () => KubeError) => {
    clearTimeout(timer);
    timer = setTimeout(() => stop(error()), ms);
  };
  const response = new Promise<IncomingMessage>((resolve, reject) => {
    if (options.signal?.aborted) throw new KubeError('KUBE_ABORTED', `${what}: aborted`);
    request = httpsRequest(
      {
        host: server.hostname.replace(/^\[(.*)\]$/, '$1'),
        port: server.port || 443,
        path: `${server.pathname === '/' ? '' : server.pathname}${options.target}`,
        method: options.method,
        headers: { ...headers, ...options.headers },
        agent,
      },
      resolve,
    );
    // Kept after the response began, because the response stream also reports a socket error.
    request.on('error', reject);
    // Without a listener, the end of the socket is no error of the request, and its deadline has no effect any more.
    request.on('upgrade', (_, socket) => {
      socket.destroy();
      reject(new KubeError('KUBE_UNREACHABLE', `${what}: the server asks for another protocol`));
    });
    options.signal?.addEventListener('abort', onAbort, { once: true });
    request.end(options.body ?? undefined);
  });
  deadline(
    options.timeoutMs,
    () => new KubeError('KUBE_TIMEOUT', `${what}: no response within ${options.timeoutMs} ms`),
  );
  return {
    response,
    deadline,
    explain(error: unknown): Error {
      if (reason) return reason;
      if (error instanceof KubeError) return error;
      const { message, code } = error as NodeJS.ErrnoException;
      // Network errors have a code. An error without one was thrown by a callback and is a bug.
      if (typeof code !== 'string' || code === 'ERR_ASSERTION') return error as Error;
      return new KubeError('KUBE_UNREACHABLE', `${what}: ${message}`, {}, { cause: error });
    },
    close() {
      if (done) return;
      done = true;
      clearTimeout(timer);
      options.signal?.removeEventListener('abort', onAbort);
      // No effect after the response was read to its end: the socket is back in the pool.
      request?.destroy();
    },
  };
}
