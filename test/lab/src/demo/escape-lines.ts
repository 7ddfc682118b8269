/** The lines in which the second act inside the virtual machine tells the host how it goes. */
import type { EscapeOutcome } from './escape-summary.ts';

const MARK = '@bailiff-demo ';

/** `live` replaces the live line before it; null ends it. */
export type EscapeLine = { say: string } | { live: string | null } | { outcome: EscapeOutcome };

export function tellHost(line: EscapeLine): void {
  process.stdout.write(`${MARK}${JSON.stringify(line)}\n`);
}

/** Reads a stream that comes in pieces. Lines that are nobody's are left out. */
export class EscapeReader {
  #rest = '';
  readonly #onLine: (line: EscapeLine) => void;
  constructor(onLine: (line: EscapeLine) => void) {
    this.#onLine = onLine;
  }
  push(chunk: string): void {
    const lines = (this.#rest + chunk).split('\n');
    this.#rest = lines.pop() ?? '';
    for (const line of lines)
      if (line.startsWith(MARK)) this.#onLine(JSON.parse(line.slice(MARK.length)) as EscapeLine);
  }
}
