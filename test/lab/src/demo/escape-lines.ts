/** Protocol of the second part: lines from the virtual machine to the host. */
import type { EscapeOutcome } from './escape-summary.ts';

const MARK = '@bailiff-demo ';

/** `live` replaces the previous live line; null ends it. */
export type EscapeLine = { say: string } | { live: string | null } | { outcome: EscapeOutcome };

export function tellHost(line: EscapeLine): void {
  process.stdout.write(`${MARK}${JSON.stringify(line)}\n`);
}

/** Parses a chunked stream. Other lines are ignored. */
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
