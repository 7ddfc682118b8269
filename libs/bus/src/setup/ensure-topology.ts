/**
 * Creates or updates streams, buckets and registered schemas as topology.ts defines, and checks the
 * retention horizon.
 *
 * The admin identity runs it once (lab, installer); apps only check. It is idempotent: matching
 * streams are left alone, others are updated. A setting that cannot be updated is BUS_TOPOLOGY. A
 * lower limit is BUS_SHRINK unless `shrink` is set (topology-plan.ts decides).
 */

import { CURRENT_SCHEMAS, fingerprintHex, RELEASED_SCHEMAS } from '@bailiff/schemas';
import { AckPolicy, type ConsumerInfo, DeliverPolicy, type StreamInfo } from '@nats-io/jetstream';
import type { Bus } from '../connection/connect.ts';
import { BusError, toBusError } from '../connection/errors.ts';
import { apiRequest } from '../connection/request.ts';
import { openBucket } from '../kv/bucket.ts';
import { SCHEMAS_BUCKET, schemaKey } from '../kv/schema-lookup.ts';
import { findStream, storedStreamInfo, streamInfo } from '../streams/direct.ts';
import { createdMicrosOf, isRestoring, metadataOfRestored } from '../streams/stream-lives.ts';
import {
  consumerConfigs,
  LATEST_STREAMS,
  requiredHorizonMs,
  streamConfigs,
  TIMESPAN_METADATA,
  type TopologyOptions,
  type WantedStream,
} from '../topology/topology.ts';
import {
  bytesText,
  type ChosenTopology,
  type Loss,
  lossText,
  planTopology,
  replicasText,
} from '../topology/topology-plan.ts';

type WantedConsumer = ReturnType<typeof consumerConfigs>[number]['config'];
const isCopy = (name: string) => LATEST_STREAMS.includes(name);

/** Existing streams by name. */
type Found = Map<string, StreamInfo>;

/**
 * Settings of a stream that Bailiff does not use. Each makes a stream take messages of other subjects or streams,
 * send them elsewhere, delete them earlier or accept none. `undefined`: absent or false.
 */
const UNUSED: Partial<WantedStream> = {
  max_msgs: -1,
  max_msgs_per_subject: -1,
  max_age: 0,
  max_consumers: -1,
  ...Object.fromEntries(
    [
      ...['subjects', 'sources', 'mirror', 'subject_transform', 'republish', 'consumer_limits', 'no_ack', 'sealed'],
      ...['discard_new_per_subject', 'allow_msg_ttl', 'subject_delete_marker_ttl', 'allow_msg_counter'],
      ...['allow_msg_schedules', 'allow_atomic', 'allow_batched'],
    ].map((name) => [name, undefined]),
  ),
};

/**
 * Whether `found` has all that is wanted. Fields that the server adds do not matter, except in
 * lists.
 */
function covers(found: unknown, wanted: unknown): boolean {
  if (wanted === undefined) return !found || (typeof found === 'object' && Object.keys(found).length === 0);
  if (typeof wanted !== 'object' || wanted === null)
    return found === wanted || (wanted === false && found === undefined);
  if (typeof found !== 'object' || found === null) return false;
  if (Array.isArray(wanted) && wanted.length !== (found as unknown[]).length) return false;
  return Object.entries(wanted).every(([key, value]) => covers((found as Record<string, unknown>)[key], value));
}

async function putStream(bus: Bus, config: WantedStream, found: StreamInfo | null): Promise<boolean> {
  const wanted = { ...UNUSED, ...config };
  if (found && covers(found.config, wanted)) return false;
  try {
    // Its restore ended early. It takes no message, so this is its last one.
    const before =
      found && isRestoring(found.config)
        ? metadataOfRestored(found.config, found.state.last_seq, Date.now())
        : found?.config.metadata;
    const metadata = { ...before, ...wanted.metadata };
    if (found) await apiRequest(bus, `$JS.API.STREAM.UPDATE.${config.name}`, { ...found.config, ...wanted, metadata });
    else await apiRequest(bus, `$JS.API.STREAM.CREATE.${config.name}`, config);
    return true;
  } catch (cause) {
    const error = toBusError(cause, config.name);
    if (error.code === 'BUS_FULL') {
      const room = `the servers have no room for its ${bytesText(config.max_bytes ?? 0)}`;
      throw new BusError(
        'BUS_FULL',
        `${config.name}: ${room}: raise max_file_store and the disk, or keep fewer bytes`,
        {
          cause,
        },
      );
    }
    if (!found || error.code !== 'BUS_REFUSED') throw error;
    throw new BusError('BUS_TOPOLOGY', `${config.name} exists and cannot be changed: ${error.message}`, { cause });
  }
}

