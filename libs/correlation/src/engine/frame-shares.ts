/**
 * Share of each node in the processing of VIOLATIONS: messages beyond it are skipped before they are
 * decoded. Pure. Data path: frame-consumer.ts → here → decoder → engine.
 *
 * A node has tokens for bytes, which refill at a rate. A message that is refused costs more, because
 * it also becomes a dead letter. Skipped frames change no count: a later frame of the node has the
 * cumulative values. Time is that of the bus, so that replicas, replays and backtests skip the same
 * frames, except in the first burst after their start. Bound: nodes with a full share are forgotten.
 */

/**
 * A collector that meets the bus again after an outage publishes all counters that grew: with 512
 * interfaces and 40 counters each, 320 frames of 12 kB. Ordinary is one such frame in 5 s.
 */
export const SHARE_BURST_BYTES = 16 * 1024 ** 2;
export const SHARE_BYTES_PER_SECOND = 1024 ** 2;
/** Cost of a message beside its bytes. */
export const MESSAGE_BYTES = 1_024;
/** Cost of a violation beside its bytes: its counter, its pod and its rules are looked up. */
export const VIOLATION_BYTES = 512;
/** Cost of a dead letter: 128 at once, then eight a second. */
export const REFUSAL_BYTES = 128 * 1024;

interface Share {
  tokens: number;
  refilledMicros: number;
}

export class FrameShares {
  readonly #nodes = new Map<string, Share>();

  /** Takes the cost of a message. False, without a cost: the node has used up its share. */
  take(node: string, timestampMicros: number, bytes: number): boolean {
    let share = this.#nodes.get(node);
    if (!share) {
      share = { tokens: SHARE_BURST_BYTES, refilledMicros: timestampMicros };
      this.#nodes.set(node, share);
    }
    refill(share, timestampMicros);
    if (share.tokens <= 0) return false;
    share.tokens -= bytes + MESSAGE_BYTES;
    return true;
  }

  /** Takes a cost that is known later. The debt of a node is at most a burst. */
  charge(node: string, bytes: number): void {
    const share = this.#nodes.get(node);
    if (share) share.tokens = Math.max(-SHARE_BURST_BYTES, share.tokens - bytes);
  }

  sweep(nowMicros: number): void {
    for (const [node, share] of this.#nodes) {
      refill(share, nowMicros);
      if (share.tokens >= SHARE_BURST_BYTES) this.#nodes.delete(node);
    }
  }
}

function refill(share: Share, nowMicros: number): void {
  // The clock of a new leader of the bus may be behind.
  const elapsed = Math.max(0, nowMicros - share.refilledMicros);
  share.tokens = Math.min(SHARE_BURST_BYTES, share.tokens + (elapsed / 1e6) * SHARE_BYTES_PER_SECOND);
  share.refilledMicros += elapsed;
}
