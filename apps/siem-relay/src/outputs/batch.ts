/**
 * The events of an output that are read from SIEM and not delivered. Pure.
 *
 * They leave in the order of SIEM. With turns, those of each turn do, and turns follow each other, so that
 * a backlog of one namespace does not delay the events of others. Limits: those of the output, and with
 * turns MAX_HELD; the runner reads no further event meanwhile, so they bound the memory of an output however
 * long its receiver is down.
 */
import type { BatchLimits, OutputEvent } from './output.ts';

export interface Held {
  event: OutputEvent;
  /** Life of the stream that holds the event: `lifeName`. */
  created: string;
}

/**
 * What an output with turns holds. At 3 KiB a verdict, some 2,700 of them: half an hour of what one
 * namespace can cause beyond what a chat takes.
 */
export const MAX_HELD = 4_096;
const MAX_HELD_BYTES = 8 * 1024 * 1024;

export class Batch {
  readonly #limits: BatchLimits;
  /** In the order of SIEM. */
  readonly #held = new Set<Held>();
  /** By turn, the next one first. */
  readonly #turns = new Map<string, Held[]>();
  #bytes = 0;
  #sinceMs = 0;
  /** Largest number of events of the next attempt: fewer after a refusal, to find the refused one. */
  #attempt = Number.POSITIVE_INFINITY;

  constructor(limits: BatchLimits) {
    this.#limits = limits;
  }

  get size(): number {
    return this.#held.size;
  }
  /** Turns that have events. */
  get turns(): number {
    return this.#turns.size;
  }
  get oldest(): OutputEvent | null {
    return this.#held.values().next().value?.event ?? null;
  }
  /** The oldest event of a life of the stream. */
  oldestOf(created: string): OutputEvent | null {
    for (const held of this.#held) if (held.created === created) return held.event;
    return null;
  }
  /** With turns: nothing more is read ahead. */
  get isFull(): boolean {
    return this.#held.size >= MAX_HELD || this.#bytes >= MAX_HELD_BYTES;
  }

  /** @param turn of whom the event is; '' for all of an output without turns */
  add(held: Held, turn: string, nowMs: number): void {
    if (this.#held.size === 0) this.#sinceMs = nowMs;
    this.#held.add(held);
    const queue = this.#turns.get(turn);
    if (queue) queue.push(held);
    else this.#turns.set(turn, [held]);
    this.#bytes += held.event.data.length;
  }

  isDue(nowMs: number): boolean {
    if (this.#held.size === 0) return false;
    const { maxEvents, maxBytes, lingerMs } = this.#limits;
    return this.#held.size >= maxEvents || this.#bytes >= maxBytes || nowMs - this.#sinceMs >= lingerMs;
  }

  /** Events of the next attempt, of one turn. */
  next(): Held[] {
    const [queue = []] = this.#turns.values();
    return queue.slice(0, Math.min(this.#attempt, this.#limits.maxEvents));
  }

  /** The receiver has refused these events together: the next attempt has half of them. */
  split(refused: number): void {
    this.#attempt = Math.max(1, Math.floor(refused / 2));
  }

  /** The receiver has not taken the next events: those of another turn are tried before them. */
  postpone(): void {
    const [first] = this.#turns;
    if (first) this.#moveBack(first[0], first[1]);
  }

  /** Removes the first events of the turn: delivered or dead-lettered. */
  remove(count: number): void {
    const [turn = '', queue = []] = this.#turns.entries().next().value ?? [];
    for (const held of queue.slice(0, count)) {
      this.#held.delete(held);
      this.#bytes -= held.event.data.length;
    }
    this.#moveBack(turn, queue.slice(count));
    this.#attempt = Number.POSITIVE_INFINITY;
  }

  #moveBack(turn: string, queue: Held[]): void {
    this.#turns.delete(turn);
    if (queue.length > 0) this.#turns.set(turn, queue);
  }
}
