/**
 * Streams and buckets: names, subjects, and every limit with its reason. Pure data;
 * ensure-topology.ts creates them.
 *
 * VERDICTS and RESPONSES are kept as long as VIOLATIONS plus the longest timespan plus a day,
 * because their ids make a replay idempotent. If they are full before, correlator and responder
 * skip what is older than their first message. Every stream has a byte limit, which JetStream
 * reserves at creation.
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
import { MAX_PAYLOAD_BYTES } from './server-limits.ts';
import { SIEM_POSITIONS } from './siem-positions.ts';
import { ROOT } from './subjects.ts';

/** Remedy for a missing stream or bucket, for error messages. */
export const SETUP_REMEDY = '`bailiff bus setup` creates it; in Kubernetes, the Job bailiff-bus-setup does';

const MIB = 1024 ** 2;
const DAY_MS = 86_400_000;

/** How long violations are kept: a week covers a weekend and the Monday after it. */
export const VIOLATIONS_MAX_AGE_MS = 7 * DAY_MS;
/** Longest timespan of a correlation rule (libs/policy). */
export const LONGEST_TIMESPAN_MS = DAY_MS;
/**
 * Added to the replay horizon for VERDICTS and RESPONSES, so that clocks and late starts do not
 * matter.
 */
export const HORIZON_MARGIN_MS = DAY_MS;
/**
 * 100 nodes with one frame of 25 kB in 5 s produce 300 GB a week; a quiet fleet is 1,000 times
 * below. The oldest are deleted first.
 */
export const VIOLATIONS_MAX_BYTES = 4096 * MIB;
/**
 * A verdict is about 1 kB, at most about 12 kB. The oldest are deleted first: one tenant can fill
 * the stream, and must not stop the verdicts of others (streams/retention.ts).
 */
export const VERDICTS_MAX_BYTES = 512 * MIB;
/** Each verdict has its own subject, which takes 0.44 kB of server memory. */
export const VERDICTS_MAX_MESSAGES = 250_000;
/** Two records a verdict at half the size. The oldest are deleted first. */
export const RESPONSES_MAX_BYTES = 512 * MIB;
/** As for verdicts; two records a verdict. */
export const RESPONSES_MAX_MESSAGES = 500_000;
export const DEAD_LETTERS_MAX_BYTES = 256 * MIB;
/**
 * Each dead letter has its own subject (so that it is stored once), and a subject takes 0.44 kB of
 * server memory.
 */
export const DEAD_LETTERS_MAX_MESSAGES = 50_000;
/** As long as violations: a connector that was down over a weekend loses nothing. */
export const SIEM_MAX_AGE_MS = VIOLATIONS_MAX_AGE_MS;
/**
 * An event is 1 to 3 kB in each format; 1 GiB is about half a million. The oldest are deleted
 * first, and a consumer that misses some is notified.
 */
export const SIEM_MAX_BYTES = 1024 * MIB;
/**
 * Formats of SIEM events. Each has a durable consumer `siem-<format>` on SIEM, created with the
 * stream.
 */
export const SIEM_FORMATS = ['ocsf', 'ecs', 'cef'] as const;
export type SiemFormat = (typeof SIEM_FORMATS)[number];
/** An event that a connector received but did not acknowledge is redelivered after this. */
export const SIEM_ACK_WAIT_MS = 30_000;
/** Unacknowledged events of a connector; more than a batch of any client. */
export const SIEM_MAX_ACK_PENDING = 5_000;
/** Longest pull: one whose reply subject another connector subscribes to outlives its sender. */
export const SIEM_MAX_PULL_MS = 60_000;
/**
 * How long the server remembers the message ids of events in SIEM: longer than any retry. It keeps each id in memory,
 * and an id may have 64 kB.
 */
