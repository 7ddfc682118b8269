/**
 * What happened about a pod, as items on five lanes. Pure: messages that were read in, items in the order of their time out.
 *
 * Bounds: MAX_BURSTS; violations of one vector that follow one another closely are one burst, so that a flood is one item.
 */
import type { ConfigChange } from '@bailiff/bus';
import type { GuardGap, Violation } from '@bailiff/schemas';
import { claimOf, packetsOf } from '../shared/rows/event-rows.ts';
import { outcomeOf } from '../shared/rows/operation-text.ts';
import { type ResponseRow, wordsOf } from '../shared/rows/response-rows.ts';
import { shortId, type VerdictRow } from '../shared/rows/verdict-rows.ts';
import { span } from '../shared/text/time.ts';

export const LANES = ['lifecycle', 'config', 'violations', 'verdicts', 'responses'] as const;
export type Lane = (typeof LANES)[number];
/** How it is to be read: `bad` was done by the pod, `act` was done to it. */
export type Tone = 'plain' | 'good' | 'warn' | 'bad' | 'act';

export interface TimelineItem {
  lane: Lane;
  atMicros: number;
  /** Of a burst; otherwise the same. */
  untilMicros: number;
  what: string;
  detail: string;
  tone: Tone;
  /** How much it stands for: packets of a burst; 1 of the others. */
  weight: number;
  /** Where it stands on the bus: `VIOLATIONS #3`; empty when it is no message. */
  place: string;
}

/** Bursts that are kept; the newest count. */
export const MAX_BURSTS = 500;
/** Violations of a vector that follow within this are one burst. */
const BURST_GAP_MICROS = 5_000_000;

const item = (part: Pick<TimelineItem, 'lane' | 'atMicros' | 'what'> & Partial<TimelineItem>): TimelineItem => ({
  untilMicros: part.atMicros,
  detail: '',
  tone: 'plain',
  weight: 1,
  place: '',
  ...part,
});

interface Burst {
  first: Violation;
  fromMicros: number;
  untilMicros: number;
  packets: number;
  claims: Set<string>;
  firstSequence: number;
  lastSequence: number;
}

/** Claims of a burst that are told. */
const CLAIMS_TOLD = 3;

export class Bursts {
  readonly #open = new Map<string, Burst>();
  #all: Burst[] = [];
  dropped = 0;

  add(violation: Violation, sequence: number): void {
    const key = JSON.stringify([violation.vector, violation.action, violation.pod?.uid ?? '']);
    const packets = packetsOf(violation);
    if (packets === 0) return;
    const open = this.#open.get(key);
    if (!open || violation.firstSeenAt > open.untilMicros + BURST_GAP_MICROS) {
      this.#begin(key, violation, sequence, packets);
      return;
    }
    open.fromMicros = Math.min(open.fromMicros, violation.firstSeenAt);
    open.untilMicros = Math.max(open.untilMicros, violation.lastSeenAt);
    open.packets += packets;
    open.lastSequence = sequence;
    if (open.claims.size <= CLAIMS_TOLD) open.claims.add(claimOf(violation));
  }

  #begin(key: string, first: Violation, sequence: number, packets: number): void {
    const times = { fromMicros: first.firstSeenAt, untilMicros: Math.max(first.firstSeenAt, first.lastSeenAt) };
    const places = { firstSequence: sequence, lastSequence: sequence };
    const burst = { first, packets, claims: new Set([claimOf(first)]), ...times, ...places };
    this.#open.set(key, burst);
    this.#all.push(burst);
    if (this.#all.length <= 2 * MAX_BURSTS) return;
    this.dropped += this.#all.length - MAX_BURSTS;
    this.#all = this.#all.slice(-MAX_BURSTS);
  }

  items(): TimelineItem[] {
    this.dropped += Math.max(0, this.#all.length - MAX_BURSTS);
    return this.#all.slice(-MAX_BURSTS).map((burst) => {
      const { first, packets, claims, fromMicros, untilMicros, firstSequence, lastSequence } = burst;
      const outcome = outcomeOf(first);
      const told = [...claims].slice(0, CLAIMS_TOLD).join(', ') + (claims.size > CLAIMS_TOLD ? ' and more' : '');
      const unit = first.kind === 'lsm' ? 'time' : 'packet';
      const long = untilMicros > fromMicros ? ` in ${span((untilMicros - fromMicros) / 1000)}` : '';
      const until = lastSequence > firstSequence ? ` to #${lastSequence}` : '';
      return item({
        lane: 'violations',
        atMicros: fromMicros,
        untilMicros,
        what: `${first.vector} ${outcome.text}`,
        detail: `${packets.toLocaleString('en-US')} ${unit}${packets === 1 ? '' : 's'}${long}: ${told}`,
        tone: first.action === 'audit' ? 'warn' : 'bad',
        weight: packets,
        place: `VIOLATIONS #${firstSequence}${until}`,
      });
    });
  }
}

