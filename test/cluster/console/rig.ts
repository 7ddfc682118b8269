/** What the tests of the console share: requests with chosen headers, and the comparison with a command. */
import { type ClientRequest, type IncomingHttpHeaders, type IncomingMessage, request } from 'node:http';
import { type RequestOptions, request as tlsRequest } from 'node:https';
import type { NowView } from '@bailiff/console';
import { waitFor } from '@bailiff/service/testing';
import type { Browser, BrowserContext, Page } from 'playwright-core';
import { expect } from 'vitest';
import { newPage, readText, startBrowser, type WatchedPage, watchedPage } from '../../support/browser.ts';
import type { World } from '../cli/world.ts';

export interface RunningConsole extends AsyncDisposable {
  link: string;
  origin: string;
}

/** `bailiff console` in this process. */
export async function runConsole(world: World, port = 0, flags: readonly string[] = []): Promise<RunningConsole> {
  const end = new AbortController();
  let link = '';
  const onStdout = (all: string) => {
    link = all.trim();
  };
  const run = world.cli(['console', '--port', String(port), ...flags], { signal: end.signal, onStdout });
  await Promise.race([waitFor(() => link !== '', { what: 'the link' }), run.then((ended) => Promise.reject(ended))]);
  return {
    link,
    origin: new URL(link).origin,
    [Symbol.asyncDispose]: async () => {
      end.abort();
      expect((await run).exitCode).toBe(0);
    },
  };
}

/** Schemes and widths of every page. */
export const LOOKS = [
  ['light', 390],
  ['dark', 390],
  ['light', 1280],
  ['dark', 1280],
] as const;

/** Writes what a person sees, if BAILIFF_SCREENSHOTS names a folder. */
export async function screenshot(page: Page, name: string): Promise<void> {
  const folder = process.env['BAILIFF_SCREENSHOTS'];
  if (folder) await page.screenshot({ path: `${folder}/${name}.png`, fullPage: true });
}

/** A page with a session. The caller closes its context. */
export async function openedPage(browser: Browser, running: RunningConsole): Promise<WatchedPage> {
  const watched = await newPage(browser);
  await watched.page.goto(running.link);
  await watched.page.waitForSelector('.answer h1');
  return watched;
}

export const textOf = (page: Page) => readText(page.locator('main'));

/** A console and a browser with a session of it. */
export interface OpenedConsole extends AsyncDisposable {
  running: RunningConsole;
  browser: Browser;
  /** With the session: the link of the console opens one. */
  context: BrowserContext;
  /** A page of the session, once it has a text. */
  shown(path: string, text: string): Promise<WatchedPage>;
}

export async function openConsole(world: World): Promise<OpenedConsole> {
  const browser = await startBrowser();
  const running = await runConsole(world);
  const { page } = await openedPage(browser, running);
  const context = page.context();
  await page.close();
  return {
    running,
    browser,
    context,
    shown: async (path, text) => {
      const watched = await watchedPage(context);
      await watched.page.goto(running.origin + path);
      await watched.page.getByText(text).first().waitFor();
      return watched;
    },
    [Symbol.asyncDispose]: async () => {
      await browser.close();
      await running[Symbol.asyncDispose]();
    },
  };
}

interface Asked extends Pick<RequestOptions, 'ca' | 'cert' | 'key'> {
  method?: string;
  body?: string;
  headers?: Record<string, string>;
}

/** Names below `localhost`, as browsers resolve them. */
export const lookup: RequestOptions['lookup'] = (_name, { all }, found) =>
  all ? found(null, [{ address: '127.0.0.1', family: 4 }]) : found(null, '127.0.0.1', 4);

/** Sends what the page sends with each request. */
const PAGE = { 'x-bailiff-key': '' };

function send(url: string, { body = '', headers, ...options }: Asked, onResponse: (message: IncomingMessage) => void) {
  const start = url.startsWith('https:') ? tlsRequest : request;
  const sent: ClientRequest = start(
    url,
    { ...options, headers: { ...PAGE, ...headers }, agent: false, lookup },
    onResponse,
  );
  sent.end(body);
  return sent;
}

/** A view of the page Now, or the result of a trial. */
const isEnough = (text: string): boolean =>
  text
    .split('\n\n')
    .slice(0, -1)
    .some((event) => !event.startsWith('data: {"frames"'));

/** A request of a program, which chooses every header. */
export function ask(
  origin: string,
  path: string,
  asked: Asked = {},
): Promise<{ status: number; headers: IncomingHttpHeaders; body: string }> {
  return new Promise((resolve, reject) => {
    const sent = send(`${origin}${path}`, asked, (response) => {
      let text = '';
      response.setEncoding('utf8').on('data', (chunk: string) => {
        text += chunk;
        // A stream of events has no end.
        if (response.headers['content-type'] === 'text/event-stream' && isEnough(text)) sent.destroy();
      });
      response.on('close', () => resolve({ status: response.statusCode ?? 0, headers: response.headers, body: text }));
    });
    sent.on('error', reject);
  });
}

export interface OpenStream {
  status: number;
  /** Everything that was received. */
  text(): string;
  view(): NowView | null;
  isOpen(): boolean;
  close(): void;
}

/** The events of the page Now. */
export function openStream(origin: string, headers: Record<string, string>): Promise<OpenStream> {
  return new Promise((resolve, reject) => {
    let text = '';
    let isOpen = true;
    const sent = send(`${origin}/api/now`, { headers }, (response) => {
      response.setEncoding('utf8').on('data', (chunk: string) => {
        text += chunk;
      });
      response.on('close', () => {
        isOpen = false;
      });
      const view = () => {
        const last = text
          .split('\n\n')
          .slice(0, -1)
          .filter((event) => event.startsWith('data: '))
          .at(-1);
        return last === undefined ? null : (JSON.parse(last.slice('data: '.length)) as NowView);
      };
      const status = response.statusCode ?? 0;
      resolve({ status, text: () => text, view, isOpen: () => isOpen, close: () => sent.destroy() });
    });
    // A stream that is closed while it is read.
    sent.on('error', reject);
  });
}

/** Without ages, which grow while both are read. */
const flat = (text: string) =>
  text
    .replaceAll(/\b\d+[smh]\b/g, '')
    .replaceAll(/\s+/g, ' ')
    .toLowerCase();
/** Titles of columns, and what draws a lane in a terminal. */
const IS_FRAME = /^[A-Z /()]+$|^[^\p{L}\d]*$|^logarithmic time axis$/u;

/** Cells of a command's output that a page does not have. */
export function missing(stdout: string, page: string): string[] {
  const shown = flat(page);
  const cells = stdout.split('\n').flatMap((line) =>
    line
      .replace(/^[✗!] /, '')
      .trim()
      // Times of an axis may have one space between them.
      .split(/ {2,}|(?<=\d) (?=\d\d:\d\d:\d\d)/),
  );
  return cells.filter((cell) => !IS_FRAME.test(cell) && !shown.includes(flat(cell).trim()));
}
