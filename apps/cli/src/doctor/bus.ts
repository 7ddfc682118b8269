/** Checks of the bus: reachable, set up, and with sufficient retention. */

import {
  BUCKETS,
  type Bus,
  checkHorizon,
  isJetStreamOff,
  JETSTREAM_OFF,
  JETSTREAM_OFF_REMEDY,
  openBucket,
  schemaLookup,
} from '@bailiff/bus';
import { readServiceStatus } from '@bailiff/response';
import { CURRENT_SCHEMAS, fingerprintHex, type NodeStatus } from '@bailiff/schemas';
import { EXIT } from '@bailiff/service';
import { type Connection, NO_BUS } from '../shared/bus/connection.ts';
import { refusalOf } from '../shared/config-keys/keys.ts';
import { CliError, describeError } from '../shared/errors.ts';
import type { CliIo } from '../shared/io.ts';
import { readInstances } from '../shared/read/instances.ts';
import { readNodes } from '../shared/read/nodes.ts';
import { readStreams } from '../shared/read/streams.ts';
import { type BusOptionValues, busTimeoutOf, connectionOf, explainJetStreamOff, withBus } from '../shared/session.ts';
import { plural } from '../shared/text/plural.ts';
import { fillOf } from '../status/fill.ts';
import { activeInstances } from '../status/instances.ts';
import { serviceLines, serviceProblems } from '../status/services.ts';
import { taintProblems, taintsLine, taintsOf } from '../status/taints.ts';
import { cniFindings, fillFindings, runtimeFindings, serverFinding } from './bus-rules.ts';
import { type Finding, fail, type Group, ok, skip, warn } from './finding.ts';

const STREAMS = ['VIOLATIONS', 'VERDICTS', 'RESPONSES', 'CONFIG_LOG', 'DEAD_LETTERS', 'SIEM', 'LATEST_bailiff_config'];
const NONE_VISIBLE =
  'run `bailiff bus setup` as admin. If nothing is missing, copy the whole block `accounts` of nats.conf to the servers and reload them';
const SET_UP = 'run `bailiff bus setup` with the admin user of the bus';

async function streamFindings(bus: Bus): Promise<Finding[]> {
  const streams = await readStreams(bus, [...STREAMS, ...BUCKETS.map(({ bucket }) => `KV_${bucket}`)]);
  const missing = [...streams].flatMap(([name, info]) => (info === null ? [name] : []));
  if (missing.length === streams.size && isJetStreamOff(bus)) {
    return [fail('streams and buckets', JETSTREAM_OFF, JETSTREAM_OFF_REMEDY, EXIT.dependencyUnreachable)];
  }
  if (missing.length === streams.size && bus.user !== 'admin') {
    const text = `${bus.user} sees none: the bus is not set up, or its servers do not import them for ${bus.user}`;
    return [fail('streams and buckets', text, NONE_VISIBLE, EXIT.dependencyUnreachable)];
  }
  if (missing.length > 0) {
    return [fail('streams and buckets', `no ${missing.join(', ')}`, SET_UP, EXIT.dependencyUnreachable)];
  }
  const fills = [...streams.values()].flatMap((info) => (info === null ? [] : [fillOf(info)]));
  return [ok('streams and buckets', `all ${streams.size}`), ...fillFindings(fills)];
}

async function horizonFinding(bus: Bus): Promise<Finding> {
  const { ok: good, problems } = await checkHorizon(bus);
  if (good) return ok('horizon', 'verdicts and responses are retained long enough for a replay');
  return fail('horizon', problems.join('; '), 'raise max_age of VERDICTS and RESPONSES', EXIT.badConfiguration);
}

async function schemaFinding(bus: Bus): Promise<Finding> {
  const lookUp = schemaLookup(bus);
  const missing: string[] = [];
  for (const { text } of CURRENT_SCHEMAS) {
    const fingerprint = fingerprintHex(JSON.parse(text));
    if ((await lookUp(fingerprint)) === null) missing.push(fingerprint);
  }
  if (missing.length === 0) return ok('schemas', 'all schemas of this version are registered');
  return warn(
    'schemas',
    `not registered: ${missing.join(', ')}; readers of other versions cannot decode our messages`,
    SET_UP,
  );
}

async function serviceFindings(bus: Bus): Promise<Finding[]> {
  const status = await readServiceStatus(bus, await readInstances(bus), { timeoutMs: 2 * bus.timeoutMs });
  const problems = serviceProblems(status);
  return serviceLines(status).flatMap(({ name, text: line }) => {
    const own = problems.filter(({ node }) => node === name);
    if (own.length === 0) return [ok(name, line)];
    return own.map(({ severity, text, remedy, exitCode }) =>
      severity === 'shout' ? fail(name, text, remedy, exitCode) : warn(name, text, remedy),
    );
  });
}

/** Nodes that ipam-sync tainted. */
async function taintFindings(bus: Bus): Promise<Finding[]> {
  const [instances, nowMs] = [await readInstances(bus), Date.now()];
  const taints = taintsOf(instances, nowMs);
  if (!taints) return [skip('unguarded nodes', 'are not tainted: unguardedNodes.taint is off, or no ipam-sync leads')];
  const level = taints.taintedCount > 0 ? warn : ok;
  const failures = taintProblems(instances, nowMs).filter(({ severity }) => severity === 'shout');
  return [
    level('unguarded nodes', taintsLine(taints), ''),
    ...failures.map(({ text, remedy, exitCode }) => fail('unguarded nodes', `ipam-sync: ${text}`, remedy, exitCode)),
  ];
}