export function verdictItem({ verdict, sequence }: VerdictRow): TimelineItem {
  const { level, rule, verdictId, reason, triggeredAt } = verdict;
  return item({
    lane: 'verdicts',
    atMicros: triggeredAt,
    what: `${level} by ${rule}`,
    detail: `${shortId(verdictId)}: ${reason}`,
    tone: level === 'high' || level === 'critical' ? 'bad' : 'warn',
    place: `VERDICTS #${sequence}`,
  });
}

export function responseItem(row: ResponseRow, nowMs: number): TimelineItem {
  const { response, sequence, storedAtMicros } = row;
  const { action, phase, policy } = response;
  const tones: Partial<Record<typeof phase, Tone>> = {
    succeeded: 'act',
    refused: 'warn',
    failed: 'bad',
    pending: 'warn',
  };
  return item({
    lane: 'responses',
    atMicros: storedAtMicros,
    what: `${action} ${phase}`,
    detail: [wordsOf(response, nowMs), `policy ${policy}`].filter(Boolean).join('; '),
    tone: tones[phase] ?? 'plain',
    place: `RESPONSES #${sequence}`,
  });
}

export function configItem({ key, json, by, why, sequence, timestampMicros }: ConfigChange): TimelineItem {
  const who = [by === '' ? '' : `by ${by}`, why].filter(Boolean).join(': ');
  return item({
    lane: 'config',
    atMicros: timestampMicros,
    what: `${key} ${json === null ? 'deleted' : 'set'}`,
    detail: who,
    place: `CONFIG_LOG #${sequence}`,
  });
}

export function createdItem(atMicros: number, node: string): TimelineItem {
  return item({
    lane: 'lifecycle',
    atMicros,
    what: 'pod created',
    detail: `on ${node}, as its list says`,
    tone: 'good',
  });
}

export function guardedItem(gap: GuardGap, atMicros: number, sequence: number): TimelineItem {
  const { interfaceName, packetsBeforeGuard: passed, appearedToGuardedMicros } = gap;
  const known = appearedToGuardedMicros >= 0;
  const after = known
    ? `${span(appearedToGuardedMicros / 1000)} after it appeared`
    : 'it was there before the collector';
  return item({
    lane: 'lifecycle',
    atMicros,
    what: `interface ${interfaceName} guarded`,
    detail: `${after}; ${passed === 0 ? 'nothing' : `${passed} packets`} passed before`,
    tone: passed > 0 ? 'warn' : 'good',
    place: `VIOLATIONS #${sequence}`,
  });
}

export function finalItem(
  { lastSeenAt, interfaceName, vector }: Violation,
  atMicros: number,
  sequence: number,
): TimelineItem {
  return item({
    lane: 'lifecycle',
    atMicros: Math.max(atMicros, lastSeenAt),
    what: interfaceName === '' ? 'last count read' : `interface ${interfaceName} gone`,
    detail: `last count of ${vector} read`,
    place: `VIOLATIONS #${sequence}`,
  });
}

/** By time; of one time by lane, from the pod to what was done about it. */
export function inTime(items: readonly TimelineItem[]): TimelineItem[] {
  return [...items].sort(
    (a, b) => a.atMicros - b.atMicros || LANES.indexOf(a.lane) - LANES.indexOf(b.lane) || (a.place < b.place ? -1 : 1),
  );
}

/** What the others are counted from: the first violation, or the first of all. */
export function originOf(items: readonly TimelineItem[]): number {
  return (items.find(({ lane }) => lane === 'violations') ?? items[0])?.atMicros ?? 0;
}

/** `+12 ms`, `-1h`; empty at the origin. */
export function afterOf(atMicros: number, origin: number): string {
  if (atMicros === origin) return '';
  return `${atMicros > origin ? '+' : ''}${span((atMicros - origin) / 1000)}`;
}

/** Places from 0 to 1 for times: distances grow with the logarithm of the time between two, so that milliseconds and hours fit one picture. */
export class Axis {
  readonly #times: number[];
  readonly #places: number[];

  constructor(items: readonly TimelineItem[]) {
    const times = items.flatMap(({ atMicros, untilMicros }) => [atMicros, untilMicros]);
    this.#times = [...new Set(times)].sort((a, b) => a - b);
    let sum = 0;
    const sums = this.#times.map((time, index) => {
      const before = this.#times[index - 1];
      if (before !== undefined) sum += Math.log10(1 + (time - before) / 1000) + 0.2;
      return sum;
    });
    this.#places = sums.map((at) => (sum === 0 ? 0.5 : at / sum));
  }

  /** Times that have a place, in order. */
  get times(): readonly number[] {
    return this.#times;
  }

  /** Of a time of one of the items. */
  at(micros: number): number {
    return this.#places[this.#times.indexOf(micros)] ?? 0;
  }

  /** Times to be written, each at least so far from the one before it (0 to 1). */
  ticks(distance: number): number[] {
    const ticks: number[] = [];
    for (const time of this.#times) {
      const last = ticks.at(-1);
      if (last === undefined || this.at(time) - this.at(last) >= distance) ticks.push(time);
    }
    return ticks;
  }
}
