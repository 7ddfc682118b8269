/**
 * Whether the cluster is guarded: what each node says of itself, what it does not say any more, and which nodes say nothing at all. Pure.
 *
 * The weight of a problem decides the exit code: somebody cannot be reached (7) before a pod is not covered (3) before a configuration is
 * refused (6). What is disarmed on purpose, or only partly covered, is shown and is no failure.
 */
import type { InterfaceStatus, NodeStatus } from '@bailiff/schemas';
import { EXIT, type ExitCode } from '@bailiff/service';
import { podName } from '../shared/selectors.ts';
import { named, plural } from '../shared/text/plural.ts';
import { age } from '../shared/text/time.ts';
import { runtimeProblems } from './runtime.ts';

export type NodeHealth = 'ok' | 'disarmed' | 'partial' | 'refused' | 'uncovered' | 'silent' | 'missing' | 'unreadable';

export interface Problem {
  /** `shout`: it makes the exit code. */
  severity: 'shout' | 'warn';
  node: string;
  text: string;
  remedy: string;
  exitCode: ExitCode;
}

export interface NodeReport {
  node: string;
  health: NodeHealth;
  /** Since it last spoke; null when it never did. */
  ageMs: number | null;
  status: NodeStatus | null;
  guarded: number;
  /** Interfaces that should be. */
  guardable: number;
  /** Fullest map, per cent. */
  fullestMap: { name: string; percent: number } | null;
  lost: number;
  packetsBeforeGuard: number;
}

export interface ActiveDisarm {
  /** `the cluster`, `node node-a`, `namespace shop`. */
  scope: string;
  untilMs: number;
  by: string;
  reason: string;
}

export interface StatusInput {
  /** What each node put under its key; a string says why it cannot be read. */
  nodes: ReadonlyMap<string, NodeStatus | string>;
  /** Nodes that the cluster has; null when nobody says. */
  expected: readonly string[] | null;
  disarms: readonly ActiveDisarm[];
  nowMs: number;
  staleMs: number;
}

export interface StatusReport {
  nodes: NodeReport[];
  problems: Problem[];
  disarms: readonly ActiveDisarm[];
  exitCode: ExitCode;
}

/** Of several interfaces or policies with one reason, these are named; `--json` has all. */
export const MAX_NAMED = 2;
/** Maps fuller than this are told of before they are full. */
const FULL_PERCENT = 80;
/** More frames unacknowledged than half a collector's window: it cannot get rid of what it has. */
const BEHIND_FRAMES = 32;

export function reportOf(input: StatusInput): StatusReport {
  const names = new Set([...input.nodes.keys(), ...(input.expected ?? [])]);
  const problems: Problem[] = [];
  if (names.size === 0) {
    problems.push(
      shout('cluster', 'no node has ever reported: nothing is guarded', INSTALL, EXIT.dependencyUnreachable),
    );
  }
  const nodes = [...names].sort().map((node) => nodeReport(node, input, problems));
  return { nodes, problems, disarms: input.disarms, exitCode: weigh(problems) };
}

/** The heaviest of what was shouted. */
export function weigh(problems: readonly Problem[]): ExitCode {
  const order: ExitCode[] = [EXIT.dependencyUnreachable, EXIT.kernelLacksFeature, EXIT.badConfiguration];
  const said = problems.filter(({ severity }) => severity === 'shout').map(({ exitCode }) => exitCode);
  return order.find((code) => said.includes(code)) ?? EXIT.ok;
}

function nodeReport(node: string, input: StatusInput, problems: Problem[]): NodeReport {
  const found = input.nodes.get(node);
  const base: NodeReport = {
    node,
    health: 'missing',
    ageMs: null,
    status: null,
    guarded: 0,
    guardable: 0,
    fullestMap: null,
    lost: 0,
    packetsBeforeGuard: 0,
  };
  if (found === undefined) {
    problems.push(
      shout(node, 'no collector has ever reported: its pods are not guarded', INSTALL, EXIT.dependencyUnreachable),
    );
    return base;
  }
  if (typeof found === 'string') {
    problems.push(
      shout(
        node,
        `its status cannot be read: ${found}`,
        'its collector is of another version',
        EXIT.dependencyUnreachable,
      ),
    );
    return { ...base, health: 'unreadable' };
  }
  const report = { ...base, ...countsOf(found), status: found, ageMs: input.nowMs - Date.parse(found.updatedAt) };
  const own = problemsOf(report, found, input);
  problems.push(...own);
  return { ...report, health: healthOf(report, found, own, input) };
}

const INSTALL = 'start the collector there, or see why it does not come up (its log, `bailiff doctor` on the node)';

const shout = (node: string, text: string, remedy: string, exitCode: ExitCode): Problem => ({
  severity: 'shout',
  node,
  text,
  remedy,
  exitCode,
});
const warn = (node: string, text: string, remedy = ''): Problem => ({
  severity: 'warn',
  node,
  text,
  remedy,
  exitCode: EXIT.ok,
});

const NONE_OMITTED: NonNullable<NodeStatus['interfacesOmitted']> = {
  guarded: 0,
  partial: 0,
  'not-covered': 0,
  'not-applicable': 0,
};