/**
 * Deletes a copy of an earlier life of its bucket, and one that had less room than its bucket and lacks keys: the
 * server would copy only what is beyond the last revision that was copied. @returns whether it did
 */
async function dropOutdatedCopy(bus: Bus, { name, max_bytes = 0 }: WantedStream, bucket: string): Promise<boolean> {
  // In this order: a message that is stored in between is in the bucket.
  const copy = await streamInfo(bus, name);
  const origin = await streamInfo(bus, bucket);
  const isYounger = createdMicrosOf(copy) >= createdMicrosOf(origin);
  const lacksKeys = copy.config.max_bytes < max_bytes && copy.state.num_subjects !== origin.state.num_subjects;
  if (isYounger && copy.state.last_seq <= origin.state.last_seq && !lacksKeys) return false;
  await apiRequest(bus, `$JS.API.STREAM.DELETE.${name}`);
  return true;
}

/** Number of messages older than a time, counted by a consumer that is deleted at once. */
async function countOlder(bus: Bus, info: StreamInfo, beforeMs: number): Promise<number> {
  const { name } = info.config;
  if (info.state.messages === 0 || Date.parse(info.state.first_ts) >= beforeMs) return 0;
  const consumer = await apiRequest<ConsumerInfo>(bus, `$JS.API.CONSUMER.CREATE.${name}`, {
    stream_name: name,
    config: {
      deliver_policy: DeliverPolicy.StartTime,
      opt_start_time: new Date(beforeMs).toISOString(),
      ack_policy: AckPolicy.None,
      num_replicas: 1,
      mem_storage: true,
    },
  });
  await apiRequest(bus, `$JS.API.CONSUMER.DELETE.${name}.${consumer.name}`);
  return info.state.messages - consumer.num_pending;
}

/** One sentence for each loss. */
async function lossTexts(bus: Bus, losses: readonly Loss[], found: Found, nowMs: number): Promise<string[]> {
  const replicas = losses.filter(({ limit }) => limit === 'num_replicas');
  const texts = replicas.length > 0 ? [replicasText(replicas)] : [];
  for (const loss of losses) {
    const info = found.get(loss.stream);
    if (!info || loss.limit === 'num_replicas') continue;
    const older = loss.limit === 'max_age' ? await countOlder(bus, info, nowMs - loss.to / 1_000_000) : 0;
    texts.push(lossText(loss, { ...info.state, older }));
  }
  return texts;
}

/** A paused consumer delivers nothing, and stays paused when it is created again (nats-server from 2.11 on). */
async function putConsumer(bus: Bus, stream: string, config: WantedConsumer): Promise<void> {
  const name = config.durable_name;
  // Created again: the server treats an identical configuration as no change, and the position stays.
  const request = { stream_name: stream, config };
  const put = apiRequest<ConsumerInfo>(
    bus,
    `$JS.API.CONSUMER.CREATE.${stream}.${name}.${config.filter_subject}`,
    request,
  );
  const { paused } = await put;
  if (paused) await apiRequest(bus, `$JS.API.CONSUMER.PAUSE.${stream}.${name}`, {});
}

/** Stores schemas under their fingerprints; existing ones stay. Admin identity. */
export async function registerSchemas(bus: Bus, texts: readonly string[]): Promise<void> {
  const bucket = openBucket(bus, SCHEMAS_BUCKET);
  for (const text of texts) {
    const key = schemaKey(fingerprintHex(JSON.parse(text)));
    if ((await bucket.get(key)) !== null) continue;
    try {
      await bucket.create(key, text);
    } catch (error) {
      if (toBusError(error, key).code !== 'BUS_EXISTS') throw error;
    }
  }
}

