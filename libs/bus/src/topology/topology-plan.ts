/**
 * What becomes of streams that are there already, and what would be lost by it. Pure: streams.ts asks the server and carries it out.
 *
 * Invariants: an option that is not given is as the server has it; a limit that only follows from others, or that an operator raised by
 * hand, never falls by itself; a limit falls only when its option is given and `shrink` says so.
 */
import type { StreamConfig } from '@nats-io/jetstream';
import {
  LONGEST_TIMESPAN_MS,
  streamConfigs,
  TIMESPAN_METADATA,
  type TopologyOptions,
  VIOLATIONS_MAX_AGE_MS,
  VIOLATIONS_MAX_BYTES,
  type WantedStream,
} from './topology.ts';

/** Limits of a stream that say how much of it is kept. 0 and -1 are none, but for replicas. */
const STREAM_LIMITS = ['max_age', 'max_bytes', 'max_msgs', 'max_msgs_per_subject', 'num_replicas'] as const;
/** Of a bucket: its ages and histories are what it is for, not how much an operator wants to keep. */
const BUCKET_LIMITS = ['max_bytes', 'num_replicas'] as const;
type Limit = (typeof STREAM_LIMITS)[number];

export type ChosenTopology = Required<{
  [key in Exclude<keyof TopologyOptions, 'shrink'>]: NonNullable<TopologyOptions[key]>;
}>;

/** A limit that would fall. */
export interface Loss {
  stream: string;
  limit: Limit;
  /** As the server counts: nanoseconds, bytes, servers. */
  from: number;
  to: number;
  /** Only follows from what was chosen for another stream: stays as it is where nobody says `shrink`. */
  follows: boolean;
}

export interface TopologyPlan {
  options: ChosenTopology;
  /** As each stream is to be, in the order in which they are made. */
  streams: WantedStream[];
  losses: Loss[];
  /** Something that was asked for would fall, and `shrink` was not said. */
  refused: boolean;
}

type Found = ReadonlyMap<string, Partial<StreamConfig>>;

function chosen(found: Found, options: TopologyOptions): ChosenTopology {
  const violations = found.get('VIOLATIONS');
  const replicas = [...found.values()].map(({ num_replicas = 1 }) => num_replicas);
  const timespans = [
    Number(violations?.metadata?.[TIMESPAN_METADATA] ?? 0),
    options.longestTimespanMs ?? LONGEST_TIMESPAN_MS,
  ];
  return {
    replicas: options.replicas ?? Math.max(1, ...replicas),
    violationsMaxAgeMs:
      options.violationsMaxAgeMs ?? (violations ? (violations.max_age ?? 0) / 1_000_000 : VIOLATIONS_MAX_AGE_MS),
    violationsMaxBytes:
      options.violationsMaxBytes ?? (violations ? (violations.max_bytes ?? -1) : VIOLATIONS_MAX_BYTES),
    longestTimespanMs:
      options.shrink && options.longestTimespanMs !== undefined ? options.longestTimespanMs : Math.max(...timespans),
  };
}

/** Who decides on a limit: an option that names it, one that it follows from, or nobody. */
function decidedBy(stream: string, limit: Limit, options: TopologyOptions): 'chosen' | 'follows' | null {
  const { replicas, violationsMaxAgeMs, violationsMaxBytes, longestTimespanMs } = options;
  if (limit === 'num_replicas') return replicas === undefined ? null : 'chosen';
  if (stream === 'VIOLATIONS') {
    const option = { max_age: violationsMaxAgeMs, max_bytes: violationsMaxBytes }[limit as string];
    return option === undefined ? null : 'chosen';
  }
  const follows = limit === 'max_age' && ['VERDICTS', 'RESPONSES', 'DEAD_LETTERS'].includes(stream);
  return follows && (violationsMaxAgeMs ?? longestTimespanMs) !== undefined ? 'follows' : null;
}

const orNone = (value: number | undefined): number =>
  value === undefined || value <= 0 ? Number.POSITIVE_INFINITY : value;

/** @param found configurations that the server has, by stream */
export function planTopology(found: Found, options: TopologyOptions = {}): TopologyPlan {
  const effective = chosen(found, options);
  const losses: Loss[] = [];
  const streams = streamConfigs(effective).map((config) => {
    const before = found.get(config.name);
    if (!before) return config;
    const kept: Partial<Record<Limit, number>> = {};
    for (const limit of config.name.startsWith('KV_') ? BUCKET_LIMITS : STREAM_LIMITS) {
      const [from, to] = [orNone(before[limit]), orNone(config[limit])];
      if (to >= from) continue;
      const by = decidedBy(config.name, limit, options);
      if (by) losses.push({ stream: config.name, limit, from: before[limit] ?? 0, to, follows: by === 'follows' });
      if (!by || !options.shrink) kept[limit] = before[limit] ?? 0;
    }
    return { ...config, ...kept };
  });
  const refused = !options.shrink && losses.some(({ follows }) => !follows);
  return { options: effective, streams, losses, refused };
}

const UNITS = ['bytes', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB'];

/** Bytes as a person reads them: `4 GiB`, `1.5 MiB`; none below or at 0. */
export function bytesText(bytes: number): string {
  if (bytes <= 0) return 'any number of bytes';
  const power = Math.min(Math.floor(Math.log2(bytes) / 10), UNITS.length - 1);
  return `${Number((bytes / 1024 ** power).toFixed(1))} ${UNITS[power]}`;
}

/** Milliseconds as a person reads them: `7 days`, `36 hours`; 0 is for ever. */
export function ageText(ms: number): string {
  if (ms <= 0) return 'for ever';
  const [unit, of] = [
    ['day', 86_400_000],
    ['hour', 3_600_000],
    ['minute', 60_000],
  ].find(([, size]) => ms % (size as number) === 0) ?? ['second', 1_000];
  const number = ms / (of as number);
  return `${number} ${unit}${number === 1 ? '' : 's'}`;
}

const serversText = (count: number) => (count === 1 ? 'one server' : `${count} servers`);

/** Of all streams that would be kept by fewer servers, in one sentence. */
export function replicasText(losses: readonly Loss[]): string {
  const [{ to, from } = { to: 1, from: 1 }] = losses;
  const who = losses.length === 1 ? losses[0]?.stream : `${losses.length} streams and buckets`;
  const then = to === 1 ? 'what it has is gone with that server' : 'fewer of them may fail';
  return `${who}: kept by ${serversText(to)}, not ${from}: ${then}`;
}

/** What a stream holds. */
export interface StreamContents {
  messages: number;
  bytes: number;
  /** Messages that the new age would delete. */
  older: number;
}

/** What a fall of an age or a size deletes, in one sentence. */
export function lossText({ stream, limit, from, to }: Loss, held: StreamContents): string {
  if (limit === 'max_age') {
    const gone = held.older === 0 ? 'none is older now' : `${held.older} are older and are deleted`;
    const ages = `kept ${ageText(to / 1_000_000)}, not ${ageText(from / 1_000_000)}`;
    return `${stream}: ${ages}: of ${held.messages} messages ${gone}`;
  }
  const over = held.bytes - to;
  const gone = over > 0 ? `the oldest ${bytesText(over)} are deleted` : 'nothing is deleted now';
  return `${stream}: up to ${bytesText(to)}, not ${bytesText(from)}: it holds ${bytesText(held.bytes)}, ${gone}`;
}