const refusedByAll = (keys: readonly string[]) =>
  fail(
    'configuration',
    `all readers refuse ${keys.join(', ')}`,
    '`bailiff config list` shows why',
    EXIT.badConfiguration,
  );

/** Values that nodes and services refuse, each once. */
async function currentRefusals(bus: Bus): Promise<{ who: string; key: string; reason: string }[]> {
  const services = activeInstances(await readInstances(bus), Date.now());
  const reporters = [
    ...(await readNodeStatuses(bus)).map(({ nodeName: who, configRefused }) => ({ who, configRefused })),
    ...services.map(({ service: who, configRefused }) => ({ who, configRefused })),
  ];
  const all = reporters.flatMap(({ who, configRefused }) => configRefused.map((one) => ({ who, ...one })));
  return [...new Map(all.map((one) => [`${one.who} ${one.key}`, one])).values()];
}

async function configFinding(bus: Bus): Promise<Finding[]> {
  const entries = await openBucket(bus, 'bailiff_config').entries();
  const wrong = entries
    .filter((entry) => refusalOf(entry.key, entry.value.toString('utf8')) !== '')
    .map(({ key }) => key);
  const findings = wrong.length === 0 ? [] : [refusedByAll(wrong)];
  // Valid values can still be refused: an older revision, or one above a reader's limits.
  const refused = (await currentRefusals(bus)).filter(({ key }) => !wrong.includes(key));
  for (const { who, key, reason } of refused) {
    const text = `${who} refuses ${key}: ${reason.split('\n').at(-1)}`;
    findings.push(fail('configuration', text, `bailiff config rollback ${key}`, EXIT.badConfiguration));
  }
  if (findings.length > 0) return findings;
  return [ok('configuration', `${plural(entries.length, 'key')} stored, all valid`)];
}

async function readNodeStatuses(bus: Bus): Promise<NodeStatus[]> {
  return [...(await readNodes({ bus })).values()].filter((status) => typeof status !== 'string');
}

/** An error of a check as a finding, so that the other checks run. */
function failureOf(name: string, error: unknown): Finding {
  const { lines, exitCode } = describeError(error, false);
  const [first = '', ...more] = lines;
  return fail(name, first.replace(/^bailiff: /, ''), more.join(' ').trim(), exitCode);
}

/** Each further check would wait for the same bus again. */
const SILENT: ReadonlySet<unknown> = new Set(['BUS_TIMEOUT', 'BUS_UNREACHABLE', 'BUS_CLOSED']);

async function busFindings(io: CliIo, connection: Connection, timeoutMs: number): Promise<Finding[]> {
  try {
    return await withBus(io, connection, timeoutMs, (bus) => checksOf(io, bus, connection));
  } catch (error) {
    io.signal.throwIfAborted();
    return [failureOf('reachable', error)];
  }
}

async function checksOf(io: CliIo, bus: Bus, connection: Connection): Promise<Finding[]> {
  const checks: [string, () => Promise<Finding | Finding[]>][] = [
    ['streams and buckets', () => streamFindings(bus)],
    ['horizon', () => horizonFinding(bus)],
    ['schemas', () => schemaFinding(bus)],
    ['configuration', () => configFinding(bus)],
    ['services', () => serviceFindings(bus)],
    ['unguarded nodes', () => taintFindings(bus)],
    ['runtime policies', async () => runtimeFindings(await readNodeStatuses(bus))],
    ['CNI plugin', async () => cniFindings(await readNodeStatuses(bus))],
  ];
  const { version = '0', cluster } = bus.nc.info ?? {};
  const findings = [ok('reachable', `as ${connection.natsUser}`), serverFinding(version, cluster !== undefined)];
  for (const [name, check] of checks) {
    try {
      findings.push(...[await check()].flat());
    } catch (cause) {
      io.signal.throwIfAborted();
      findings.push(failureOf(name, explainJetStreamOff(bus, cause)));
      if (SILENT.has((cause as { code?: unknown }).code)) break;
    }
    // The other checks need the streams.
    if (name === 'streams and buckets' && findings.some(({ state }) => state === 'fail')) break;
  }
  return findings;
}

/** @returns the group, and the connection if one is selected */
export async function busGroup(
  io: CliIo,
  options: BusOptionValues,
): Promise<{ group: Group; connection: Connection | null }> {
  const timeoutMs = busTimeoutOf(options);
  let connection: Connection;
  try {
    connection = connectionOf(io, options);
  } catch (error) {
    if (!(error instanceof CliError)) throw error;
    const isUnnamed = error.message === NO_BUS;
    const finding = isUnnamed
      ? skip('not checked', NO_BUS, error.remedy.split('\n')[0])
      : fail('selection', error.message, error.remedy, error.exitCode);
    return { group: { title: 'Bus', findings: [finding] }, connection: null };
  }
  const title = `Bus (${connection.source === '--nats-url' ? connection.natsUrl.replace(/\/\/[^@/]*@/, '//') : connection.source})`;
  return { group: { title, findings: await busFindings(io, connection, timeoutMs) }, connection };
}