export const DUPLICATE_WINDOW_MS = 120_000;
/**
 * The same for other streams, the lowest value that the server accepts: with two minutes, a credential that may
 * write no more than its own status fills the memory of the server within seconds. A frame that is
 * resent after a lost ack is therefore stored twice, and readers recognise it (streams/repeated-frames.ts). Other writers set
 * conditions instead of ids.
 */
export const SHORT_DUPLICATE_WINDOW_MS = 100;
/**
 * The same for buckets with copies: a copy drops messages whose id it knows, so it must forget it long before its
 * bucket does.
 */
export const COPIED_DUPLICATE_WINDOW_MS = 10_000;
/**
 * Revisions of a key that the bucket and CONFIG_LOG keep, by number and not by age: an operator's
 * change of last year may still be in force. 64 is the maximum of a KV bucket.
 */
export const CONFIG_HISTORY = 64;
/** 64 revisions of a few hundred keys of some kB. A full bucket refuses new values. */
export const CONFIG_MAX_BYTES = 256 * MIB;
/** Keys with a full history; more keys with fewer revisions each. */
export const CONFIG_MAX_KEYS = 2_048;
/**
 * Nodes with a quarantine since the installation, also those that are gone. Without a limit, a credential of an
 * operator stores 1.2 million keys within half a minute: their subjects take 1.4 GiB of the server's memory for
 * good, and a responder reads them at each start.
 */
export const QUARANTINE_MAX_KEYS = 131_072;
/** What the server adds to a copied message: the header `Nats-Stream-Source`, without the subject. */
const COPY_OVERHEAD_BYTES = 256;
/**
 * Room for a copy of everything that a bucket can hold. A copy deletes its oldest messages when it
 * is full, so one key's changes would delete the values of other keys. With this size it is never
 * full: a copy repeats the subject in a header, and is at most twice as long. The pod lists are
 * far longer than their subjects, as ipam-sync writes them.
 */
export function copyMaxBytes(bucket: string, bucketMaxBytes: number, bucketMaxMessages = 0): number {
  const { history = 1, maxKeys = 0 } = BUCKETS.find((one) => one.bucket === bucket) ?? {};
  const messages = Math.max(history * maxKeys, bucketMaxMessages);
  return maxKeys > 0 ? 2 * bucketMaxBytes + messages * COPY_OVERHEAD_BYTES : 1.125 * bucketMaxBytes;
}

/**
 * Instances of services, with those of the last hour. Readers get all keys: without a limit, the credential of one
 * service stores so many that no reader gets them in time: 40,000 took 4 s.
 */
export const SERVICES_MAX_KEYS = 1_024;
/** How long the last status of a service instance is kept. */
export const INSTANCE_MAX_AGE_MS = 3_600_000;
/**
 * How long the last status of a node is kept. A collector publishes it every few seconds, so only
 * a node that is gone loses it. A node that is silent for a month is still named until then.
 */
export const NODE_MAX_AGE_MS = 30 * DAY_MS;

export interface BucketLimits {
  bucket: string;
  description: string;
  maxBytes: number;
  maxValueBytes: number;
  history: number;
  /**
   * Keys with a full history, which limit the number of messages; 0: no limit. Each key takes 0.44
   * kB of server memory.
   */
  maxKeys: number;
  /**
   * The only keys; empty: any. No other subject can then be stored, so the bucket never fills,
   * whatever reply subject a client in the core account chooses.
   */
  keys: readonly string[];
  /** Pushed to `bailiff.v1.push.<bucket>.<key>` on each change. */
  push: boolean;
  /**
   * A copy, `LATEST_<bucket>`, keeps only the newest revision of each key. Nodes read it instead of
   * the bucket, so that none of their requests holds up a write (kv/bucket-copy.ts).
   */
  latest: boolean;
  /** Only the first value of a key is accepted. */
  createOnly: boolean;
  /** A value expires after this unless it is renewed; 0: never. */
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
  maxKeys: 0,
  keys: [],
  push: false,
  latest: false,
  createOnly: false,
  maxAgeMs: 0,
  ...more,
});

