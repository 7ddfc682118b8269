/**
 * HTTP layer around the handler: tokens, faults, bodies, responses, streams and the request log.
 * Steps of a resource request: identify (401) → known resource (404, 405) → authorize (403) → fault
 * → handle → respond. Health, version and discovery are answered before that, health without a
 * token. Bodies and the unread data of a slow watcher are bounded.
 */

import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Tokens } from '../access/auth.ts';
import { answerReview } from '../access/reviews.ts';
import { forbidden, forbiddenPath, mayDo, mayGet, type TokenUser } from '../access/users.ts';
import { ApiError, badRequest, expired, methodNotAllowed, unsupportedMediaType } from '../errors.ts';
import type { Registry } from '../kinds/registry.ts';
import type { ArmedFault, Faults } from '../request/faults.ts';
import { type PlainRequest, parseRequest, type RequestInfo, type ResourceRequest } from '../request/path.ts';
import { decodeProtobuf, protobufType } from '../request/protobuf.ts';
import { describeRequest, type RequestLog } from '../request/request-log.ts';
import type { Watches } from '../store/watch.ts';
import { isObject, type KubeObject } from '../types.ts';
import { aggregatedDocument, aggregatedType, discoveryDocument, versionInfo } from './discovery.ts';
import { inOrder } from './field-order.ts';
import { type Answer, mediaType, type ResourceHandler } from './handler.ts';
import { showBookmark, showOne } from './negotiate.ts';
import { openApiDocument } from './openapi.ts';

/** A real server's limit on a request body. */
export const maxBodyBytes = 3 * 1024 * 1024;

/** Unread bytes after which a watcher is disconnected. */
export const maxWatchBacklogBytes = 16 * 1024 * 1024;

/** Public keys of tokens: they need a permission and have their own media type. */
const keysPath = '/openid/v1/jwks';
const openPaths = new Set(['/healthz', '/livez', '/readyz', '/version']);

export interface HttpParts {
  handler: ResourceHandler;
  registry: Registry;
  tokens: Tokens;
  faults: Faults;
  watches: Watches;
  log: RequestLog;
  /** Text of `pods/log`. */
  logOfPod: (request: ResourceRequest) => string;
}

/** The connection closes without a response. */
class Dropped extends Error {}

interface Exchange {
  req: IncomingMessage;
  res: ServerResponse;
  startMs: number;
  info: RequestInfo | undefined;
  user: string;
}

export class HttpLayer {
  readonly #parts: HttpParts;

  constructor(parts: HttpParts) {
    this.#parts = parts;
  }

  /** Listener for the server's 'request' event; never rejects. */
  readonly onRequest = (req: IncomingMessage, res: ServerResponse): void => {
    const exchange: Exchange = { req, res, startMs: epochMs(), info: undefined, user: '' };
    res.on('error', () => res.destroy());
    this.#serve(exchange).catch((error: unknown) => this.#fail(exchange, error));
  };

