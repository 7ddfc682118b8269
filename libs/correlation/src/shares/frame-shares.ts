/**
 * Share of each node in the processing of VIOLATIONS: messages beyond it are skipped before they are
 * decoded. Pure. Data path: frame-consumer.ts → here → decoder → engine.
 *
 * A node has tokens for bytes, which refill at a rate. A message that is refused costs more, because
 * it also becomes a dead letter, and letters have tokens of their own: beyond them a refusal has no
 * letter, so that those of the node do not replace those of others. Skipped frames change no count:
 * a later frame of the node has the cumulative values. Time is that of the bus, so that replicas,
 * replays and backtests skip the same frames, except in the first burst after their start.
 *
 * A pod that no list names causes refusals of an honest node, without an end: the other pods of the node
 * are judged all the same. So these cost no bytes, and have as many letters at once and a second as the
 * bytes allow of the other refusals.
 */
import { NodeTokens } from './node-tokens.ts';

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
/** Cost of a dead letter, for the time of writing it: 128 at once, then eight a second. */
export const REFUSAL_BYTES = 128 * 1024;

/**
 * Dead letters of a node at once, and a second: at most 12,736 a day, a quarter of DEAD_LETTERS. A
 * collector publishes a frame in 5 s, and none of them becomes one unless the pod lists are late.
 */
export const LETTERS_AT_ONCE = 4_096;
export const LETTERS_PER_SECOND = 0.1;
/** A letter that has a part of a token. */
const MOST_LETTERS_OWED = 1;

export class FrameShares {
  readonly #bytes = new NodeTokens({
    burst: SHARE_BURST_BYTES,
    perSecond: SHARE_BYTES_PER_SECOND,
    mostDebt: SHARE_BURST_BYTES,
  });
  readonly #letters: NodeTokens;
  readonly #unproven = new NodeTokens({
    burst: SHARE_BURST_BYTES / REFUSAL_BYTES,
    perSecond: SHARE_BYTES_PER_SECOND / REFUSAL_BYTES,
    mostDebt: MOST_LETTERS_OWED,
  });
  /** Of the newest message. */
  #nowMicros = 0;

  /** @param lettersAtOnce for tests */
  constructor(lettersAtOnce = LETTERS_AT_ONCE) {
    this.#letters = new NodeTokens({
      burst: lettersAtOnce,
      perSecond: LETTERS_PER_SECOND,
      mostDebt: MOST_LETTERS_OWED,
    });
  }

  /** Takes the cost of a message. False, without a cost: the node has used up its share. */
  take(node: string, timestampMicros: number, bytes: number): boolean {
    this.#nowMicros = timestampMicros;
    if (!this.#bytes.has(node, timestampMicros)) return false;
    this.#bytes.charge(node, bytes + MESSAGE_BYTES);
    return true;
  }

  /** Takes a cost that is known later. The debt of a node is at most a burst. */
  charge(node: string, bytes: number): void {
    this.#bytes.charge(node, bytes);
  }

  /**
   * A message, or a part of it, is refused.
   * @param isUnproven for a pod that no list names
   * @returns whether it has a dead letter
   */
  refuse(node: string, isUnproven = false): boolean {
    const hasLetter =
      this.#letters.has(node, this.#nowMicros) && (!isUnproven || this.#unproven.has(node, this.#nowMicros));
    if (hasLetter) this.#letters.charge(node, 1);
    if (hasLetter && isUnproven) this.#unproven.charge(node, 1);
    if (!isUnproven) this.#bytes.charge(node, REFUSAL_BYTES);
    return hasLetter;
  }

  sweep(nowMicros: number): void {
    this.#bytes.sweep(nowMicros);
    this.#letters.sweep(nowMicros);
    this.#unproven.sweep(nowMicros);
  }
}