/** Room for the headers of a put in addition to the largest value. */
const PUT_HEADERS_BYTES = 4096;

export const BUCKETS: readonly BucketLimits[] = [
  // 2,000 nodes with a full snapshot of 512 KiB each. An ordinary one (110 pods) is about 100 kB;
  // one of 500 pods is 100 kB compressed.
  bucket('pods', 'identities of the pods of each node', 1024 * MIB, MIB / 2, { push: true, latest: true }),
  bucket('quarantine', 'quarantined pods of each node', 64 * MIB, MIB / 4, {
    push: true,
    latest: true,
    maxKeys: QUARANTINE_MAX_KEYS,
  }),
  bucket('config', 'what operators tune', CONFIG_MAX_BYTES, MIB / 4, {
    push: true,
    latest: true,
    history: CONFIG_HISTORY,
    maxKeys: CONFIG_MAX_KEYS,
  }),
  bucket('schemas', 'Avro schemas by fingerprint', 16 * MIB, MIB / 16, { createOnly: true }),
  bucket('nodes', 'status of each node', 512 * MIB, MIB / 2, { maxAgeMs: NODE_MAX_AGE_MS }),
  // Renewed every 10 s: an instance that ended without a final status expires.
  bucket('services', 'status of correlators, responders and ipam-syncs', 16 * MIB, MIB / 8, {
    maxAgeMs: INSTANCE_MAX_AGE_MS,
    maxKeys: SERVICES_MAX_KEYS,
  }),
  // A position of a webhook lists up to some 6,000 events (apps/siem-relay/src/position.ts).
  bucket('siem', 'how far the siem-relay has come', 2 * MIB, MIB / 8, { keys: SIEM_POSITIONS }),
];

/**
 * Options of the topology. On an existing bus, options that are not set keep their value
 * (topology-plan.ts).
 */
export interface TopologyOptions {
  /** 1 on a single server, 3 in a cluster. Default 1. */
  replicas?: number | undefined;
  /** 0: no age limit. */
  violationsMaxAgeMs?: number | undefined;
  /** Longest timespan of any correlation rule that may be configured. */
  longestTimespanMs?: number | undefined;
  violationsMaxBytes?: number | undefined;
  /** Allow a shorter age, fewer bytes or fewer replicas than now. Default false. */
  shrink?: boolean | undefined;
}

/** Minimum age of VERDICTS and RESPONSES. */
export function requiredHorizonMs(violationsMaxAgeMs: number, longestTimespanMs: number): number {
  return violationsMaxAgeMs + longestTimespanMs + HORIZON_MARGIN_MS;
}

/** Metadata key of VIOLATIONS with the longest timespan that it was created for. */
export const TIMESPAN_METADATA = 'bailiff.longest-timespan-ms';

/** Wanted fields of a stream's configuration. */
export type WantedStream = Partial<StreamConfig> & { name: string };

const nanos = (ms: number) => ms * 1_000_000;

function stream(config: WantedStream, replicas: number): WantedStream {
  return {
    storage: StorageType.File,
    retention: RetentionPolicy.Limits,
    discard: DiscardPolicy.Old,
    num_replicas: replicas,
    allow_direct: true,
    // Messages stay until a limit removes them, so that evidence cannot be edited.
    deny_delete: true,
    deny_purge: true,
    allow_rollup_hdrs: false,
    // Also on a server with a higher max_payload.
    max_msg_size: MAX_PAYLOAD_BYTES,
    duplicate_window: nanos(SHORT_DUPLICATE_WINDOW_MS),
    ...config,
  };
}

