/**
 * What was refused of VIOLATIONS before, from its dead letters: so that a claim which was refused is refused again when its frame is
 * read later, after the pod's list has changed. Pure. Read by the correlator at a start, and by a backtest.
 *
 * A dead letter's detail begins with the violations it is about, `[0,3] …`, `[]` for the whole frame. Bounded by the letters that the stream keeps,
 * each as two numbers: a frame has at most 64 violations.
 */
import type { Precedents } from './attribution.ts';

/** Violations that a dead letter is about, from its detail; null when it does not say. */
export function indexesIn(detail: string): number[] | null {
  const match = /^\[((?:\d+,)*\d+)?\] /.exec(detail);
  if (!match) return null;
  return match[1] === undefined ? [] : match[1].split(',').map(Number);
}

interface Letter {
  reason: string;
  /** Violations that it is about, a bit for each: those below 32 and those from there on; null: the whole frame. */
  about: readonly [low: number, high: number] | null;
}

function letterOf(reason: string, detail: string): Letter {
  const indexes = indexesIn(detail);
  if (!indexes?.length) return { reason, about: null };
  let [low, high] = [0, 0];
  for (const index of indexes) {
    if (index < 32) low |= 1 << index;
    else if (index < 64) high |= 1 << (index - 32);
  }
  return { reason, about: [low, high] };
}

const isAbout = ({ about }: Letter, index: number): boolean =>
  about === null || ((about[index < 32 ? 0 : 1] >>> (index % 32)) & 1) === 1;

export class PrecedentBook implements Precedents {
  readonly untilMicros: number;
  readonly #letters = new Map<number, Letter[]>();

  constructor(untilMicros: number) {
    this.untilMicros = untilMicros;
  }
  add(sequence: number, reason: string, detail: string): void {
    this.#letters.set(sequence, [...(this.#letters.get(sequence) ?? []), letterOf(reason, detail)]);
  }
  reasonOf(sequence: number, index: number): string | undefined {
    return this.#letters.get(sequence)?.find((letter) => isAbout(letter, index))?.reason;
  }
  /** Whether the frame has its letter for that reason. */
  has(sequence: number, reason: string): boolean {
    return this.#letters.get(sequence)?.some((letter) => letter.reason === reason) ?? false;
  }
  get size(): number {
    return this.#letters.size;
  }
}
