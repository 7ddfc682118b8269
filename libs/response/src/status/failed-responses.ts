/**
 * Responses that ended as `failed`, by action: the responder gave up, so nothing was done about
 * their verdicts. Pure.
 */
import type { Response } from '@bailiff/schemas';
import { DISRUPTION_BUDGET } from '../planning/plan.ts';

/** Older failures are history: `bailiff responses` lists them. */
export const FAILED_WITHIN_MS = 3_600_000;
/**
 * Reasons that concern one pod, for example one that does not end. A tenant can cause them, and they
 * do not affect other responses.
 */
const OF_THE_POD: ReadonlySet<string> = new Set(['kube-invalid', 'not-gone', 'verdict-gone', DISRUPTION_BUDGET]);
/** No tenant chooses a node: an admission policy that refuses its cordon refuses all of them. */
const isOfThePod = (action: Response['action'], reasonCode: string): boolean =>
  OF_THE_POD.has(reasonCode) && !(action === 'cordon' && reasonCode === 'kube-invalid');

export interface FailedResponses {
  action: Response['action'];
  /** Within FAILED_WITHIN_MS. */
  count: number;
  /** Of the newest one; while the failure persists, of the newest one that is not about one pod. */
  reasonCode: string;
  reason: string;
  /** The responder itself cannot carry out this action: no later one succeeded. */
  persists: boolean;
}

/** Collects records in the order of the stream. Bound: the number of actions. */
export class FailureCounts {
  readonly #sinceMicros: number;
  readonly #failed = new Map<Response['action'], FailedResponses>();

  /** @param atMicros bus time */
  constructor(atMicros: number) {
    this.#sinceMicros = atMicros - FAILED_WITHIN_MS * 1000;
  }

  add({ action, phase, reasonCode, reason }: Response, storedMicros: number): void {
    const known = this.#failed.get(action);
    if (phase === 'succeeded' && known) known.persists = false;
    if (phase !== 'failed' || storedMicros < this.#sinceMicros) return;
    const count = (known?.count ?? 0) + 1;
    const persists = action !== 'capture' && !isOfThePod(action, reasonCode);
    // A tenant's own pod proves nothing about the others, so it does not hide their reason.
    if (known?.persists && !persists) known.count = count;
    else this.#failed.set(action, { action, count, reasonCode, reason, persists });
  }

  get all(): FailedResponses[] {
    return [...this.#failed.values()];
  }
}