function bucketStream(limits: BucketLimits, replicas: number): WantedStream {
  const subject = `$KV.${limits.bucket}.>`;
  const isFixed = limits.keys.length > 0;
  return {
    name: `KV_${limits.bucket}`,
    description: limits.description,
    subjects: isFixed ? limits.keys.map((key) => `$KV.${limits.bucket}.${key}`) : [subject],
    storage: StorageType.File,
    retention: RetentionPolicy.Limits,
    // Fixed keys always fit. Older values of other keys must not refuse them.
    discard: isFixed ? DiscardPolicy.Old : DiscardPolicy.New,
    discard_new_per_subject: limits.createOnly,
    num_replicas: replicas,
    max_msgs_per_subject: limits.history,
    ...(limits.maxKeys > 0 ? { max_msgs: limits.maxKeys * limits.history } : {}),
    max_bytes: limits.maxBytes,
    ...(limits.maxAgeMs > 0 ? { max_age: nanos(limits.maxAgeMs) } : {}),
    max_msg_size: limits.maxValueBytes + PUT_HEADERS_BYTES,
    allow_direct: true,
    // A rollup header on one key would remove all others, and a purge any.
    allow_rollup_hdrs: false,
    deny_delete: true,
    deny_purge: true,
    duplicate_window: nanos(limits.latest ? COPIED_DUPLICATE_WINDOW_MS : SHORT_DUPLICATE_WINDOW_MS),
    ...(limits.push ? { republish: { src: subject, dest: `${ROOT}.push.${limits.bucket}.>` } } : {}),
  };
}

/** Name of the stream with the newest revision of each key of a bucket. */
export const latestStream = (bucket: string): string => `LATEST_${bucket}`;
export const LATEST_STREAMS: readonly string[] = BUCKETS.filter(({ latest }) => latest).map(({ bucket }) =>
  latestStream(bucket),
);

/** All streams in order of creation: copies after their bucket. */
export function streamConfigs(options: TopologyOptions = {}): WantedStream[] {
  const replicas = options.replicas ?? 1;
  const violationsMaxAgeMs = options.violationsMaxAgeMs ?? VIOLATIONS_MAX_AGE_MS;
  const longestTimespanMs = options.longestTimespanMs ?? LONGEST_TIMESPAN_MS;
  // Violations without an age limit can be replayed without one.
  const horizon = violationsMaxAgeMs === 0 ? 0 : nanos(requiredHorizonMs(violationsMaxAgeMs, longestTimespanMs));
  const make = (config: WantedStream) => stream(config, replicas);
  return [
    ...BUCKETS.map((limits) => bucketStream(limits, replicas)),
    ...BUCKETS.filter(({ latest }) => latest).map(({ bucket, maxBytes }) =>
      make({
        name: latestStream(bucket),
        description: `newest revision of each key of ${bucket}`,
        // Not a mirror: the server makes a mirror respond to direct gets of its bucket.
        sources: [{ name: `KV_${bucket}` }],
        max_msgs_per_subject: 1,
        max_bytes: copyMaxBytes(bucket, maxBytes),
      }),
    ),
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
      max_msgs: VERDICTS_MAX_MESSAGES,
    }),
    make({
      name: 'RESPONSES',
      description: 'what was done about verdicts',
      subjects: [`${ROOT}.responses.>`],
      max_age: horizon,
      max_bytes: RESPONSES_MAX_BYTES,
      max_msgs: RESPONSES_MAX_MESSAGES,
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
      max_msgs_per_subject: CONFIG_HISTORY,
      max_bytes: copyMaxBytes('bailiff_config', CONFIG_MAX_BYTES),
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
      duplicate_window: nanos(DUPLICATE_WINDOW_MS),
    }),
  ];
}

/** Name of the durable consumer for a format. */
export const siemConsumer = (format: string): string => `siem-${format}`;

/**
 * Durable consumers, because a connector may create none. Explicit acks, redelivered without limit.
 */
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
      max_expires: nanos(SIEM_MAX_PULL_MS),
      max_deliver: -1,
      replay_policy: ReplayPolicy.Instant,
    },
  }));
}