export interface TopologyReport {
  /** Options in force now. */
  options: ChosenTopology;
  /** Names of created and of changed streams. */
  created: string[];
  changed: string[];
  /** One sentence for each lowered limit; empty without `shrink`. */
  losses: string[];
}

/**
 * Creates or updates all streams, buckets, consumers and schemas. Needs the admin identity. Options
 * that are not set keep their current value. Without `shrink` a lower limit fails before any
 * change.
 * @throws BusError BUS_SHRINK, BUS_TOPOLOGY, BUS_FULL and what request throws
 */
export async function ensureTopology(bus: Bus, options: TopologyOptions = {}): Promise<TopologyReport> {
  const found: Found = new Map();
  for (const { name } of streamConfigs()) {
    const info = await findStream(bus, name, storedStreamInfo);
    if (info) found.set(name, info);
  }
  const plan = planTopology(new Map([...found].map(([name, { config }]) => [name, config])), options);
  const losses = plan.refused || options.shrink ? await lossTexts(bus, plan.losses, found, Date.now()) : [];
  if (plan.refused) {
    throw new BusError('BUS_SHRINK', ['nothing was changed, because limits would decrease:', ...losses].join('\n'));
  }
  const report: TopologyReport = { options: plan.options, created: [], changed: [], losses };
  for (const config of plan.streams) {
    let before = found.get(config.name) ?? null;
    const [source] = isCopy(config.name) ? (config.sources ?? []) : [];
    if (before && source && (await dropOutdatedCopy(bus, config, source.name))) before = null;
    if (await putStream(bus, config, before)) (before ? report.changed : report.created).push(config.name);
  }
  for (const { stream, config } of consumerConfigs()) await putConsumer(bus, stream, config);
  await registerSchemas(
    bus,
    [...RELEASED_SCHEMAS, ...CURRENT_SCHEMAS].map(({ text }) => text),
  );
  return report;
}

export interface HorizonReport {
  ok: boolean;
  violationsMaxAgeMs: number;
  longestTimespanMs: number;
  requiredMs: number;
  /** 0 = no age limit. */
  verdictsMaxAgeMs: number;
  responsesMaxAgeMs: number;
  /** One sentence for each stream with too short a retention. */
  problems: string[];
}

/**
 * Whether VERDICTS and RESPONSES are kept long enough for a replay of VIOLATIONS to find every
 * earlier verdict.
 * @param longestTimespanMs of the rules in force; default: the timespan that VIOLATIONS was created
 * for
 */
export async function checkHorizon(bus: Bus, longestTimespanMs?: number): Promise<HorizonReport> {
  const [violations, verdicts, responses] = await Promise.all(
    ['VIOLATIONS', 'VERDICTS', 'RESPONSES'].map((name) => streamInfo(bus, name)),
  );
  const ageMs = (info: StreamInfo | undefined) => Math.round((info?.config.max_age ?? 0) / 1_000_000);
  const timespanMs = longestTimespanMs ?? Number(violations?.config.metadata?.[TIMESPAN_METADATA] ?? 0);
  const violationsMaxAgeMs = ageMs(violations);
  const requiredMs =
    violationsMaxAgeMs === 0 ? Number.POSITIVE_INFINITY : requiredHorizonMs(violationsMaxAgeMs, timespanMs);
  const problems = [
    { name: 'VERDICTS', keptMs: ageMs(verdicts) },
    { name: 'RESPONSES', keptMs: ageMs(responses) },
  ]
    .filter(({ keptMs }) => keptMs !== 0 && keptMs < requiredMs)
    .map(({ name, keptMs }) => `${name} keeps ${keptMs} ms; a replay needs ${requiredMs} ms`);
  return {
    ok: problems.length === 0,
    violationsMaxAgeMs,
    longestTimespanMs: timespanMs,
    requiredMs,
    verdictsMaxAgeMs: ageMs(verdicts),
    responsesMaxAgeMs: ageMs(responses),
    problems,
  };
}

/** checkHorizon as a check at start. @throws BusError BUS_HORIZON */
export async function requireHorizon(bus: Bus, longestTimespanMs?: number): Promise<HorizonReport> {
  const report = await checkHorizon(bus, longestTimespanMs);
  if (!report.ok) throw new BusError('BUS_HORIZON', report.problems.join('; '));
  return report;
}
