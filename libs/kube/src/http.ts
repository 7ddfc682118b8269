/**
 * One HTTPS exchange, bounded in time and size. No retry, no meaning of status codes: that is `client.ts`. The answer comes
 * either whole (`exchange`) or chunk by chunk (`stream`).
 */

import type { ClientRequest, IncomingHttpHeaders, IncomingMessage } from 'node:http';
import { request as httpsRequest } from 'node:https';
import type { Credentials } from './credentials.ts';
import { KubeError } from './errors.ts';

export interface Exchange {
  method: string;
  /** Path with query, from the server's root. */
  target: string;
  headers: Record<string, string>;
  body: string | null;
  /** `exchange`: for the whole; `stream`: until the headers of the answer. */
  timeoutMs: number;
  /** `exchange`: a larger answer is KUBE_TOO_LARGE. Default MAX_BODY_BYTES. */
  maxBodyBytes?: number | undefined;
  signal?: AbortSignal | undefined;
}

export interface Answer {
  status: number;
  headers: IncomingHttpHeaders;
  body: Buffer;
}

/** A list in one piece may have it; a larger answer is an error of the server. */
export const MAX_BODY_BYTES = 128 * 1024 * 1024;

/** Sends and reads the whole answer. @throws KubeError KUBE_UNREACHABLE | KUBE_TIMEOUT | KUBE_TOO_LARGE | KUBE_ABORTED */
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
 * Sends, and gives the answer's chunks as they come. Resolves when the server ends the answer; an answer other than 200 is read
 * whole and given to `onRefused`, whose error is thrown. The timer is set anew at every chunk.
 * @throws KubeError KUBE_INACTIVE besides those of `exchange`
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
    const inactive = () =>
      new KubeError('KUBE_INACTIVE', `${options.target}: nothing came for ${options.inactivityMs} ms`);
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

async function readAll(response: IncomingMessage, maxBytes = MAX_BODY_BYTES): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of response) {
    size += (chunk as Buffer).length;
    if (size > maxBytes) throw new KubeError('KUBE_TOO_LARGE', `answer above ${maxBytes} bytes`);
    chunks.push(chunk as Buffer);
  }
  return chunks.length === 1 ? (chunks[0] as Buffer) : Buffer.concat(chunks);
}

/** A request under way, with one deadline at a time and one way of saying why it ended. */
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
  const onAbort = () => stop(new KubeError('KUBE_ABORTED', `${what}: given up`));
  const deadline = (ms: number, error: () => KubeError) => {
    clearTimeout(timer);
    timer = setTimeout(() => stop(error()), ms);
  };
  const response = new Promise<IncomingMessage>((resolve, reject) => {
    if (options.signal?.aborted) throw new KubeError('KUBE_ABORTED', `${what}: given up`);
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
    // Stays on after the answer began: a socket error then is told by the response stream as well.
    request.on('error', reject);
    options.signal?.addEventListener('abort', onAbort, { once: true });
    request.end(options.body ?? undefined);
  });
  deadline(options.timeoutMs, () => new KubeError('KUBE_TIMEOUT', `${what}: no answer within ${options.timeoutMs} ms`));
  return {
    response,
    deadline,
    explain(error: unknown): Error {
      if (reason) return reason;
      if (error instanceof KubeError) return error;
      const { message, code } = error as NodeJS.ErrnoException;
      // Whatever the network does has a code; what has none was thrown by a callback and is a bug to be told as it is.
      if (typeof code !== 'string' || code === 'ERR_ASSERTION') return error as Error;
      return new KubeError('KUBE_UNREACHABLE', `${what}: ${message}`, {}, { cause: error });
    },
    close() {
      if (done) return;
      done = true;
      clearTimeout(timer);
      options.signal?.removeEventListener('abort', onAbort);
      // Nothing happens to a request whose answer was read to its end: its socket is back in the pool.
      request?.destroy();
    },
  };
}
