/**
 * Collects the violations that get no event, so that one event a node names their number. Pure.
 *
 * A message with an omitted violation stays incomplete until that event is stored: after a crash
 * the relay reads it again. Bounds: a node's omissions are due after INTERVAL_MICROS of bus time or
 * MAX_MESSAGES messages.
 */
import type { Origin, Place } from '@bailiff/siem';

/** Well below the age at which a relay that has not relayed a message is not ready. */
export const INTERVAL_MICROS = 10_000_000;
export const MAX_MESSAGES = 1_000;

export interface Omitted {
  node: string;
  /** The first message. */
  place: Place;
  lastSequence: number;
  untilMicros: number;
  events: number;
  /** Each completes one message. */
  done: (() => void)[];
}

export class Omissions {
  readonly #byNode = new Map<string, Omitted>();

  add({ node, ...place }: Place & Pick<Origin, 'node'>, events: number, done: () => void): void {
    const { sequence, storedMicros } = place;
    const omitted = this.#byNode.get(node) ?? {
      node,
      place,
      lastSequence: sequence,
      untilMicros: storedMicros,
      events: 0,
      done: [],
    };
    omitted.lastSequence = sequence;
    omitted.untilMicros = Math.max(omitted.untilMicros, storedMicros);
    omitted.events += events;
    omitted.done.push(done);
    this.#byNode.set(node, omitted);
  }

  /** Removes and returns those that are due at a bus time, also if its clock was set back since; without a time, all. */
  take(storedMicros = Number.POSITIVE_INFINITY): Omitted[] {
    const due = [...this.#byNode.values()].filter(
      ({ place, done }) =>
        Math.abs(storedMicros - place.storedMicros) >= INTERVAL_MICROS || done.length >= MAX_MESSAGES,
    );
    for (const { node } of due) this.#byNode.delete(node);
    return due;
  }
}
