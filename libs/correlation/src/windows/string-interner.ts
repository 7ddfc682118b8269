/**
 * Maps the vectors of violations to small numbers, so that evidence stores a number instead of a
 * string. Pure, in stream time. rule-engine.ts interns, evidence.ts stores, verdict.ts reads back.
 *
 * Invariant: a number keeps its string until MEMORY_MICROS after its last use. Bounds: MAX_STRINGS
 * strings and MAX_BYTES in total, MAX_STRINGS_PER_NODE added by one node. Beyond them a string maps
 * to OTHER and `refused` counts it. Permanent strings count against no node.
 */

/** Exclusive upper bound of the numbers: evidence packs one with the index of its violation. */
export const MAX_STRINGS = 65_536;
/** Total of all strings in UTF-16 units. Typical vectors have 20 to 60. */
export const MAX_BYTES = 8 * 1024 * 1024;
/** Enough for eight policies with the maximum number of rules. */
export const MAX_STRINGS_PER_NODE = 2_048;
/** Replaces a string that exceeds a bound. */
export const OTHER = '(other)';

/** The longest timespan of a rule, whose evidence names the string, plus a margin of one hour. */
export const MEMORY_MICROS = 25 * 3_600_000_000;

interface Entry {
  text: string;
  /** Node that added the string; null: permanent. */
  node: string | null;
  usedMicros: number;
}

export class StringInterner {
  readonly #numbers = new Map<string, number>();
  readonly #entries: (Entry | null)[] = [];
  readonly #free: number[] = [];
  readonly #perNode = new Map<string, number>();
  #bytes = 0;
  /** Lookups of strings that exceeded a bound. */
  refused = 0;

  constructor(permanent: readonly string[] = []) {
    for (const text of [OTHER, ...permanent]) this.#add({ text, node: null, usedMicros: 0 });
  }

  get size(): number {
    return this.#numbers.size;
  }
  get bytes(): number {
    return this.#bytes;
  }

  /**
   * The number of a string, which is added if it is new.
   * @param node that reported the violation
   */
  numberOf(text: string, node: string, nowMicros: number): number {
    const known = this.#numbers.get(text);
    if (known !== undefined) {
      this.use(known, nowMicros);
      return known;
    }
    const ofNode = this.#perNode.get(node) ?? 0;
    const isFull = this.#numbers.size >= MAX_STRINGS || this.#bytes + text.length > MAX_BYTES;
    if (isFull || ofNode >= MAX_STRINGS_PER_NODE) {
      this.refused++;
      return 0;
    }
    this.#perNode.set(node, ofNode + 1);
    return this.#add({ text, node, usedMicros: nowMicros });
  }

  /** Extends the lifetime of a string that new evidence names. */
  use(number: number, nowMicros: number): void {
    (this.#entries[number] as Entry).usedMicros = nowMicros;
  }

  textOf(number: number): string {
    return this.#entries[number]?.text ?? OTHER;
  }

  /** Removes expired strings. */
  sweep(nowMicros: number): void {
    for (let number = 0; number < this.#entries.length; number++) {
      const entry = this.#entries[number] as Entry | null;
      if (entry === null || entry.node === null || entry.usedMicros >= nowMicros - MEMORY_MICROS) continue;
      this.#entries[number] = null;
      this.#numbers.delete(entry.text);
      this.#free.push(number);
      this.#bytes -= entry.text.length;
      const left = (this.#perNode.get(entry.node) ?? 0) - 1;
      if (left > 0) this.#perNode.set(entry.node, left);
      else this.#perNode.delete(entry.node);
    }
  }

  #add(entry: Entry): number {
    const number = this.#free.pop() ?? this.#entries.length;
    this.#entries[number] = entry;
    this.#numbers.set(entry.text, number);
    this.#bytes += entry.text.length;
    return number;
  }
}
