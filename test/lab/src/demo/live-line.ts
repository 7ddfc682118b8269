/**
 * A changing line: rewritten in place on a terminal, otherwise a new line at intervals to keep a
 * log short.
 */
const LOG_EVERY_MS = 500;

interface Output {
  isTTY?: boolean;
  columns?: number;
  write(text: string): unknown;
}

export class LiveLine {
  #output: Output;
  #nowMs: () => number;
  #last = '';
  #shownAtMs = Number.NEGATIVE_INFINITY;

  constructor(output: Output, nowMs: () => number = () => performance.now()) {
    this.#output = output;
    this.#nowMs = nowMs;
  }

  show(text: string): void {
    if (text === this.#last) return;
    this.#last = text;
    if (this.#output.isTTY) {
      // A line wider than the terminal would scroll instead.
      this.#output.write(`\r\x1b[K  ${text.slice(0, (this.#output.columns ?? 80) - 3)}`);
    } else if (this.#nowMs() - this.#shownAtMs >= LOG_EVERY_MS) {
      this.#shownAtMs = this.#nowMs();
      this.#output.write(`  ${text}\n`);
    }
  }

  /** Keeps the last text on the terminal. */
  end(): void {
    if (this.#last === '') return;
    this.#output.write(this.#output.isTTY ? `\r\x1b[K  ${this.#last}\n` : `  ${this.#last}\n`);
  }
}