function countsOf(status: NodeStatus) {
  const pods = status.interfaces.filter(({ coverage }) => coverage !== 'not-applicable');
  const { guarded: more, partial, 'not-covered': bare } = status.interfacesOmitted ?? NONE_OMITTED;
  const fills = status.maps
    .filter(({ capacity }) => capacity > 0)
    .map(({ name, used, capacity }) => ({ name, percent: (100 * used) / capacity }))
    .sort((a, b) => b.percent - a.percent);
  const { ringFull, noCounter, noIface } = status.losses;
  return {
    guarded: pods.filter(({ coverage }) => coverage === 'guarded').length + more,
    guardable: pods.length + more + partial + bare,
    fullestMap: fills[0] ?? null,
    lost: ringFull + noCounter + noIface,
    packetsBeforeGuard: status.interfaces.reduce((sum, iface) => sum + iface.packetsBeforeGuard, 0),
  };
}

/** `shop/web-0 (veth1)` or what is known of it. */
export function interfaceName(iface: InterfaceStatus): string {
  const pod = podName({ namespace: iface.podNamespace, name: iface.podName });
  if (pod === '-') return iface.interfaceName;
  return iface.interfaceName === '' ? pod : `${pod} (${iface.interfaceName})`;
}

function problemsOf(report: NodeReport, status: NodeStatus, input: StatusInput): Problem[] {
  const { node } = report;
  const problems: Problem[] = [];
  if ((report.ageMs ?? 0) > input.staleMs) {
    const text = `silent for ${age(report.ageMs ?? 0)}: what is attached still guards, new pods are not guarded`;
    problems.push(
      shout(node, text, 'is its collector running? On the node: collector status', EXIT.dependencyUnreachable),
    );
  }
  if (status.hook === 'none') {
    problems.push(
      shout(
        node,
        'nothing is attached: it only observes',
        'started with --observe-only, or see its features',
        EXIT.kernelLacksFeature,
      ),
    );
  }
  const uncovered = status.interfaces.filter(({ coverage }) => coverage === 'not-covered');
  for (const [reason, ifaces] of byReason(uncovered)) {
    problems.push(shout(node, `${several(ifaces)} not covered: ${reason}`, '', EXIT.kernelLacksFeature));
  }
  const omitted = status.interfacesOmitted ?? NONE_OMITTED;
  const unnamed = (count: number) => `${plural(count, 'further interface')}, for which its status has no room,`;
  const bare = omitted['not-covered'];
  if (bare > 0)
    problems.push(
      shout(node, `${unnamed(bare)} not covered`, 'on the node: collector status', EXIT.kernelLacksFeature),
    );
  const partial = status.interfaces.filter(({ coverage }) => coverage === 'partial');
  for (const [reason, ifaces] of byReason(partial))
    problems.push(warn(node, `${several(ifaces)} partly covered: ${reason}`));
  if (omitted.partial > 0) problems.push(warn(node, `${unnamed(omitted.partial)} partly covered`));
  if (status.snapshotRefused !== '') {
    const text = `refuses the list of its pods, the last good one holds: ${status.snapshotRefused}`;
    problems.push(shout(node, text, 'does ipam-sync watch the right cluster?', EXIT.badConfiguration));
  }
  for (const { key, reason } of status.configRefused) {
    const text = `refuses ${key}, the last good value holds: ${reason.split('\n').at(-1)}`;
    problems.push(
      shout(node, text, `bailiff config get ${key}; bailiff config rollback ${key}`, EXIT.badConfiguration),
    );
  }
  problems.push(...runtimeProblems(node, status), ...warningsOf(report, status));
  return problems;
}

function warningsOf(report: NodeReport, status: NodeStatus): Problem[] {
  const { node, fullestMap } = report;
  const { losses, bus } = status;
  const warnings: Problem[] = [];
  if (fullestMap && fullestMap.percent >= FULL_PERCENT) {
    const text = `map ${fullestMap.name} is ${Math.round(fullestMap.percent)} % full`;
    warnings.push(warn(node, text, "raise the collector's maxInterfaces"));
  }
  if (losses.noCounter > 0)
    warnings.push(warn(node, `${plural(losses.noCounter, 'packet was', 'packets were')} judged and not counted`));
  if (losses.noIface > 0)
    warnings.push(warn(node, `${plural(losses.noIface, 'packet')} came over interfaces that no map knows`));
  if (losses.ringFull > 0)
    warnings.push(
      warn(node, `${plural(losses.ringFull, 'sample was', 'samples were')} lost to a full ring; counts are exact`),
    );
  if (bus.unackedFrames > BEHIND_FRAMES)
    warnings.push(warn(node, `${bus.unackedFrames} frames wait for the bus: it is behind`));
  if (!bus.connected) warnings.push(warn(node, 'its collector has lost the bus'));
  return warnings;
}

/** What has one reason is told once. */
export function byReason<T extends { reason: string }>(those: readonly T[]): Map<string, T[]> {
  const groups = new Map<string, T[]>();
  for (const one of those) groups.set(one.reason, [...(groups.get(one.reason) ?? []), one]);
  return groups;
}

const several = (ifaces: readonly InterfaceStatus[]): string => named(ifaces.map(interfaceName), MAX_NAMED);

function healthOf(report: NodeReport, status: NodeStatus, own: readonly Problem[], input: StatusInput): NodeHealth {
  if ((report.ageMs ?? 0) > input.staleMs) return 'silent';
  if (own.some(({ exitCode }) => exitCode === EXIT.kernelLacksFeature)) return 'uncovered';
  if (own.some(({ exitCode }) => exitCode === EXIT.badConfiguration)) return 'refused';
  if (status.disarmedUntil !== null && Date.parse(status.disarmedUntil) > input.nowMs) return 'disarmed';
  return report.guarded < report.guardable ? 'partial' : 'ok';
}
