/**
 * What was refused of VIOLATIONS before, from its dead letters: so that a claim which was refused is refused again when its frame is
 * read later, after the pod's list has changed. Pure. Read by the correlator at a start, and by a backtest.
 *
 * A dead letter's detail begins with the violations it is about, `[0,3] …`, `[]` for the whole frame. Bounded by the letters that the stream keeps.
 */
import type { Precedents } from './foreign.ts';

/** Violations that a dead letter is about, from its detail; null when it does not say. */
export function indexesIn(detail: string): number[] | null {
  const match = /^\[((?:\d+,)*\d+)?\] /.exec(detail);
  if (!match) return null;
  return match[1] === undefined ? [] : match[1].split(',').map(Number);
}

export class PrecedentBook implements Precedents {
  readonly untilMicros: number;
  readonly #letters = new Map<number, { reason: string; indexes: number[] | null }[]>();

  constructor(untilMicros: number) {
    this.untilMicros = untilMicros;
  }
  add(sequence: number, reason: string, detail: string): void {
    const letter = { reason, indexes: indexesIn(detail) };
    this.#letters.set(sequence, [...(this.#letters.get(sequence) ?? []), letter]);
  }
  reasonOf(sequence: number, index: number): string | undefined {
    const about = ({ indexes }: { indexes: number[] | null }) => !indexes?.length || indexes.includes(index);
    return this.#letters.get(sequence)?.find(about)?.reason;
  }
  /** Whether the frame has its letter for that reason. */
  has(sequence: number, reason: string): boolean {
    return this.#letters.get(sequence)?.some((letter) => letter.reason === reason) ?? false;
  }
  get size(): number {
    return this.#letters.size;
  }
}