  async #serve(exchange: Exchange): Promise<void> {
    const { req } = exchange;
    exchange.info = parseRequest(req.method ?? 'GET', req.url ?? '/');
    if (exchange.info === undefined) throw methodNotAllowed();
    if (exchange.info.kind === 'plain' && openPaths.has(exchange.info.path))
      return this.#plain(exchange, exchange.info);
    const user = this.#parts.tokens.identify(req.headers.authorization);
    exchange.user = user.user;
    if (exchange.info.kind === 'plain' && exchange.info.path === keysPath) {
      if (!mayGet(user, keysPath)) throw forbiddenPath(user, keysPath);
      return this.#send(exchange, 200, this.#parts.tokens.publicKeys(), 'application/jwk-set+json');
    }
    if (exchange.info.kind === 'plain') return this.#plain(exchange, exchange.info);
    await this.#resource(exchange, exchange.info, user);
  }

  async #resource(exchange: Exchange, request: ResourceRequest, user: TokenUser): Promise<void> {
    const { handler, faults, logOfPod } = this.#parts;
    if (request.resource === 'pods' && request.subresource === 'log') {
      if (!mayDo(user, request)) throw forbidden(user, request);
      const fault = faults.take(request, user.user);
      if (fault !== undefined) await spoil(exchange, fault);
      return this.#send(exchange, 200, logOfPod(request));
    }
    const def = handler.definition(request);
    if (!mayDo(user, request)) throw forbidden(user, request);
    const body = await readJson(exchange.req);
    const fault = faults.take(request, user.user);
    if (fault !== undefined && fault.spec.when !== 'after') await spoil(exchange, fault);
    const { accept, 'content-type': contentType } = exchange.req.headers;
    const review = isObject(body) ? answerReview(def, body, user, this.#parts.tokens) : undefined;
    const answer: Answer =
      review === undefined
        ? handler.handle({ request, accept, contentType, body, user })
        : { kind: 'body', status: 201, body: review };
    if (fault?.spec.when === 'after') await spoil(exchange, fault);
    if (answer.kind === 'body') this.#send(exchange, answer.status, answer.body);
    else this.#stream(exchange, answer);
  }

  #plain(exchange: Exchange, request: PlainRequest): void {
    const answer = plainAnswer(this.#parts.registry, request.path, exchange.req.headers.accept ?? '');
    this.#send(exchange, answer.status, answer.body, answer.type);
  }

  #stream(exchange: Exchange, answer: Answer & { kind: 'watch' }): void {
    const { watches, faults } = this.#parts;
    const { res } = exchange;
    const { watch, def, face } = answer;
    if (faults.expiredWatch === 'status' && !watches.canStart(watch)) {
      throw expired(`too old resource version: ${watch.options.resourceVersion}`);
    }
    let headers = true;
    const show = (type: string, object: object) => {
      if (type === 'ERROR') return object;
      if (type === 'BOOKMARK') return showBookmark(def, object as KubeObject, face);
      face.context.nowMs = Date.now();
      const shown = showOne(def, object as KubeObject, face, headers);
      headers = false;
      return shown;
    };
    const sink = {
      send: (type: string, object: object) => {
        res.write(`${JSON.stringify({ type, object: inOrder(show(type, object)) })}\n`);
        return res.writableLength <= maxWatchBacklogBytes;
      },
      end: () => res.end(),
      destroy: () => res.destroy(),
    };
    res.writeHead(200, { 'content-type': 'application/json', 'cache-control': 'no-cache, private' });
    res.flushHeaders();
    this.#record(exchange, 200);
    const stop = watches.start(watch, sink);
    res.on('close', stop);
  }

  #send(
    exchange: Exchange,
    status: number,
    body: object | string,
    type = 'application/json',
    headers: { [name: string]: string } = {},
  ): void {
    const { res } = exchange;
    const text = typeof body === 'string' ? body : JSON.stringify(body);
    const contentType = typeof body === 'string' ? 'text/plain; charset=utf-8' : type;
    res.writeHead(status, { 'content-type': contentType, 'content-length': Buffer.byteLength(text), ...headers });
    res.end(text);
    this.#record(exchange, status);
  }

  #fail(exchange: Exchange, error: unknown): void {
    const { res } = exchange;
    if (error instanceof Dropped || res.headersSent || res.destroyed) {
      this.#record(exchange, 0);
      res.destroy();
      return;
    }
    const known =
      error instanceof ApiError
        ? error
        : new ApiError(500, 'InternalError', `Internal error occurred: ${String(error)}`);
    const retryAfter = known.details?.retryAfterSeconds;
    const headers: { [name: string]: string } = retryAfter === undefined ? {} : { 'retry-after': String(retryAfter) };
    this.#send(exchange, known.httpStatus, known.toStatus(), 'application/json', headers);
  }

  #record(exchange: Exchange, status: number): void {
    this.#parts.log.add({
      ...describeRequest(exchange.info, exchange.req.url ?? ''),
      timeMs: exchange.startMs,
      durationMs: epochMs() - exchange.startMs,
      user: exchange.user,
      accept: exchange.req.headers.accept ?? '',
      status,
    });
  }
}

interface PlainAnswer {
  status: number;
  body: object | string;
  type?: string;
}

/** Health, version and discovery. */
function plainAnswer(registry: Registry, asked: string, accept: string): PlainAnswer {
  const path = asked.length > 1 ? asked.replace(/\/$/, '') : asked;
  if (path === '/version') return { status: 200, body: versionInfo };
  if (openPaths.has(path)) return { status: 200, body: 'ok' };
  if ((path === '/api' || path === '/apis') && accept.includes('g=apidiscovery.k8s.io;v=v2;')) {
    return { status: 200, body: aggregatedDocument(registry, path), type: aggregatedType };
  }
  const document = discoveryDocument(registry, path) ?? openApiDocument(registry, path);
  return document === undefined ? { status: 404, body: '404 page not found\n' } : { status: 200, body: document };
}

function epochMs(): number {
  return performance.timeOrigin + performance.now();
}

/** Applies a fault. A held request whose client has disconnected has no effect. */
async function spoil(exchange: Exchange, fault: ArmedFault): Promise<void> {
  const gone = new Promise<void>((resolve) => exchange.res.once('close', () => resolve()));
  await Promise.race([fault.wait(), gone]);
  if (fault.spec.drop || exchange.res.destroyed || exchange.req.socket.destroyed) throw new Dropped();
  const error = fault.error();
  if (error !== undefined) throw error;
}

/** The request's JSON body, or undefined for none. Throws 400, 413 and 415. */
async function readJson(req: IncomingMessage): Promise<unknown> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of req as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    if (bytes > maxBodyBytes) throw new ApiError(413, 'RequestEntityTooLarge', `limit is ${maxBodyBytes}`);
    chunks.push(chunk);
  }
  if (bytes === 0) return undefined;
  const type = mediaType(req.headers['content-type']);
  if (type === protobufType) return decodeProtobuf(Buffer.concat(chunks));
  const isJson = type === '' || type === '*/*' || type.endsWith('/json') || type.endsWith('+json');
  if (!isJson) throw unsupportedMediaType(type, ['application/json']);
  try {
    return JSON.parse(Buffer.concat(chunks).toString('utf8')) as unknown;
  } catch (cause) {
    throw badRequest(`the object provided is unrecognized: json parse error: ${String(cause)}`);
  }
}
