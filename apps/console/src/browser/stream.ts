/**
 * The view of the page Now, as the server pushes it. A stream that ends, or is silent for SILENT_MS, is opened again. A hidden page has none: a browser
 * opens six connections to a host, and the seventh page would wait for ever.
 */
import { effect, signal } from '@preact/signals';
import type { ErrorView, NowView } from '../wire.ts';
import { dataOf } from './server-events.ts';
import { ApiError, refusal, request, session } from './session.ts';

/** The server sends a comment every ten seconds. */
const SILENT_MS = 25_000;
const RETRY_MS = 1_000;
const MAX_RETRY_MS = 5_000;

export const now = signal<NowView | null>(null);
export const stream = signal<'connecting' | 'live' | 'lost'>('connecting');
/** What the console said instead of a view; null: it did not respond. */
export const trouble = signal<ErrorView | null>(null);

const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

const untilOpen = (): Promise<void> =>
  new Promise((resolve) => {
    const stop = effect(() => {
      if (session.value !== 'open') return;
      resolve();
      queueMicrotask(() => stop());
    });
  });

/** Resolves when the page is shown (`hidden` false) or hidden. */
const untilHidden = (hidden: boolean, signal?: AbortSignal): Promise<void> =>
  new Promise((resolve) => {
    const check = () => {
      if (document.hidden !== hidden) return;
      document.removeEventListener('visibilitychange', check);
      resolve();
    };
    document.addEventListener('visibilitychange', check, signal ? { signal } : {});
    check();
  });

async function readOnce(): Promise<void> {
  const silent = new AbortController();
  const over = new AbortController();
  void untilHidden(true, over.signal).then(() => silent.abort());
  let timer = setTimeout(() => silent.abort(), SILENT_MS);
  try {
    const response = await request('/api/now', silent.signal);
    for await (const views of dataOf(response)) {
      clearTimeout(timer);
      timer = setTimeout(() => silent.abort(), SILENT_MS);
      const last = views.at(-1);
      if (last === undefined) continue;
      now.value = JSON.parse(last) as NowView;
      stream.value = 'live';
    }
  } finally {
    clearTimeout(timer);
    over.abort();
  }
}

/** Reads until the page is closed. */
export async function followNow(): Promise<never> {
  let retryMs = RETRY_MS;
  for (;;) {
    await untilOpen();
    await untilHidden(false);
    try {
      await readOnce();
      retryMs = RETRY_MS;
      trouble.value = null;
    } catch (error) {
      trouble.value = error instanceof ApiError ? { error: error.message, remedy: error.remedy } : null;
      // Without a session there is nothing to repeat until there is one.
      if (error instanceof ApiError && session.value === 'none') continue;
      // What was seen with other rights does not stay.
      if (refusal.value !== null) now.value = null;
    }
    if (document.hidden) {
      stream.value = 'connecting';
      continue;
    }
    stream.value = 'lost';
    await pause(retryMs);
    retryMs = Math.min(2 * retryMs, MAX_RETRY_MS);
  }
}
