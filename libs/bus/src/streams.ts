/**
 * Makes the streams, buckets and the registered schemas as topology.ts says, and checks the horizon.
 *
 * Place in the path: run once by the admin identity (lab, installer); the apps only check. Idempotent: what is there and right is
 * left alone, what differs is updated, what cannot be updated is BUS_TOPOLOGY.
 */

import { CURRENT_SCHEMAS, fingerprintHex, RELEASED_SCHEMAS } from '@bailiff/schemas';
import type { StreamConfig, StreamInfo } from '@nats-io/jetstream';
import type { Bus } from './connect.ts';
import { streamInfo } from './direct.ts';
import { BusError, toBusError } from './errors.ts';
import { openBucket } from './kv.ts';
import { apiRequest } from './request.ts';
import {
  consumerConfigs,
  requiredHorizonMs,
  streamConfigs,
  TIMESPAN_METADATA,
  type TopologyOptions,
} from './topology.ts';

/** Whether all that is wanted is there; what the server adds of its own does not matter, except to a list. */
function covers(found: unknown, wanted: unknown): boolean {
  if (typeof wanted !== 'object' || wanted === null)
    return found === wanted || (wanted === false && found === undefined);
  if (typeof found !== 'object' || found === null) return false;
  if (Array.isArray(wanted) && wanted.length !== (found as unknown[]).length) return false;
  return Object.entries(wanted).every(([key, value]) => covers((found as Record<string, unknown>)[key], value));
}

async function ensureStream(bus: Bus, config: Partial<StreamConfig> & { name: string }): Promise<void> {
  let found: StreamInfo | null = null;
  try {
    found = await streamInfo(bus, config.name);
  } catch (error) {
    if (toBusError(error, config.name).code !== 'BUS_NO_STREAM') throw error;
  }
  if (!found) {
    await apiRequest(bus, `$JS.API.STREAM.CREATE.${config.name}`, config);
    return;
  }
  if (covers(found.config, config)) return;
  try {
    await apiRequest(bus, `$JS.API.STREAM.UPDATE.${config.name}`, { ...found.config, ...config });
  } catch (cause) {
    const error = toBusError(cause, config.name);
    if (error.code !== 'BUS_REFUSED') throw error;
    throw new BusError('BUS_TOPOLOGY', `${config.name} exists and cannot be changed: ${error.message}`, { cause });
  }
}

/** Puts schema texts under their fingerprints; those that are there stay. Admin identity. */
export async function registerSchemas(bus: Bus, texts: readonly string[]): Promise<void> {
  const bucket = openBucket(bus, 'bailiff_schemas');
  for (const text of texts) {
    const key = `fp-${fingerprintHex(JSON.parse(text))}`;
    if ((await bucket.get(key)) !== null) continue;
    try {
      await bucket.create(key, text);
    } catch (error) {
      if (toBusError(error, key).code !== 'BUS_EXISTS') throw error;
    }
  }
}

/** Creates or updates everything on the bus. Needs the admin identity. @throws BusError BUS_TOPOLOGY and what request throws */
export async function ensureTopology(bus: Bus, options: TopologyOptions = {}): Promise<void> {
  for (const config of streamConfigs(options)) await ensureStream(bus, config);
  // Made again as it is: the server takes the same configuration as no change, and its position stays.
  for (const { stream, config } of consumerConfigs()) {
    const subject = `$JS.API.CONSUMER.CREATE.${stream}.${config.durable_name}.${config.filter_subject}`;
    await apiRequest(bus, subject, { stream_name: stream, config });
  }
  await registerSchemas(
    bus,
    [...RELEASED_SCHEMAS, ...CURRENT_SCHEMAS].map(({ text }) => text),
  );
}

export interface HorizonReport {
  ok: boolean;
  violationsMaxAgeMs: number;
  longestTimespanMs: number;
  requiredMs: number;
  /** 0 = kept for ever. */
  verdictsMaxAgeMs: number;
  responsesMaxAgeMs: number;
  /** One sentence for each stream that keeps too little. */
  problems: string[];
}

/**
 * Whether VERDICTS and RESPONSES keep long enough for a replay of VIOLATIONS to find every verdict that it gave before.
 * @param longestTimespanMs of the rules in force; by default what VIOLATIONS was made for
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

/** The same as a check at start. @throws BusError BUS_HORIZON */
export async function requireHorizon(bus: Bus, longestTimespanMs?: number): Promise<HorizonReport> {
  const report = await checkHorizon(bus, longestTimespanMs);
  if (!report.ok) throw new BusError('BUS_HORIZON', report.problems.join('; '));
  return report;
}
