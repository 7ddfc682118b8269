/**
 * Numbers for strings that come again and again: the vectors by which windows name their evidence. Pure state in stream time.
 *
 * Place in the path: bench.ts interns the vector of a violation, evidence.ts keeps the number, verdict.ts reads the string back.
 * Invariants: a number stands for one string until nothing can name it any more, MEMORY_MICROS after its last use. Bounds: MAX_STRINGS strings of
 * MAX_BYTES together, of which one node may bring MAX_STRINGS_PER_NODE; what finds no room gets the number of OTHER and is counted in `refused`.
 * Strings given at the start are kept for ever and count against no node.
 */

/** Numbers are below this; a piece of evidence packs one with the index of its violation. */
export const MAX_STRINGS = 65_536;
/** Of all strings together, in UTF-16 units. Ordinary ones take 20 to 60. */
export const MAX_BYTES = 8 * 1024 * 1024;
/** Eight policies with as many rules as a policy may have. */
export const MAX_STRINGS_PER_NODE = 2_048;
/** What stands for a string that found no room. */
export const OTHER = '(other)';

/** Longest timespan of a rule, for which evidence is named, and an hour for what still counts. */
export const MEMORY_MICROS = 25 * 3_600_000_000;

interface Entry {
  text: string;
  /** Who brought it; null: it is kept for ever. */
  node: string | null;
  usedMicros: number;
}

export class Interner {
  readonly #numbers = new Map<string, number>();
  readonly #entries: (Entry | null)[] = [];
  readonly #free: number[] = [];
  readonly #perNode = new Map<string, number>();
  #bytes = 0;
  /** Strings that found no room, as often as they were asked for. */
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

  /** The number of a string. @param node whose violation has it */
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

  /** It is named by something that is remembered from now on. */
  use(number: number, nowMicros: number): void {
    (this.#entries[number] as Entry).usedMicros = nowMicros;
  }

  textOf(number: number): string {
    return this.#entries[number]?.text ?? OTHER;
  }

  /** Lets go of what nothing names any more. */
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
