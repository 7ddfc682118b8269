/**
 * Trials, simulations and proposals: what reads a range of violations again, and reports its progress. Events:
 * progress, then one result or error. Bounds: one at a time, because it takes a processor, at most TRIAL_MS. A page
 * that is closed ends its own; the next one waits until that has ended, because the bus may hold it up.
 */
import { timeLimit } from '@bailiff/service/retry';
import * as z from 'zod';
import type { Door } from '../access/door.ts';
import type { ConsoleData } from '../data.ts';
import { toJson } from '../json.ts';
import type { ErrorView, SimulationBody, TrialEvent, TrialView } from '../wire.ts';
import { beginEvents, bodyOf, finish, isJson, jsonIn, sendJson } from './replies.ts';
import { goneWith, isStill, type ServerReports, tooMany, type Visit } from './visit.ts';

const TRIAL_MS = 600_000;
/** Shortest time between two reports of progress. */
const PROGRESS_MS = 250;
/** Of a policy. */
const MAX_TEXT = 131_072;
/** With the escapes of JSON. */
const MAX_BODY_BYTES = 196_608;

const simulation: z.ZodType<SimulationBody> = z.strictObject({
  policy: z.string().min(1).max(MAX_TEXT),
  since: z.string().max(64),
});

const TOO_LARGE: ErrorView = { error: 'the policy is too large', remedy: 'here, a policy file has at most 128 KiB' };
const NO_POLICY: ErrorView = { error: 'this is no policy file and no range', remedy: TOO_LARGE.remedy };

type OnProgress = (messages: number, left: number) => void;
type Work = (onProgress: OnProgress, signal: AbortSignal) => Promise<TrialView>;

export class Trials {
  readonly #door: Door;
  readonly #data: ConsoleData;
  readonly #reports: ServerReports;
  #running: { gone: AbortSignal; ended: Promise<void> } | null = null;

  constructor(door: Door, data: ConsoleData, reports: ServerReports) {
    this.#door = door;
    this.#data = data;
    this.#reports = reports;
  }

  /** Null: no path of these. */
  workOf(path: string, { query }: Visit): Work | null {
    const text = (name: string) => query.get(name) ?? '';
    const since = text('since') || '1d';
    if (path === '/api/trial') {
      const asked = { key: text('key'), assignments: query.getAll('set'), since };
      return (onProgress, signal) => this.#data.trial({ ...asked, onProgress }, signal);
    }
    if (path !== '/api/learn') return null;
    return (onProgress, signal) => this.#data.learn({ pod: text('pod'), since, onProgress }, signal);
  }

  run(visit: Visit, work: Work): Promise<void> {
    return this.#alone(visit, (gone) => this.#report(visit, work, gone));
  }

  /** `POST /api/simulation`: a policy is too long for an address. Its body is read alone too: it is large. */
  async simulate(visit: Visit): Promise<void> {
    const { request, response } = visit;
    if (!isJson(request)) return sendJson(response, 415, { error: 'the body must be application/json', remedy: '' });
    if (Number(request.headers['content-length'] ?? 0) > MAX_BODY_BYTES) return sendJson(response, 413, TOO_LARGE);
    await this.#alone(visit, async (gone) => {
      const text = await bodyOf(request, MAX_BODY_BYTES).catch((error: unknown) => {
        // The visitor ended the request before all of it was sent.
        if (request.destroyed) return null;
        throw error;
      });
      if (gone.aborted) return;
      const read = simulation.safeParse(jsonIn(text ?? ''));
      if (!read.success) return sendJson(response, 400, NO_POLICY);
      const asked = read.data;
      await this.#report(visit, (onProgress, signal) => this.#data.simulate({ ...asked, onProgress }, signal), gone);
    });
  }

  async #alone(visit: Visit, work: (gone: AbortSignal) => Promise<void>): Promise<void> {
    const { response } = visit;
    const gone = goneWith(response);
    while (this.#running?.gone.aborted) await this.#running.ended;
    if (gone.aborted || response.destroyed) return;
    if (this.#running) return tooMany({ response }, this.#reports, 'trials run');
    visit.keep();
    const ended = work(gone).finally(() => {
      this.#running = null;
    });
    this.#running = { gone, ended: ended.catch(() => {}) };
    await ended;
  }

  async #report(visit: Visit, work: Work, gone: AbortSignal): Promise<void> {
    const { response } = visit;
    beginEvents(response);
    const write = (event: TrialEvent) => response.write(`data: ${toJson(event)}\n\n`);
    let lastMs = 0;
    const onProgress = (frames: number, left: number) => {
      const nowMs = performance.now();
      if (nowMs - lastMs < PROGRESS_MS) return;
      lastMs = nowMs;
      write({ frames, left });
    };
    try {
      using limit = timeLimit(TRIAL_MS, gone);
      const result = await work(onProgress, limit.signal);
      if (gone.aborted) return;
      if (await isStill(this.#door, visit)) write({ result });
      else write({ error: 'your rights changed meanwhile', remedy: '' });
    } catch (error) {
      if (gone.aborted) return;
      const { status, error: text, remedy } = this.#data.describe(error);
      if (status >= 500) this.#reports.onFailed(error);
      write({ error: text, remedy });
    } finally {
      finish(response);
    }
  }
}
