/**
 * Divides what the node may publish among its sources. A correlator reads a share of bytes per node
 * and skips the rest (frame-shares.ts of @bailiff/correlation). Without this, pods that violate many
 * rules use up the share, and violations of their neighbours are skipped. Pure.
 *
 * The node has tokens that refill at a rate. A source publishes only while more tokens are left than
 * it has used, of which half is forgotten every HALF_LIFE_MS. So tokens are left for a source that was
 * quiet, and the counts of the others wait, exact, in the kernel. Bound: sources that published within
 * some minutes.
 */

/** Cost of a frame and of a violation beside their bytes, as a correlator counts them. */
export const FRAME_BYTES = 1_024;
export const VIOLATION_BYTES = 512;
/** What a node can publish at once, in seconds of its rate. */
export const BURST_SECONDS = 16;
const HALF_LIFE_MS = 30_000;
/** Less than this is forgotten. */
const NOTHING_BYTES = 1_024;

/** Violations of one source in a frame. */
export interface FramePart {
  readonly source: object;
  readonly violations: number;
}

export class SourceShares {
  readonly #bytesPerSecond: number;
  readonly #nowMs: () => number;
  readonly #used = new Map<object, number>();
  #tokens: number;
  #refilledMs: number;
  #halvedMs: number;

  constructor(bytesPerSecond: number, nowMs: () => number) {
    this.#bytesPerSecond = bytesPerSecond;
    this.#nowMs = nowMs;
    this.#tokens = bytesPerSecond * BURST_SECONDS;
    this.#refilledMs = nowMs();
    this.#halvedMs = this.#refilledMs;
  }

  has(source: object): boolean {
    this.#refill();
    return (this.#used.get(source) ?? 0) < this.#tokens;
  }

  /** @param bytes of the encoded frame */
  charge(parts: readonly FramePart[], bytes: number): void {
    const all = parts.reduce((sum, { violations }) => sum + violations, 0);
    const ofFrame = (FRAME_BYTES + bytes) / Math.max(1, all);
    for (const { source, violations } of parts) {
      const cost = violations * (ofFrame + VIOLATION_BYTES);
      this.#tokens -= cost;
      this.#used.set(source, (this.#used.get(source) ?? 0) + cost);
    }
  }

  #refill(): void {
    const nowMs = this.#nowMs();
    const refill = ((nowMs - this.#refilledMs) / 1_000) * this.#bytesPerSecond;
    this.#tokens = Math.min(this.#bytesPerSecond * BURST_SECONDS, this.#tokens + refill);
    this.#refilledMs = nowMs;
    if (nowMs - this.#halvedMs < HALF_LIFE_MS) return;
    this.#halvedMs = nowMs;
    for (const [source, used] of this.#used) {
      if (used < NOTHING_BYTES) this.#used.delete(source);
      else this.#used.set(source, used / 2);
    }
  }
}
