/**
 * Facts about a cluster → its problems. Pure. `bailiff status`, `bailiff doctor` and other readers
 * judge by this file alone, so that they never disagree.
 *
 * `ok` means: every frame is judged, what should be dropped is dropped, and violations are judged
 * and answered.
 */
import { EXIT } from '@bailiff/service/exit-codes';
import type { StreamInfo } from '../status/service-health.ts';
import { age } from '../status/text.ts';
import { certificateProblems, serviceCertificateProblems } from './certificates.ts';
import { serviceClockProblems } from './clocks.ts';
import { deadLetterProblems } from './dead-letters.ts';
import { copyProblems, unloggedProblems } from './documents.ts';
import {
  type ConfigValue,
  dryRunProblems,
  type Enforcement,
  enforcementOf,
  enforcementProblems,
} from './enforcement.ts';
import type { ClusterFacts, UnsignedConfig } from './facts.ts';
import { fillOf, fillProblems } from './fill.ts';
import { refusalProblems, rightsProblems } from './instances.ts';
import { missingAuthProblems } from './node-connections.ts';
import { type NodeReport, nodeReports } from './nodes.ts';
import { podListProblems } from './pod-lists.ts';
import { notEnforced, type Problem, type ProblemCode, shout, warn, weigh } from './problem.ts';
import { removedPodProblems } from './removed-pods.ts';
import { leaderProblems, replicaProblems } from './replicas.ts';
import { serviceProblems } from './services.ts';
import { taintProblems } from './taints.ts';

export interface ClusterReport {
  ok: boolean;
  exitCode: ProblemCode;
  nodes: NodeReport[];
  problems: Problem[];
  enforcement: Enforcement;
}

/** Three times the interval at which collectors and services store a status. */
const NOTHING_STORED_MS = 30_000;

export function judge(facts: ClusterFacts): ClusterReport {
  const { config, disarms, instances, services, streams, nowMs } = facts;
  const enforcement = enforcementOf(config);
  const nodes = nodeReports(facts, enforcement);
  const problems = [
    ...enforcementProblems(enforcement, disarms, nowMs),
    ...dryRunProblems(enforcement, instances, nowMs),
    ...nodes.problems,
    ...streamProblems(facts),
    ...copyProblems(streams),
    ...(services ? serviceProblems(services) : unreadServices(facts)),
    ...relayProblems(facts),
    ...missingAuthProblems(facts),
    ...removedPodProblems(facts),
    ...podListProblems(instances, nowMs),
    ...taintProblems(instances, nowMs),
    ...refusedProblems(config),
    ...unsignedProblems(facts.unsigned),
    ...unloggedProblems(facts.unlogged),
    ...refusalProblems(instances, nowMs),
    ...rightsProblems(instances, nowMs),
    ...serviceClockProblems(instances, nowMs),
    ...deadLetterProblems(facts.deadLetters),
    ...certificateProblems(facts.certificates, nowMs),
    ...serviceCertificateProblems(instances, nowMs),
    ...(facts.expected === null ? [NO_NODE_LIST] : []),
    ...storedProblems([...streams.values()]),
    ...leaderProblems([...streams.values()]),
    ...replicaProblems([...streams.values()]),
  ];
  const exitCode = weigh(problems);
  return { ok: exitCode === EXIT.ok, exitCode, nodes: nodes.reports, problems, enforcement };
}

const NEWER_CLIENT = 'use the client of the cluster; change nothing with this one: `bailiff version`';

