/** Evaluates what a bus reports. Pure. */

import {
  AREAS,
  type Area,
  alike,
  type ClusterFacts,
  type ClusterReport,
  type Problem,
  plural,
  serviceLines,
  shortList,
  span,
  taintsLine,
  taintsOf,
  unreadyProblems,
} from '@bailiff/response';
import type { NodeStatus } from '@bailiff/schemas';
import { EXIT } from '@bailiff/service';
import { summaryLine } from '../../shared/rows/cluster-status.ts';
import { type Finding, fail, ok, skip, warn } from './finding.ts';

/** Oldest usable server, and the first with all security fixes. */
const OLDEST = [2, 10, 0];
const CURRENT = [2, 14, 3];
/**
 * Version ranges [from, below) in which message tracing lets a client write through account
 * imports.
 */
const TRACING = [
  [
    [2, 11, 0],
    [2, 11, 15],
  ],
  [
    [2, 12, 0],
    [2, 12, 6],
  ],
] as const;

function isBelow(version: string, than: readonly number[]): boolean {
  const parts = version.split('.').map((part) => Number.parseInt(part, 10) || 0);
  for (let index = 0; index < than.length; index += 1) {
    const [have, want] = [parts[index] ?? 0, than[index] as number];
    if (have !== want) return have < want;
  }
  return false;
}

/** First version that traces messages. */
const FIRST_TRACING = [2, 11, 0];
/** First version in which a refused condition of one publish stops a stream of several replicas. */
const FIRST_STOPPING = [2, 14, 0];

/** @param isCluster the server has routes to others */
export function serverFinding(version: string, isCluster = false): Finding {
  if (isBelow(version, OLDEST)) {
    return fail('nats-server', `${version} is too old`, 'nats-server 2.10 or later', EXIT.dependencyUnreachable);
  }
  if (TRACING.some(([from, below]) => !isBelow(version, from) && isBelow(version, below))) {
    const why = `${version} lets a client write through account imports by message tracing (CVE-2026-33249)`;
    return warn('nats-server', why, 'nats-server 2.14.3 or later, or 2.11.15, or 2.12.6');
  }
  if (isBelow(version, CURRENT)) {
    return warn('nats-server', `${version} works, but lacks security fixes`, 'nats-server 2.14.3 or later');
  }
  if (isCluster && !isBelow(version, FIRST_TRACING)) {
    const stops = isBelow(version, FIRST_STOPPING) ? '' : 'stop a stream for good by one message, and ';
    const why = `${version}, in a cluster, lets a stolen credential ${stops}store texts under subjects of others`;
    return warn('nats-server', why, 'docs/install.md, "Clusters and message tracing"');
  }
  return ok('nats-server', version);
}

/** Nodes and services named per problem. */
const MAX_NAMED = 6;

/** A problem as a finding. Several nodes with the same problem are one finding. */
export function problemFindings(problems: readonly Problem[]): Finding[] {
  return alike(problems).map(({ severity, area, nodes, text, remedy, exitCode }) => {
    const who = shortList(nodes, MAX_NAMED);
    const state = severity === 'shout' ? 'fail' : 'warn';
    // A service has a finding of its own.
    const named = area === 'services' ? { name: who, detail: text } : { name: area, detail: `${who}: ${text}` };
    return { ...named, state, remedy, exitCode };
  });
}

/** What is well, for each area without a problem, and the problems of the others. */
export function clusterFindings(facts: ClusterFacts, report: ClusterReport): Finding[] {
  const well = wellOf(facts, report);
  return AREAS.flatMap((area) => {
    const problems = report.problems.filter((problem) => problem.area === area);
    const bad = problemFindings(problems);
    if (area === 'services') return [...serviceFindings(facts, problems), ...bad];
    // These two are optional: nodes that have them are named beside those that have a problem.
    const isOptional = area === 'runtime policies' || area === 'CNI plugin';
    return bad.length > 0 && !isOptional ? bad : [...well[area], ...bad];
  });
}

/** One line per service without a problem. One that is not ready for a moment may start, or find its Redis again. */
function serviceFindings({ services }: ClusterFacts, problems: readonly Problem[]): Finding[] {
  if (!services) return problems.length > 0 ? [] : [skip('services', 'their status could not be read')];
  const isWell = ({ name }: { name: string }) => !problems.some(({ node }) => node === name);
  const unready = new Map(unreadyProblems(services).map((problem) => [problem.node, problem]));
  return serviceLines(services)
    .filter(isWell)
    .map(({ name, text }) => {
      const problem = unready.get(name);
      return problem ? warn(name, text, problem.remedy) : ok(name, text);
    });
}

function wellOf(facts: ClusterFacts, report: ClusterReport): Record<Exclude<Area, 'services'>, Finding[]> {
  const { streams, config, certificates, instances, nowMs } = facts;
  const statuses = report.nodes.flatMap(({ status }) => status ?? []);
  const on = (has: (status: NodeStatus) => boolean) => statuses.filter(has).length;
  const [able, plugged] = [
    on(({ runtime }) => runtime?.state === 'available'),
    on(({ cni }) => cni?.state === 'installed'),
  ];
  const taints = taintsOf(instances, nowMs);
  const ends = typeof certificates === 'string' ? [] : certificates;
  return {
    nodes: [ok('nodes', summaryLine(report))],
    enforcement: [ok('enforcement', 'no vector and no runtime policy is in audit or off, against the built-in modes')],
    configuration: [ok('configuration', `${plural(config.length, 'key')} stored, all valid`)],
    streams: [ok('streams and buckets', `all ${streams.size}`)],
    'dead letters': [ok('dead letters', 'none in the last hour')],
    certificates:
      ends.length === 0
        ? [skip('certificates', 'the bus uses no TLS')]
        : [
            ok(
              'certificates',
              ends.map(({ what, notAfterMs }) => `${what} for ${span(notAfterMs - nowMs)}`).join(', '),
            ),
          ],
    'unguarded nodes': taints
      ? [ok('unguarded nodes', taintsLine(taints))]
      : [skip('unguarded nodes', 'are not tainted: unguardedNodes.taint is off, or no ipam-sync leads')],
    'runtime policies':
      able > 0
        ? [ok('runtime policies', `LSM available on ${plural(able, 'node')}`)]
        : statuses.some(({ runtime }) => runtime && runtime.state !== 'off')
          ? []
          : [skip('runtime policies', 'no node reports on them')],
    'CNI plugin':
      plugged > 0
        ? [ok('CNI plugin', `installed on ${plural(plugged, 'node')}`)]
        : statuses.some(({ cni }) => cni && cni.state !== 'off')
          ? []
          : [skip('CNI plugin', 'off on every node')],
  };
}
