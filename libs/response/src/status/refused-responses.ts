/**
 * Verdicts for which nothing was done, because a guard refused the last removal or quarantine of each
 * policy. They count as answered, and their pods go on. Pure.
 */
import { DISRUPTIVE_ACTIONS } from '@bailiff/policy';
import type { Response } from '@bailiff/schemas';
import { HOST_NETWORK } from '../planning/plan.ts';

/** Older ones are history: `bailiff responses` lists them. */
export const REFUSED_WITHIN_MS = 3_600_000;
/** A quarantine replaces a refused removal within less. */
const REPLACED_WITHIN_MS = 30_000;

/**
 * Refusals that no administrator asked for, and after which the pod may still be there. A tenant can
 * cause all of them.
 */
const UNWANTED: ReadonlySet<string> = new Set([
  ...[HOST_NETWORK, 'budget-exhausted', 'backlog-full', 'stale-verdict', 'node-mismatch'],
]);

export interface RefusedResponses {
  reasonCode: string;
  /** Verdicts. */
  count: number;
  /** Of the newest one. */
  reason: string;
}

type Last = Pick<Response, 'reasonCode' | 'reason'> & { atMicros: number };

/** Collects records in the order of the stream. Bound: the number of verdicts that are read. */
export class RefusalCounts {
  readonly #atMicros: number;
  /** By verdict; null: something was done, or is being done. */
  readonly #last = new Map<string, Last | null>();

  /** @param atMicros bus time */
  constructor(atMicros: number) {
    this.#atMicros = atMicros;
  }

  add({ verdictId, action, phase, reasonCode, reason }: Response, atMicros: number): void {
    const last = this.#last.get(verdictId);
    if (!DISRUPTIVE_ACTIONS.has(action) || last === null) return;
    // The quarantine that would follow has ended already.
    if (last?.reasonCode === HOST_NETWORK && phase === 'refused' && !UNWANTED.has(reasonCode)) return;
    this.#last.set(verdictId, phase === 'refused' ? { reasonCode, reason, atMicros } : null);
  }

  /** By reason. */
  get all(): RefusedResponses[] {
    const counts = new Map<string, RefusedResponses>();
    for (const last of this.#last.values()) {
      if (!last || !UNWANTED.has(last.reasonCode)) continue;
      const agoMs = (this.#atMicros - last.atMicros) / 1000;
      if (agoMs < REPLACED_WITHIN_MS || agoMs > REFUSED_WITHIN_MS) continue;
      const { reasonCode, reason } = last;
      counts.set(reasonCode, { reasonCode, reason, count: (counts.get(reasonCode)?.count ?? 0) + 1 });
    }
    return [...counts.values()];
  }
}
