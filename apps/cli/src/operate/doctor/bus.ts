/** Checks of the bus: reachable, set up, and with sufficient retention. */

import { type Bus, checkHorizon, JETSTREAM_OFF, JETSTREAM_OFF_REMEDY, schemaLookup } from '@bailiff/bus';
import { lacksJetStream, readFacts } from '@bailiff/insight';
import type { SignedConfig } from '@bailiff/policy';
import { type ClusterFacts, judge, STALE_NODE_MS } from '@bailiff/response';
import { CURRENT_SCHEMAS, fingerprintHex } from '@bailiff/schemas';
import { EXIT } from '@bailiff/service';
import type { Command } from 'commander';
import { type Connection, NO_BUS } from '../../shared/bus/connection.ts';
import { CliError, describeError } from '../../shared/errors.ts';
import type { CliIo } from '../../shared/io.ts';
import {
  type BusOptionValues,
  busTimeoutOf,
  connectionOf,
  explainJetStreamOff,
  optionsOf,
  type Session,
  sessionOn,
  withBus,
} from '../../shared/session.ts';
import { clusterFindings, serverFinding } from './bus-rules.ts';
import { type Finding, fail, type Group, notChecked, ok, warn } from './finding.ts';

const NONE_VISIBLE =
  'run `bailiff bus setup` as admin. If nothing is missing, copy the whole block `accounts` of nats.conf to the servers and reload them';
const SET_UP = 'run `bailiff bus setup` with the admin user of the bus';

const ALL_STREAMS = 'streams and buckets';

/** Null if all streams exist: only then can the other checks work. */
function missingFinding(bus: Bus, facts: ClusterFacts): Finding | null {
  const missing = [...facts.streams].flatMap(([name, info]) => (info === null ? [name] : []));
  const [name, code] = [ALL_STREAMS, EXIT.dependencyUnreachable] as const;
  if (missing.length === 0) return null;
  if (lacksJetStream(bus, facts)) return fail(name, JETSTREAM_OFF, JETSTREAM_OFF_REMEDY, code);
  if (missing.length < facts.streams.size || bus.user === 'admin')
    return fail(name, `no ${missing.join(', ')}`, SET_UP, code);
  const text = `${bus.user} sees none: the bus is not set up, or its servers do not import them for ${bus.user}`;
  return fail(name, text, NONE_VISIBLE, code);
}

async function horizonFinding(bus: Bus): Promise<Finding[]> {
  const { ok: good, problems } = await checkHorizon(bus);
  if (good) return [ok('horizon', 'verdicts and responses are retained long enough for a replay')];
  return [fail('horizon', problems.join('; '), 'raise max_age of VERDICTS and RESPONSES', EXIT.badConfiguration)];
}

async function schemaFinding(bus: Bus): Promise<Finding[]> {
  const lookUp = schemaLookup(bus);
  const missing: string[] = [];
  for (const { text } of CURRENT_SCHEMAS) {
    const fingerprint = fingerprintHex(JSON.parse(text));
    if ((await lookUp(fingerprint)) === null) missing.push(fingerprint);
  }
  if (missing.length === 0) return [ok('schemas', 'all schemas of this version are registered')];
  const text = `not registered: ${missing.join(', ')}; readers of other versions cannot decode our messages`;
  return [warn('schemas', text, SET_UP)];
}

/** An error of a check as a finding, so that the other checks run. */
function failureOf(name: string, error: unknown): Finding {
  const { lines, exitCode } = describeError(error, false);
  const [first = '', ...more] = lines;
  return fail(name, first.replace(/^bailiff: /, ''), more.join(' ').trim(), exitCode);
}

/** Each further check would wait for the same bus again. */
const SILENT: ReadonlySet<unknown> = new Set(['BUS_TIMEOUT', 'BUS_UNREACHABLE', 'BUS_CLOSED']);

async function busFindings(
  io: CliIo,
  connection: Connection,
  timeoutMs: number,
  signed: SignedConfig,
): Promise<Finding[]> {
  try {
    return await withBus(io, connection, timeoutMs, (bus) => checksOf(sessionOn(io, connection, bus), signed));
  } catch (error) {
    io.signal.throwIfAborted();
    return [failureOf('reachable', error)];
  }
}

async function checksOf(session: Session, signed: SignedConfig): Promise<Finding[]> {
  const { io, bus, connection } = session;
  const { version = '0', cluster } = bus.nc.info ?? {};
  const findings = [ok('reachable', `as ${connection.natsUser}`), serverFinding(version, cluster !== undefined)];
  const checks: [string, () => Promise<Finding[]>][] = [
    ['cluster', () => clusterChecks(session, signed)],
    ['horizon', () => horizonFinding(bus)],
    ['schemas', () => schemaFinding(bus)],
  ];
  for (const [name, check] of checks) {
    try {
      findings.push(...(await check()));
    } catch (cause) {
      io.signal.throwIfAborted();
      findings.push(failureOf(name, explainJetStreamOff(bus, cause)));
      if (SILENT.has((cause as { code?: unknown }).code)) break;
    }
    if (findings.some(({ name: found, state }) => found === ALL_STREAMS && state === 'fail')) break;
  }
  return findings;
}

async function clusterChecks(session: Session, signed: SignedConfig): Promise<Finding[]> {
  const facts = await readFacts(session, STALE_NODE_MS, signed);
  const missing = missingFinding(session.bus, facts);
  return missing ? [missing] : clusterFindings(facts, judge(facts));
}

/** @returns the group, and the connection if one is selected */
export async function busGroup(
  io: CliIo,
  command: Command,
  signed: SignedConfig,
): Promise<{ group: Group; connection: Connection | null }> {
  const timeoutMs = busTimeoutOf(optionsOf<BusOptionValues>(command));
  let connection: Connection;
  try {
    connection = await connectionOf(io, command);
  } catch (error) {
    io.signal.throwIfAborted();
    const isUnnamed = error instanceof CliError && error.message === NO_BUS;
    const finding = isUnnamed ? notChecked(NO_BUS, error.remedy.split('\n')[0]) : failureOf('selection', error);
    return { group: { title: 'Bus', findings: [finding] }, connection: null };
  }
  const title = `Bus (${connection.source === '--nats-url' ? connection.natsUrl.replace(/\/\/[^@/]*@/, '//') : connection.source})`;
  return { group: { title, findings: await busFindings(io, connection, timeoutMs, signed) }, connection };
}
