/**
 * Progress of a long read: one line on stderr that is overwritten, only on a terminal. Rate and
 * time left are averages over the whole read.
 */

import { span } from '@bailiff/response';
import type { CliIo } from './io.ts';
import { shorten } from './text/clean.ts';
import { CLEAR_LINE } from './text/terminal.ts';

/** Update interval. */
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
    // Reading the clock for every message would cost more than it is worth.
    if (!this.#io.stderr.isTty || (done & 63) !== 0) return;
    this.#show(progressText(done, total, this.#elapsedMs(), this.#noun));
  }

  /** For a paced read, whose caller supplies the remaining time. */
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
    // CLEAR_LINE clears one line, so the text must not wrap.
    this.#io.stderr.write(`${CLEAR_LINE}${shorten(text, this.#io.stderr.columns - 1)}`);
  }

  /** Clears the line. */
  end(): void {
    if (this.#shown) this.#io.stderr.write(CLEAR_LINE);
    this.#shown = false;
  }
}

/** A step that takes longer is named on a terminal. */
const NAMED_AFTER_MS = 2_000;

/** Runs a step without numbers, such as connecting. */
export async function named<T>({ stderr }: Pick<CliIo, 'stderr'>, text: string, step: () => Promise<T>): Promise<T> {
  if (!stderr.isTty) return step();
  let shown = false;
  const timer = setTimeout(() => {
    shown = true;
    stderr.write(`${CLEAR_LINE}${shorten(text, stderr.columns - 1)}`);
  }, NAMED_AFTER_MS);
  try {
    return await step();
  } finally {
    clearTimeout(timer);
    if (shown) stderr.write(CLEAR_LINE);
  }
}
