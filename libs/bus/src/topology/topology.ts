/**
 * What the streams and buckets are: names, subjects and every limit with its reason. Pure data; streams.ts makes them.
 *
 * Invariants: VERDICTS and RESPONSES keep at least what VIOLATIONS keeps + the longest timespan + a day, because their ids are what
 * makes a replay idempotent. Every stream has a limit by bytes, which JetStream reserves at creation.
 */
import {
  AckPolicy,
  type ConsumerConfig,
  DeliverPolicy,
  DiscardPolicy,
  ReplayPolicy,
  RetentionPolicy,
  StorageType,
  type StreamConfig,
} from '@nats-io/jetstream';
import { ROOT } from './subjects.ts';

/** Remedy for a missing stream or bucket, for error messages. */
export const SETUP_REMEDY = '`bailiff bus setup` makes it, in Kubernetes the Job bailiff-bus-setup';

const MIB = 1024 ** 2;
const DAY_MS = 86_400_000;

/** How long violations are kept: a week covers a weekend and the Monday after it. */
export const VIOLATIONS_MAX_AGE_MS = 7 * DAY_MS;
/** Longest timespan that a correlation rule may have (libs/policy). */
export const LONGEST_TIMESPAN_MS = DAY_MS;
/** What VERDICTS and RESPONSES keep beyond the replay horizon, so that clocks and late starts do not matter. */
export const HORIZON_MARGIN_MS = DAY_MS;
/** 100 nodes at one frame of 25 kB in 5 s for a week would be 300 GB; a quiet fleet is 1,000 times below. Oldest go first. */
export const VIOLATIONS_MAX_BYTES = 4096 * MIB;
/** A verdict is about 1 kB and is capped per minute; 512 MiB are half a million. When full, new ones are refused and counted. */
export const VERDICTS_MAX_BYTES = 512 * MIB;
/** Two responses a verdict and half the size each. */
export const RESPONSES_MAX_BYTES = 512 * MIB;
/** Kept by number, not by age: what an operator wrote a year ago may still be in force. 1,024 changes of one key. */
export const CONFIG_LOG_PER_KEY = 1_024;
export const CONFIG_LOG_MAX_BYTES = 256 * MIB;
export const DEAD_LETTERS_MAX_BYTES = 256 * MIB;
/** Each dead letter has a subject of its own (so that it is written once), and a subject takes 0.44 kB of server memory. */
export const DEAD_LETTERS_MAX_MESSAGES = 50_000;
/** As long as violations are kept: a connector that was away over a weekend loses nothing. */
export const SIEM_MAX_AGE_MS = VIOLATIONS_MAX_AGE_MS;
/** An event is 1 to 3 kB in each format; 1 GiB is about half a million. Oldest go first, and a consumer that misses some is told so. */
export const SIEM_MAX_BYTES = 1024 * MIB;
/** Formats of events for SIEMs; each has a durable consumer `siem-<format>` on SIEM, made with it. */
export const SIEM_FORMATS = ['ocsf', 'ecs', 'cef'] as const;
export type SiemFormat = (typeof SIEM_FORMATS)[number];
/** An event that a connector took and did not acknowledge is delivered again after this. */
export const SIEM_ACK_WAIT_MS = 30_000;
/** Events that a connector may hold unacknowledged; more than a batch of any client. */
export const SIEM_MAX_ACK_PENDING = 5_000;
/**
 * Server memory for duplicate detection grows with it. A frame that is sent again later than this is stored twice, and counted once: counts are
 * cumulative (test/cluster/collector-duplicates.test.ts).
 */
export const DUPLICATE_WINDOW_MS = 120_000;
/** What an operator can go back to; CONFIG_LOG has more. 64 is the most a KV bucket may keep. */
export const CONFIG_HISTORY = 64;

/** As long as an instance of a service is remembered that has said nothing more. */
export const INSTANCE_MAX_AGE_MS = 3_600_000;

export interface BucketLimits {
  bucket: string;
  description: string;
  maxBytes: number;
  maxValueBytes: number;
  history: number;
  /** Pushed to `bailiff.v1.push.<bucket>.<key>` when it changes. */
  push: boolean;
  /** The first value of a key stays. */
  createOnly: boolean;
  /** A value that is not renewed goes after this; 0: it stays. */
  maxAgeMs: number;
}

