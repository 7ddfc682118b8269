/**
 * The events of an output that are read from SIEM and not delivered, in order. Pure.
 *
 * Limits: those of the output. The runner reads no further event while a batch is due, so they bound
 * the memory of an output however long its receiver is down.
 */
import type { BatchLimits, OutputEvent } from './output.ts';

export interface Held {
  event: OutputEvent;
  /** Life of the stream that holds the event: `lifeName`. */
  created: string;
}

export class Batch {
  readonly #limits: BatchLimits;
  #held: Held[] = [];
  #bytes = 0;
  #sinceMs = 0;
  /** Largest number of events of the next attempt: fewer after a refusal, to find the refused one. */
  #attempt = Number.POSITIVE_INFINITY;

  constructor(limits: BatchLimits) {
    this.#limits = limits;
  }

  get size(): number {
    return this.#held.length;
  }
  get oldest(): OutputEvent | null {
    return this.#held[0]?.event ?? null;
  }

  add(held: Held, nowMs: number): void {
    if (this.#held.length === 0) this.#sinceMs = nowMs;
    this.#held.push(held);
    this.#bytes += held.event.data.length;
  }

  isDue(nowMs: number): boolean {
    if (this.#held.length === 0) return false;
    const { maxEvents, maxBytes, lingerMs } = this.#limits;
    return this.#held.length >= maxEvents || this.#bytes >= maxBytes || nowMs - this.#sinceMs >= lingerMs;
  }

  /** Events of the next attempt. */
  next(): Held[] {
    return this.#held.slice(0, this.#attempt);
  }

  /** The receiver has refused these events together: the next attempt has half of them. */
  split(refused: number): void {
    this.#attempt = Math.max(1, Math.floor(refused / 2));
  }

  /** Removes the first events: delivered or dead-lettered. */
  remove(count: number): void {
    const removed = this.#held.slice(0, count);
    this.#held = this.#held.slice(count);
    this.#bytes -= removed.reduce((sum, { event }) => sum + event.data.length, 0);
    this.#attempt = Number.POSITIVE_INFINITY;
  }
}
