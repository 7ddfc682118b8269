/**
 * Prior refusals: the decisions that the dead letters of VIOLATIONS document. A replayed frame is
 * refused again, although the pod lists have changed since. Pure.
 *
 * The correlator reads them at start, a backtest before it runs. Letters may be missing: DEAD_LETTERS
 * deletes its oldest when it is full, and what is refused of a node beyond its share has none.
 * A report is refused where that may be. The detail of a dead letter begins with the indexes of its
 * violations: `[0,3] …`, or `[]` for the whole frame. Bound: the letters in the stream. Each takes two
 * numbers, as a frame has at most 64 violations.
 */
import {
  LETTERS_AT_ONCE,
  LETTERS_PER_SECOND,
  REFUSAL_BYTES,
  SHARE_BURST_BYTES,
  SHARE_BYTES_PER_SECOND,
} from '../shares/frame-shares.ts';
import { NodeTokens } from '../shares/node-tokens.ts';
import type { RefusalLookup, RefusalReason, ReportPlace } from './attribution.ts';

/** Indexes of the refused violations, from the detail of a dead letter; null if it has none. */
export function indexesIn(detail: string): number[] | null {
  const match = /^\[((?:\d+,)*\d+)?\] /.exec(detail);
  if (!match) return null;
  return match[1] === undefined ? [] : match[1].split(',').map(Number);
}

/** A dead letter of VIOLATIONS. */
export interface PriorRefusal {
  node: string;
  /** Stream sequence of the frame. */
  sequence: number;
  reason: string;
  detail: string;
  /** When the bus stored the letter. */
  writtenMicros: number;
}

interface Letter {
  reason: string;
  /** Bitmap of the refused violations: below 32, and from 32 on; null = the whole frame. */
  violations: readonly [low: number, high: number] | null;
}

function letterOf(reason: string, detail: string): Letter {
  const indexes = indexesIn(detail);
  if (!indexes?.length) return { reason, violations: null };
  let [low, high] = [0, 0];
  for (const index of indexes) {
    if (index < 32) low |= 1 << index;
    else if (index < 64) high |= 1 << (index - 32);
  }
  return { reason, violations: [low, high] };
}

const includes = ({ violations }: Letter, index: number): boolean =>
  violations === null || ((violations[index < 32 ? 0 : 1] >>> (index % 32)) & 1) === 1;

/**
 * A node with as many letters may also have been beyond its share, which is used up by twice as many at once, and a
 * second (frame-shares.ts). An honest node has one in 5 s for a pod that no list names, which is
 * as many after almost four hours.
 */
export const DOUBTFUL_AT_ONCE = SHARE_BURST_BYTES / REFUSAL_BYTES / 2;
export const DOUBTFUL_PER_SECOND = SHARE_BYTES_PER_SECOND / REFUSAL_BYTES / 2;
/** Likewise in a longer time. */
export const DOUBTFUL_LETTERS = LETTERS_AT_ONCE / 2;
const MAYBE_REFUSED: RefusalReason = 'unproven-pod';

export class PriorRefusals implements RefusalLookup {
  readonly untilMicros: number;
  /** Of frames before, letters may have been deleted. */
  completeSinceMicros = 0;
  readonly #letters = new Map<number, Letter[]>();
  readonly #sudden = new NodeTokens({ burst: DOUBTFUL_AT_ONCE, perSecond: DOUBTFUL_PER_SECOND, mostDebt: 1 });
  readonly #lasting = new NodeTokens({ burst: DOUBTFUL_LETTERS, perSecond: LETTERS_PER_SECOND / 2, mostDebt: 1 });
  readonly #doubtful = new Set<string>();

  constructor(untilMicros: number) {
    this.untilMicros = untilMicros;
  }
  add({ node, sequence, reason, detail, writtenMicros }: PriorRefusal): void {
    this.#letters.set(sequence, [...(this.#letters.get(sequence) ?? []), letterOf(reason, detail)]);
    for (const tokens of [this.#sudden, this.#lasting]) {
      if (!tokens.has(node, writtenMicros)) this.#doubtful.add(node);
      tokens.charge(node, 1);
    }
  }
  /** Reason of the dead letter that covers a violation. */
  letterOf(sequence: number, index: number): string | undefined {
    return this.#letters.get(sequence)?.find((one) => includes(one, index))?.reason;
  }
  reasonOf({ node, sequence, index, timestampMicros }: ReportPlace): string | undefined {
    const letter = this.letterOf(sequence, index);
    if (letter !== undefined) return letter;
    const isDoubtful = timestampMicros < this.completeSinceMicros || this.#doubtful.has(node);
    return isDoubtful ? MAYBE_REFUSED : undefined;
  }
  /** Whether the frame has a dead letter with this reason. */
  has(sequence: number, reason: string): boolean {
    return this.#letters.get(sequence)?.some((letter) => letter.reason === reason) ?? false;
  }
  get size(): number {
    return this.#letters.size;
  }
}