const bucket = (
  name: string,
  description: string,
  maxBytes: number,
  maxValueBytes: number,
  more: Partial<BucketLimits> = {},
) => ({
  bucket: `bailiff_${name}`,
  description,
  maxBytes,
  maxValueBytes,
  history: 1,
  push: false,
  createOnly: false,
  maxAgeMs: 0,
  ...more,
});

/** Room for the headers of a put above the largest value. */
const PUT_HEADERS_BYTES = 4096;

export const BUCKETS: readonly BucketLimits[] = [
  // 2,000 nodes with a full snapshot of 512 KiB each; an ordinary one (110 pods) is about 100 kB, one of 500 pods 100 kB compressed.
  bucket('pods', 'identities of the pods of each node', 1024 * MIB, MIB / 2, { push: true }),
  bucket('quarantine', 'quarantined pods of each node', 64 * MIB, MIB / 4, { push: true }),
  // 64 revisions of a few hundred keys of some kB.
  bucket('config', 'what operators tune', 256 * MIB, MIB / 4, { push: true, history: CONFIG_HISTORY }),
  bucket('schemas', 'Avro schemas by fingerprint', 16 * MIB, MIB / 16, { createOnly: true }),
  bucket('nodes', 'status of each node', 512 * MIB, MIB / 2),
  // Renewed every 10 s: an instance that is gone and could not say so is forgotten.
  bucket('services', 'status of correlators, responders and ipam-syncs', 16 * MIB, MIB / 8, {
    maxAgeMs: INSTANCE_MAX_AGE_MS,
  }),
  bucket('siem', 'how far the siem-relay has come', MIB, 1024),
];

/** What can be chosen. Of a bus that is there already, what is not given stays as it is (topology-plan.ts). */
export interface TopologyOptions {
  /** 1 on a single server, 3 in a cluster. Default 1. */
  replicas?: number | undefined;
  /** 0: for ever. */
  violationsMaxAgeMs?: number | undefined;
  /** Longest timespan of any correlation rule that may be configured. */
  longestTimespanMs?: number | undefined;
  violationsMaxBytes?: number | undefined;
  /** Whether what is kept may be kept shorter, by fewer bytes or by fewer servers than now. Default false. */
  shrink?: boolean | undefined;
}

/** How long VERDICTS and RESPONSES must keep. */
export function requiredHorizonMs(violationsMaxAgeMs: number, longestTimespanMs: number): number {
  return violationsMaxAgeMs + longestTimespanMs + HORIZON_MARGIN_MS;
}

/** Metadata under which VIOLATIONS remembers the longest timespan it was made for. */
export const TIMESPAN_METADATA = 'bailiff.longest-timespan-ms';

/** What is said of a stream when it is made or changed. */
export type WantedStream = Partial<StreamConfig> & { name: string };

const nanos = (ms: number) => ms * 1_000_000;

function stream(config: WantedStream, replicas: number): WantedStream {
  // The server takes no window beyond the age.
  const ageNanos = config.max_age && config.max_age > 0 ? config.max_age : Number.POSITIVE_INFINITY;
  return {
    storage: StorageType.File,
    retention: RetentionPolicy.Limits,
    discard: DiscardPolicy.Old,
    num_replicas: replicas,
    allow_direct: true,
    // What was once written stays until a limit removes it: nobody edits evidence.
    deny_delete: true,
    deny_purge: true,
    allow_rollup_hdrs: false,
    duplicate_window: Math.min(nanos(DUPLICATE_WINDOW_MS), ageNanos),
    ...config,
  };
}

function bucketStream(limits: BucketLimits, replicas: number): WantedStream {
  const subject = `$KV.${limits.bucket}.>`;
  return {
    name: `KV_${limits.bucket}`,
    description: limits.description,
    subjects: [subject],
    storage: StorageType.File,
    retention: RetentionPolicy.Limits,
    discard: DiscardPolicy.New,
    discard_new_per_subject: limits.createOnly,
    num_replicas: replicas,
    max_msgs_per_subject: limits.history,
    max_bytes: limits.maxBytes,
    ...(limits.maxAgeMs > 0 ? { max_age: nanos(limits.maxAgeMs) } : {}),
    max_msg_size: limits.maxValueBytes + PUT_HEADERS_BYTES,
    allow_direct: true,
    // A rollup header on one key would remove all others, and a purge any.
    allow_rollup_hdrs: false,
    deny_delete: true,
    deny_purge: true,
    duplicate_window: nanos(DUPLICATE_WINDOW_MS),
    ...(limits.push ? { republish: { src: subject, dest: `${ROOT}.push.${limits.bucket}.>` } } : {}),
  };
}

