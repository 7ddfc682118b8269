/**
 * Plans changes of existing streams and what they would delete. Pure: ensure-topology.ts reads the
 * server and applies the plan.
 *
 * An option that is not set keeps the server's value. A limit that is derived, or that an operator
 * raised by hand, never decreases on its own. A limit decreases only if its option and `shrink` are
 * set.
 */
import type { StreamConfig } from '@nats-io/jetstream';
import {
  copyMaxBytes,
  LONGEST_TIMESPAN_MS,
  streamConfigs,
  TIMESPAN_METADATA,
  type TopologyOptions,
  VIOLATIONS_MAX_AGE_MS,
  VIOLATIONS_MAX_BYTES,
  type WantedStream,
} from './topology.ts';

/** Limits of how much a stream keeps. 0 and -1 mean no limit, except for replicas. */
const STREAM_LIMITS = ['max_age', 'max_bytes', 'max_msgs', 'max_msgs_per_subject', 'num_replicas'] as const;
/**
 * Limits of a bucket. Its age and history are part of its purpose, not retention that operators
 * choose.
 */
const BUCKET_LIMITS = ['max_bytes', 'max_msgs', 'num_replicas'] as const;
type Limit = (typeof STREAM_LIMITS)[number];

export type ChosenTopology = Required<{
  [key in Exclude<keyof TopologyOptions, 'shrink'>]: NonNullable<TopologyOptions[key]>;
}>;

/** A limit that would decrease. */
export interface Loss {
  stream: string;
  limit: Limit;
  /** In the server's units: nanoseconds, bytes, servers. */
  from: number;
  to: number;
  /** Derived from an option of another stream: keeps its value unless `shrink` is set. */
  follows: boolean;
}

export interface TopologyPlan {
  options: ChosenTopology;
  /** Wanted configuration of each stream, in order of creation. */
  streams: WantedStream[];
  losses: Loss[];
  /** A requested limit would decrease, and `shrink` is not set. */
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

/**
 * Whether an option sets a limit directly (`chosen`), implies it (`follows`), or does neither
 * (null).
 */
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

/** @param found existing configurations by stream */
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
      // Earlier versions had no such limit. It is no option, and bounds the server's memory.
      if (limit === 'max_msgs' && from === Number.POSITIVE_INFINITY) continue;
      const by = decidedBy(config.name, limit, options);
      if (by) losses.push({ stream: config.name, limit, from: before[limit] ?? 0, to, follows: by === 'follows' });
      if (!by || !options.shrink) kept[limit] = before[limit] ?? 0;
    }
    return { ...config, ...kept };
  });
  // Copies have room for the whole bucket, also if an operator raised its limit.
  for (const copy of streams) {
    const bucket = streams.find(({ name }) => name === copy.sources?.[0]?.name);
    const wanted = copyMaxBytes(bucket?.name.slice('KV_'.length) ?? '', bucket?.max_bytes ?? 0, bucket?.max_msgs);
    if (bucket && orNone(copy.max_bytes) < orNone(wanted)) copy.max_bytes = wanted > 0 ? wanted : -1;
  }
  const refused = !options.shrink && losses.some(({ follows }) => !follows);
  return { options: effective, streams, losses, refused };
}

const UNITS = ['bytes', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB'];

/** Bytes for people: `4 GiB`, `1.5 MiB`; no limit at or below 0. */
export function bytesText(bytes: number): string {
  if (bytes <= 0) return 'any number of bytes';
  const power = Math.min(Math.floor(Math.log2(bytes) / 10), UNITS.length - 1);
  return `${Number((bytes / 1024 ** power).toFixed(1))} ${UNITS[power]}`;
}

/** Milliseconds for people: `7 days`, `36 hours`; no limit at 0. */
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

/** One sentence for all streams that would have fewer replicas. */
export function replicasText(losses: readonly Loss[]): string {
  const [{ to, from } = { to: 1, from: 1 }] = losses;
  const who = losses.length === 1 ? losses[0]?.stream : `${losses.length} streams and buckets`;
  const then = to === 1 ? 'a failure of that server loses its data' : 'fewer of them may fail';
  return `${who}: kept by ${serversText(to)}, not ${from}: ${then}`;
}

/** Contents of a stream. */
export interface StreamContents {
  messages: number;
  bytes: number;
  /** Messages that the new age would delete. */
  older: number;
}

/** One sentence: what a lower age or size deletes. */
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
