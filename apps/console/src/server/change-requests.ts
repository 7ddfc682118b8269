/**
 * Changes that visitors confirm: `POST /api/change`. A confirmation names the proposal that the visitor saw,
 * and a reason. Bound: MAX_CHANGES at a time, shared by visitors, each at most CHANGE_MS. A change that began
 * is completed, also if its page is closed.
 */
import { FairCounts } from '@bailiff/service/fair-counts';
import { timeLimit } from '@bailiff/service/retry';
import * as z from 'zod';
import type { Changes, ConsoleData } from '../data.ts';
import type { ConfirmationView, ErrorView } from '../wire.ts';
import { bodyOf, isJson, jsonIn, sendJson } from './replies.ts';
import { goneWith, hasRoom, type ServerReports, sendFailure, tooMany, type Visit } from './visit.ts';

export const MAX_CHANGES = 4;
const CHANGE_MS = 30_000;
const MAX_BODY_BYTES = 16_384;
const MAX_REASON = 512;

const confirmation: z.ZodType<ConfirmationView> = z.strictObject({
  key: z.string().min(1).max(1_024),
  set: z.array(z.string().min(1).max(1_024)).min(1).max(8),
  basis: z.string().max(256),
  reason: z
    .string()
    .trim()
    .regex(/[\p{L}\p{N}\p{P}\p{S}]/u, { error: 'a change needs a reason' })
    .max(MAX_REASON),
});

export class ChangeRequests {
  readonly #changes: Changes;
  readonly #data: ConsoleData;
  readonly #reports: ServerReports;
  /** By visitor. */
  readonly #running = new FairCounts(MAX_CHANGES);

  constructor(changes: Changes, data: ConsoleData, reports: ServerReports) {
    this.#changes = changes;
    this.#data = data;
    this.#reports = reports;
  }

  async apply(visit: Visit): Promise<void> {
    const { request, response, guest } = visit;
    if (!isJson(request)) return sendJson(response, 415, { error: 'the body must be application/json', remedy: '' });
    if (!hasRoom(this.#running, guest)) return tooMany(visit, this.#reports, 'changes run');
    this.#running.add(guest.name);
    visit.keep();
    const gone = goneWith(response);
    let isRead = false;
    try {
      const confirmed = await readConfirmation(visit);
      isRead = true;
      if ('error' in confirmed) return sendJson(response, 400, confirmed);
      const { key, set: assignments, basis, reason } = confirmed;
      const change = { key, assignments, basis, reason };
      using limit = timeLimit(CHANGE_MS);
      const view = await this.#changes.apply(change, guest, limit.signal);
      this.#reports.onChanged(guest.name, change);
      sendJson(response, 200, view);
    } catch (error) {
      // The visitor ended the request before all of it was sent.
      if (!isRead && (gone.aborted || visit.request.destroyed)) return;
      sendFailure(visit, error, this.#data, this.#reports);
    } finally {
      this.#running.remove(guest.name);
    }
  }
}

async function readConfirmation({ request }: Visit): Promise<ConfirmationView | ErrorView> {
  const text = await bodyOf(request, MAX_BODY_BYTES);
  const read = confirmation.safeParse(jsonIn(text ?? ''));
  if (read.success) return read.data;
  const [first] = read.error.issues;
  return { error: `the change cannot be read: ${first?.path.join('.')}: ${first?.message}`, remedy: '' };
}
