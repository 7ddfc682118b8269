/** Compiles groups of programs, which rules name by `fromSource`, to entries of `rt_sources`. */
import type { Source } from '../sets/set.ts';
import type { PathHasher } from './hash.ts';
import { SOURCE_CHILDREN, SOURCE_SELF } from './layout.ts';

export interface SourceEntry {
  /** Group, from 1. */
  readonly source: number;
  /** Path hash. 0 is the group as a whole, which the kernel looks up for chains that were cut. */
  readonly program: bigint;
  /** SOURCE_* */
  readonly flags: number;
}

/** Groups of programs, numbered in the order of their first use. Equal lists share a number. */
export class SourceGroups {
  readonly entries: SourceEntry[] = [];
  readonly #numbers = new Map<string, number>();
  readonly #hasher: PathHasher;

  constructor(hasher: PathHasher) {
    this.#hasher = hasher;
  }

  /** 0 for any program. */
  numberOf(source: readonly Source[] | null): number {
    if (source === null) return 0;
    const programs = new Map<string, boolean>();
    for (const { path, children } of source) programs.set(path, children || programs.get(path) === true);
    const text = JSON.stringify([...programs].sort(([a], [b]) => (a < b ? -1 : 1)));
    const known = this.#numbers.get(text);
    if (known !== undefined) return known;
    const number = this.#numbers.size + 1;
    this.#numbers.set(text, number);
    let all = 0;
    for (const [path, children] of programs) {
      const flags = SOURCE_SELF | (children ? SOURCE_CHILDREN : 0);
      this.entries.push({ source: number, program: this.#hasher.path(path), flags });
      all |= flags;
    }
    this.entries.push({ source: number, program: 0n, flags: all });
    return number;
  }
}
