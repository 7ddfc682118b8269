/**
 * How far a long reading is: a line on stderr that is written over, only where a person sees it. Rate and time left are of the whole reading so
 * far; nothing of it goes to stdout.
 */
import type { CliIo } from './io.ts';
import { CLEAR_LINE } from './text/terminal.ts';
import { span } from './text/time.ts';

/** Fast enough to be alive, slow enough to cost nothing. */
const EVERY_MS = 250;

/** `12,400 of 80,000 frames · 15,500 a second · 4.4 s left`. Pure. */
export function progressText(done: number, total: number, elapsedMs: number, noun: string): string {
  const whole = (count: number) => Math.round(count).toLocaleString('en-US');
  const rate = elapsedMs > 0 ? (done * 1000) / elapsedMs : 0;
  const left = rate > 0 ? ` · ${span(Math.max(0, ((total - done) * 1000) / rate))} left` : '';
  return `${whole(done)} of ${whole(total)} ${noun} · ${whole(rate)} a second${left}`;
}

export class Progress {
  readonly #io: CliIo;
  readonly #noun: string;
  readonly #startMs: number;
  #nextMs: number;
  #shown = false;

  constructor(io: CliIo, noun: string) {
    this.#io = io;
    this.#noun = noun;
    this.#startMs = io.nowMs();
    this.#nextMs = this.#startMs + EVERY_MS;
  }

  at(done: number, total: number): void {
    // Asking the clock for every message would be a cost of its own.
    if (!this.#io.stderr.isTty || (done & 63) !== 0) return;
    this.#show(progressText(done, total, this.#elapsedMs(), this.#noun));
  }

  /** Of a reading that waits of its own will: the time left is told by who waits. */
  often(done: number, total: number, words: string): void {
    if (!this.#io.stderr.isTty) return;
    const whole = (count: number) => count.toLocaleString('en-US');
    this.#show(`${whole(done)} of ${whole(total)} ${this.#noun} · ${words}`);
  }

  #elapsedMs(): number {
    return this.#io.nowMs() - this.#startMs;
  }

  #show(text: string): void {
    const nowMs = this.#io.nowMs();
    if (nowMs < this.#nextMs) return;
    this.#nextMs = nowMs + EVERY_MS;
    this.#shown = true;
    this.#io.stderr.write(`${CLEAR_LINE}${text}`);
  }

  /** Takes the line away. */
  end(): void {
    if (this.#shown) this.#io.stderr.write(CLEAR_LINE);
    this.#shown = false;
  }
}
