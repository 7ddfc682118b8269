/**
 * Which request is answered by what: the pages and their files for every request; `POST /api/session`
 * exchanges a one-time token; the other `/api/` paths are for those whom the door admits, within their
 * scope. Only `POST /api/change` changes something, with the rights of the visitor.
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import { type Door, type Guest, Refused } from '../access/door.ts';
import type { DoorView, ErrorView } from '../wire.ts';
import type { ChangeRequests } from './change-requests.ts';
import { KEY_HEADER, LinkDoor } from './link-door.ts';
import type { OpenPages } from './open-pages.ts';
import { DOCUMENT, PAGES, type PageFiles, typeOf } from './page.ts';
import type { Readings } from './readings.ts';
import { bodyOf, send, sendJson, sendTo } from './replies.ts';
import { isOfOtherRun, type Refusal, refusalOf } from './request-check.ts';
import type { Trials } from './trials.ts';
import type { ServerReports } from './visit.ts';

const MAX_TOKEN_BYTES = 1_024;
const MAX_QUERY_LENGTH = 512;

const REFUSALS: Readonly<Record<Refusal, [403 | 405 | 421, string]>> = {
  host: [421, 'this console answers only at its own address'],
  origin: [403, 'this request is from another page'],
  method: [405, 'this method is not allowed'],
};

const NEEDS_ALL: ErrorView = {
  error: 'this is about all namespaces, and you may see some of them',
  remedy: 'ask someone who may see all namespaces',
};
/** What has no namespace. */
const OF_ALL: readonly string[] = [
  '/api/rules',
  '/api/trial',
  '/api/policy',
  '/api/simulation',
  '/api/learn',
  '/api/evidence',
  '/api/proposal',
  '/api/change',
];
/** Those with a body. */
const POSTED: readonly string[] = ['/api/simulation', '/api/change'];

export interface RouterParts {
  door: Door;
  page: PageFiles;
  pages: OpenPages;
  readings: Readings;
  trials: Trials;
  changes: ChangeRequests;
  reports: ServerReports;
  /** Keeps the connection of a request that has a place until its response is sent. */
  keep(request: IncomingMessage, response: ServerResponse): void;
}

export class Router {
  readonly #parts: RouterParts;
  /** Address in browsers; known once the listener has a port. */
  origin = '';

  constructor(parts: RouterParts) {
    this.#parts = parts;
  }

  async handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const [path, text] = splitUrl(request.url ?? '');
    const isApi = path.startsWith('/api/');
    const { method = '', headers } = request;
    const asked = { method, isApi, headers };
    const refusal = refusalOf(asked, this.origin);
    if (refusal === 'host' && PAGES.includes(path) && isOfOtherRun(asked, this.origin)) {
      return sendTo(response, `${this.origin}${path}${text === '' ? '' : `?${text}`}`);
    }
    if (refusal) return this.#refuse(response, refusal);
    if (!isApi) return this.#file(path, response);
    if (path === '/api/session') return this.#session(request, response);
    if (method !== (POSTED.includes(path) ? 'POST' : 'GET')) return this.#refuse(response, 'method');
    if (text.length > MAX_QUERY_LENGTH) return sendJson(response, 414, { error: 'the query is too long', remedy: '' });
    // Another site can send neither header. Browsers send the first one to https only.
    const { door, pages, readings, trials, changes, reports } = this.#parts;
    const hasKey = headers[KEY_HEADER] !== undefined;
    if (!hasKey && (method === 'POST' || (door.kind === 'proxy' && headers['sec-fetch-site'] === undefined))) {
      return this.#refuse(response, 'origin', `a program sends the header ${KEY_HEADER}, with any value`);
    }
    const guest = await this.#admitted(request, response);
    // Of a connection that was closed meanwhile, no event ends what is begun here.
    if (!guest || response.destroyed) return;
    const keep = () => this.#parts.keep(request, response);
    const visit = { request, response, query: new URLSearchParams(text), guest, keep };
    if (path === '/api/now') return pages.open(visit);
    if (OF_ALL.includes(path) && !guest.scope.isAll) {
      reports.onRefused(403, NEEDS_ALL.error);
      return sendJson(response, 403, NEEDS_ALL);
    }
    const work = trials.workOf(path, visit);
    if (work) return trials.run(visit, work);
    if (path === '/api/simulation') return trials.simulate(visit);
    if (path === '/api/change') return changes.apply(visit);
    await readings.read(path, visit);
  }

  /** Null: the response says why not. */
  async #admitted(request: IncomingMessage, response: ServerResponse): Promise<Guest | null> {
    try {
      return await this.#parts.door.admit(request);
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      sendJson(response, error.status, { error: error.message, remedy: error.remedy });
      return null;
    }
  }

  #file(path: string, response: ServerResponse): void {
    const name = PAGES.includes(path) ? DOCUMENT : path;
    const { page } = this.#parts;
    const content = Object.hasOwn(page, name) ? page[name] : undefined;
    if (content === undefined) send(response, 404, 'text/plain; charset=utf-8', 'not found\n');
    else send(response, 200, typeOf(name), content);
  }

  async #session(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { door } = this.#parts;
    if (request.method === 'GET') return sendJson(response, 200, { kind: door.kind } satisfies DoorView);
    if (!(door instanceof LinkDoor)) return this.#refuse(response, 'method');
    const token = await bodyOf(request, MAX_TOKEN_BYTES);
    const opened = token === null ? null : door.open(token);
    if (!opened) return sendJson(response, 401, { error: 'the link was used, or is of another console', remedy: '' });
    const name = LinkDoor.cookieName(request.socket.localPort);
    response.setHeader('set-cookie', `${name}=${opened.cookie}; HttpOnly; SameSite=Strict; Path=/api/`);
    sendJson(response, 200, { key: opened.key });
  }

  #refuse(response: ServerResponse, refusal: Refusal, remedy = ''): void {
    const [status, error] = REFUSALS[refusal];
    if (status !== 405) this.#parts.reports.onRefused(status, error);
    sendJson(response, status, { error, remedy });
  }
}

/** Path and query. */
function splitUrl(url: string): [string, string] {
  const at = url.indexOf('?');
  return at === -1 ? [url, ''] : [url.slice(0, at), url.slice(at + 1)];
}