/** All streams, in the order in which they are made: CONFIG_LOG after the bucket it is sourced from. */
export function streamConfigs(options: TopologyOptions = {}): WantedStream[] {
  const replicas = options.replicas ?? 1;
  const violationsMaxAgeMs = options.violationsMaxAgeMs ?? VIOLATIONS_MAX_AGE_MS;
  const longestTimespanMs = options.longestTimespanMs ?? LONGEST_TIMESPAN_MS;
  // Violations that are kept for ever can be replayed for ever.
  const horizon = violationsMaxAgeMs === 0 ? 0 : nanos(requiredHorizonMs(violationsMaxAgeMs, longestTimespanMs));
  const make = (config: WantedStream) => stream(config, replicas);
  return [
    ...BUCKETS.map((limits) => bucketStream(limits, replicas)),
    make({
      name: 'VIOLATIONS',
      description: 'frames of violations, one a node and flush',
      subjects: [`${ROOT}.violations.>`],
      max_age: nanos(violationsMaxAgeMs),
      max_bytes: options.violationsMaxBytes ?? VIOLATIONS_MAX_BYTES,
      metadata: { [TIMESPAN_METADATA]: String(longestTimespanMs) },
    }),
    make({
      name: 'VERDICTS',
      description: 'one message a verdict, never twice',
      subjects: [`${ROOT}.verdicts.>`],
      max_age: horizon,
      max_bytes: VERDICTS_MAX_BYTES,
      discard: DiscardPolicy.New,
    }),
    make({
      name: 'RESPONSES',
      description: 'what was done about verdicts',
      subjects: [`${ROOT}.responses.>`],
      max_age: horizon,
      max_bytes: RESPONSES_MAX_BYTES,
      discard: DiscardPolicy.New,
    }),
    make({
      name: 'CONFIG_LOG',
      description: 'every revision of the configuration with the time the bus took it',
      sources: [
        {
          name: 'KV_bailiff_config',
          subject_transforms: [{ src: '$KV.bailiff_config.>', dest: `${ROOT}.config.>` }],
        },
      ],
      max_msgs_per_subject: CONFIG_LOG_PER_KEY,
      max_bytes: CONFIG_LOG_MAX_BYTES,
    }),
    make({
      name: 'DEAD_LETTERS',
      description: 'messages that could not be taken, with the reason',
      subjects: [`${ROOT}.deadletters.>`],
      max_age: nanos(violationsMaxAgeMs),
      max_bytes: DEAD_LETTERS_MAX_BYTES,
      max_msgs: DEAD_LETTERS_MAX_MESSAGES,
    }),
    make({
      name: 'SIEM',
      description: 'events for SIEM connectors, one a message',
      subjects: [`${ROOT}.siem.>`],
      max_age: nanos(SIEM_MAX_AGE_MS),
      max_bytes: SIEM_MAX_BYTES,
    }),
  ];
}

/** Name of the durable consumer for a format. */
export const siemConsumer = (format: string): string => `siem-${format}`;

/** Durable consumers that come with the streams: a connector needs no right to make one. Explicit acks, and never given up. */
export function consumerConfigs(): { stream: string; config: Partial<ConsumerConfig> & { durable_name: string } }[] {
  return SIEM_FORMATS.map((format) => ({
    stream: 'SIEM',
    config: {
      name: siemConsumer(format),
      durable_name: siemConsumer(format),
      description: `for one connector that reads ${format}, or several that share the work`,
      filter_subject: `${ROOT}.siem.${format}.>`,
      deliver_policy: DeliverPolicy.All,
      ack_policy: AckPolicy.Explicit,
      ack_wait: nanos(SIEM_ACK_WAIT_MS),
      max_ack_pending: SIEM_MAX_ACK_PENDING,
      max_deliver: -1,
      replay_policy: ReplayPolicy.Instant,
    },
  }));
}
