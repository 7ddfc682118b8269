/**
 * Tokens of each node, which refill at a rate. Pure. Bound: nodes with all their tokens are forgotten
 * by `sweep`, so at most the nodes that used some within the time of a refill.
 */
import { isSetBack } from '@bailiff/policy';

export interface TokenLimits {
  /** Of a node that was quiet. */
  burst: number;
  perSecond: number;
  /** Bound of what a node can owe. */
  mostDebt: number;
}

/**
 * Whether a time of the bus is before the newest one because the clock of another leader is behind. Otherwise one was
 * ahead, and time goes on from its own.
 */
export const isOfOtherLeader = (elapsedMicros: number): boolean => elapsedMicros < 0 && !isSetBack(elapsedMicros, 0);

interface Bucket {
  tokens: number;
  refilledMicros: number;
}

export class NodeTokens {
  readonly #limits: TokenLimits;
  readonly #nodes = new Map<string, Bucket>();

  constructor(limits: TokenLimits) {
    this.#limits = limits;
  }

  /** Whether the node has tokens left at a time. `charge` what it uses. */
  has(node: string, nowMicros: number): boolean {
    let bucket = this.#nodes.get(node);
    if (!bucket) {
      bucket = { tokens: this.#limits.burst, refilledMicros: nowMicros };
      this.#nodes.set(node, bucket);
    }
    this.#refill(bucket, nowMicros);
    return bucket.tokens > 0;
  }

  charge(node: string, cost: number): void {
    const bucket = this.#nodes.get(node);
    if (bucket) bucket.tokens = Math.max(-this.#limits.mostDebt, bucket.tokens - cost);
  }

  sweep(nowMicros: number): void {
    for (const [node, bucket] of this.#nodes) {
      this.#refill(bucket, nowMicros);
      if (bucket.tokens >= this.#limits.burst) this.#nodes.delete(node);
    }
  }

  #refill(bucket: Bucket, nowMicros: number): void {
    const { burst, perSecond } = this.#limits;
    const elapsed = nowMicros - bucket.refilledMicros;
    if (isOfOtherLeader(elapsed)) return;
    bucket.tokens = Math.min(burst, bucket.tokens + (Math.max(0, elapsed) / 1e6) * perSecond);
    bucket.refilledMicros = nowMicros;
  }
}
