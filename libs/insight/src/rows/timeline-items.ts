/**
 * Events of a pod as items on five lanes, in time order. Pure.
 *
 * Bounds: MAX_BURSTS. Close violations of one vector form one burst, so a flood is one item. The
 * packets of all bursts add up to the truth (CounterHulls).
 */
import type { ConfigChange } from '@bailiff/bus';
import { CounterHulls } from '@bailiff/correlation';
import { span } from '@bailiff/response';
import type { GuardGap, Violation } from '@bailiff/schemas';
import { claimOf } from './event-rows.ts';
import { outcomeOf } from './operation-text.ts';
import { type ResponseRow, responseText } from './response-rows.ts';
import { shortId, type VerdictRow } from './verdict-rows.ts';

export const LANES = ['lifecycle', 'config', 'violations', 'verdicts', 'responses'] as const;
export type Lane = (typeof LANES)[number];
/** How an item is coloured: `bad` was done by the pod, `act` was done to it. */
export type Tone = 'plain' | 'good' | 'warn' | 'bad' | 'act';

export interface TimelineItem {
  lane: Lane;
  atMicros: number;
  /** End of a burst; otherwise equal to `atMicros`. */
  untilMicros: number;
  what: string;
  detail: string;
  tone: Tone;
  /** Packets of a burst; 1 for other items. */
  weight: number;
  /** Stream and sequence: `VIOLATIONS #3`; empty without a message. */
  place: string;
}

/** The newest bursts are kept. */
export const MAX_BURSTS = 500;
/** Violations of a vector within this distance form one burst. */
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
  key: string;
  first: Violation;
  fromMicros: number;
  untilMicros: number;
  packets: number;
  claims: Set<string>;
  firstSequence: number;
  lastSequence: number;
}

/** Claims listed per burst. */
const CLAIMS_SHOWN = 3;

export class Bursts {
  /** The newest burst of each vector and pod that is not dropped. */
  readonly #open = new Map<string, Burst>();
  readonly #hulls = new CounterHulls();
  #all: Burst[] = [];
  dropped = 0;

  add(violation: Violation, nodeName: string, sequence: number): void {
    const key = JSON.stringify([violation.vector, violation.action, violation.pod?.uid ?? '']);
    const packets = this.#hulls.growth(nodeName, violation);
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
    if (open.claims.size <= CLAIMS_SHOWN) open.claims.add(claimOf(violation));
  }

  #begin(key: string, first: Violation, sequence: number, packets: number): void {
    const times = { fromMicros: first.firstSeenAt, untilMicros: Math.max(first.firstSeenAt, first.lastSeenAt) };
    const places = { firstSequence: sequence, lastSequence: sequence };
    const burst = { key, first, packets, claims: new Set([claimOf(first)]), ...times, ...places };
    this.#open.set(key, burst);
    this.#all.push(burst);
    if (this.#all.length <= 2 * MAX_BURSTS) return;
    const dropped = this.#all.slice(0, -MAX_BURSTS);
    for (const one of dropped) if (this.#open.get(one.key) === one) this.#open.delete(one.key);
    this.dropped += dropped.length;
    this.#all = this.#all.slice(-MAX_BURSTS);
  }

  items(): TimelineItem[] {
    this.dropped += Math.max(0, this.#all.length - MAX_BURSTS);
    return this.#all.slice(-MAX_BURSTS).map((burst) => {
      const { first, packets, claims, fromMicros, untilMicros, firstSequence, lastSequence } = burst;
      const outcome = outcomeOf(first);
      const shown = [...claims].slice(0, CLAIMS_SHOWN).join(', ') + (claims.size > CLAIMS_SHOWN ? ' and more' : '');
      const unit = first.kind === 'lsm' ? 'time' : 'packet';
      const long = untilMicros > fromMicros ? ` in ${span((untilMicros - fromMicros) / 1000)}` : '';
      const until = lastSequence > firstSequence ? ` to #${lastSequence}` : '';
      return item({
        lane: 'violations',
        atMicros: fromMicros,
        untilMicros,
        what: `${first.vector} ${outcome.text}`,
        detail: `${packets.toLocaleString('en-US')} ${unit}${packets === 1 ? '' : 's'}${long}: ${shown}`,
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
    detail: [responseText(response, nowMs), `policy ${policy}`].filter(Boolean).join('; '),
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
    detail: `on ${node}, from its pod snapshot`,
    tone: 'good',
  });
}

export function guardedItem(gap: GuardGap, atMicros: number, sequence: number): TimelineItem {
  const { interfaceName, packetsBeforeGuard: passed, appearedToGuardedMicros } = gap;
  const known = appearedToGuardedMicros >= 0;
  const after = known ? `${span(appearedToGuardedMicros / 1000)} after it appeared` : 'existed before the collector';
  return item({
    lane: 'lifecycle',
    atMicros,
    what: `interface ${interfaceName} guarded`,
    detail: `${after}; ${passed === 0 ? 'no' : passed} packets before`,
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
    what: interfaceName === '' ? 'final count' : `interface ${interfaceName} removed`,
    detail: `final count of ${vector}`,
    place: `VIOLATIONS #${sequence}`,
  });
}

/** Sorted by time, and by lane for equal times. */
export function inTime(items: readonly TimelineItem[]): TimelineItem[] {
  return [...items].sort(
    (a, b) => a.atMicros - b.atMicros || LANES.indexOf(a.lane) - LANES.indexOf(b.lane) || (a.place < b.place ? -1 : 1),
  );
}

/** Zero of relative times: the first violation, else the first item. */
export function originOf(items: readonly TimelineItem[]): number {
  return (items.find(({ lane }) => lane === 'violations') ?? items[0])?.atMicros ?? 0;
}

/** `+12 ms`, `-1h`; empty at the origin. */
export function afterOf(atMicros: number, origin: number): string {
  if (atMicros === origin) return '';
  return `${atMicros > origin ? '+' : ''}${span((atMicros - origin) / 1000)}`;
}

/**
 * Maps times to positions from 0 to 1. Distances grow with the logarithm of the time between two
 * items, so milliseconds and hours fit one picture.
 */
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

  /** All mapped times in order. */
  get times(): readonly number[] {
    return this.#times;
  }

  /** Position of an item's time. */
  at(micros: number): number {
    return this.#places[this.#times.indexOf(micros)] ?? 0;
  }

  /** Times to label, at least `distance` (0 to 1) apart. */
  ticks(distance: number): number[] {
    const ticks: number[] = [];
    for (const time of this.#times) {
      const last = ticks.at(-1);
      if (last === undefined || this.at(time) - this.at(last) >= distance) ticks.push(time);
    }
    return ticks;
  }
}