/** Values that no reader accepts. Others report what one node or service refuses. */
function refusedProblems(config: readonly ConfigValue[]): Problem[] {
  const all = config.filter(({ refused }) => refused !== '');
  const named = (here: boolean) => all.filter(({ refusedHere = false }) => refusedHere === here).map(({ key }) => key);
  const [keys, here] = [named(false), named(true)];
  const problems: Problem[] = [];
  if (keys.length > 0) {
    const text = `refuse ${keys.join(', ')}; the former values stay in force, and what they weaken is not listed here`;
    const remedy = '`bailiff config list` shows why, and `bailiff config effective <pod>` what is in force';
    problems.push(shout('all readers', text, remedy, EXIT.badConfiguration, 'configuration'));
  }
  if (here.length > 0) {
    const text = `is of another version than the cluster, and cannot read ${here.join(', ')}, which the cluster accepts: what is weaker there is not listed here`;
    problems.push(notEnforced('this command', text, NEWER_CLIENT, 'configuration'));
  }
  return problems;
}

/** The reader verified the signatures itself: no report of a node or service can hide these. */
const unsignedProblems = (unsigned: readonly UnsignedConfig[]): Problem[] =>
  unsigned.map(({ key, reason }) =>
    shout(
      'signers',
      `do not allow what the bus has of ${key}: ${reason}`,
      `\`bailiff config history ${key}\` shows the changes: restore a good one with \`bailiff config rollback ${key} --sign <keyfile>\``,
      EXIT.badConfiguration,
      'configuration',
    ),
  );

/** A bus that is not set up is reported as such. */
function unreadServices({ streams }: ClusterFacts): Problem[] {
  if ([...streams.values()].includes(null)) return [];
  const text = 'their status could not be read: it is not known whether violations are judged and answered';
  return [shout('services', text, 'repeat it with a longer --timeout', EXIT.dependencyUnreachable, 'services')];
}

/** Age limit of SIEM. An operator who removed the relay on purpose has no warning after it. */
const RELAY_KNOWN_MS = 7 * 86_400_000;

/** No relay runs: the bus keeps the status of an instance for an hour, and its positions for good. */
function relayProblems({ services, streams, nowMs }: ClusterFacts): Problem[] {
  const info = streams.get('KV_bailiff_siem');
  if (services?.siemRelay !== null || !info || info.state.messages === 0) return [];
  const movedMs = nowMs - Date.parse(info.state.last_ts);
  if (!(movedMs < RELAY_KNOWN_MS)) return [];
  const text = `0 running for more than an hour, its last position is ${age(movedMs)} old: the SIEM receives no events`;
  return [
    warn(
      'siem-relay',
      text,
      'start it, or see `bailiff logs siem-relay`; this ends 7d after its last position',
      'services',
    ),
  ];
}

const NO_NODE_LIST = warn(
  'bus',
  "has no list of the cluster's nodes: nodes without a collector go unnoticed",
  'check that ipam-sync runs',
);

function streamProblems({ streams }: ClusterFacts): Problem[] {
  const missing = [...streams].filter(([, info]) => info === null).map(([name]) => name);
  const fills = [...streams.values()].flatMap((info) => (info === null ? [] : fillOf(info)));
  if (missing.length === 0) return fillProblems(fills);
  const remedy = 'run `bailiff bus setup` as admin, or check that this is the right bus';
  const problem = shout('bus', `has no ${missing.join(', ')}`, remedy, EXIT.dependencyUnreachable, 'streams');
  return [problem, ...fillProblems(fills)];
}

/** Nothing was stored although collectors and services always store. The bus cannot say why. */
function storedProblems(infos: readonly (StreamInfo | null)[]): Problem[] {
  const stored = infos.flatMap((info) => (info && info.state.messages > 0 ? [Date.parse(info.state.last_ts)] : []));
  const nowMs = Math.max(...infos.map((info) => Date.parse(info?.ts ?? '')).filter((ms) => !Number.isNaN(ms)));
  const quietMs = nowMs - Math.max(...stored);
  if (stored.length === 0 || !(quietMs > NOTHING_STORED_MS)) return [];
  const text = `has stored nothing for ${age(quietMs)}: its disk is full, or all collectors and services are cut off from it`;
  const remedy = 'look at the disk and the log of nats-server: "Disk full" in docs/operations.md';
  return [shout('bus', text, remedy, EXIT.dependencyUnreachable, 'streams')];
}
