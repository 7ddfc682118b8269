/**
 * Evaluates node statuses: what each node reports, which status is stale, and which nodes never
 * reported. Pure.
 */
import type { InterfaceStatus, NodeStatus } from '@bailiff/schemas';
import { EXIT } from '@bailiff/service/exit-codes';
import { isRemovedNode } from '../status/policy-places.ts';
import { listAgeOf } from '../status/service-health.ts';
import { age, plural, podName, quoted, reportedName, shortList } from '../status/text.ts';
import { nodeClockProblems } from './clocks.ts';
import { cniProblems } from './cni.ts';
import { disarmProblems, isDisarmedThere } from './disarms.ts';
import { pendingProblems, unconfirmedProblems } from './documents.ts';
import { type Enforcement, initialModeProblems, isWeakened, type Weakened } from './enforcement.ts';
import type { ClusterFacts } from './facts.ts';
import { packetLossProblems, recentPacketLosses } from './losses.ts';
import { byReason, MAX_NAMED, NOT_ENFORCED, notEnforced, type Problem, shout, warn } from './problem.ts';
import { nodeRefusalProblems } from './refused-by-readers.ts';
import { runtimeProblems } from './runtime.ts';
import { versionProblems } from './versions.ts';

export type NodeHealth =
  /** Silent, and no longer a node of the cluster: no problem. */
  | 'removed'
  | 'ok'
  | 'not-enforced'
  | 'disarmed'
  | 'partial'
  | 'refused'
  | 'uncovered'
  /** Its violations do not reach the bus. */
  | 'unsent'
  /** It does not read its pod list and policies, or does not apply them. */
  | 'outdated'
  | 'silent'
  | 'missing'
  | 'unreadable';

export interface NodeReport {
  node: string;
  health: NodeHealth;
  /** Age of the last status; null if there was none. */
  ageMs: number | null;
  status: NodeStatus | null;
  guarded: number;
  /** Interfaces that should be guarded. */
  guardable: number;
  /** Guarded interfaces that are disarmed, or for which some vector is in audit or off, against the built-in modes. */
  notEnforced: number;
  /** The fullest map, in per cent. */
  fullestMap: { name: string; percent: number } | null;
  /** Records that the packet programs lost within the last hour. */
  lost: number;
  packetsBeforeGuard: number;
}

export type NodeInput = Pick<
  ClusterFacts,
  'streams' | 'nodes' | 'expected' | 'config' | 'disarms' | 'instances' | 'services' | 'nowMs' | 'staleMs'
>;

/** Three times the collector's status interval, so that one lost status is no silence. */
export const STALE_NODE_MS = 30_000;
/** Maps above this are reported before they are full. */
const FULL_PERCENT = 80;
/** Half of the collector's window: it publishes slower than it produces. */
const BEHIND_FRAMES = 32;
/** As long as acks take on the slowest disk while another node floods it. A status is up to ten seconds old. */
const NOT_SENT_MS = 20_000;
const NOT_SENT = 'look at the stream VIOLATIONS and the log of nats-server: docs/alerts.md, BailiffViolationsNotSent';

export function nodeReports(
  facts: NodeInput,
  enforcement: Pick<Enforcement, 'weakened' | 'policies'>,
): { reports: NodeReport[]; problems: Problem[] } {
  // Its absence says nothing of the nodes.
  if (facts.streams.get(NODES_STREAM) === null) return { reports: [], problems: [LOST] };
  const names = new Set([...facts.nodes.keys(), ...(facts.expected ?? [])]);
  const problems: Problem[] = [];
  if (names.size === 0) {
    problems.push(
      shout('cluster', 'no node has ever reported: nothing is guarded', INSTALL, EXIT.dependencyUnreachable),
    );
  }
  const pending = pendingProblems(facts);
  const reports = [...names].sort().map((node) => nodeReport(node, { ...facts, pending }, enforcement, problems));
  return { reports, problems };
}

function nodeReport(
  node: string,
  input: NodeInput & { pending: readonly Problem[] },
  { weakened, policies }: Pick<Enforcement, 'weakened' | 'policies'>,
  problems: Problem[],
): NodeReport {
  const found = input.nodes.get(node);
  const base: NodeReport = {
    node,
    health: 'missing',
    ageMs: null,
    status: null,
    guarded: 0,
    guardable: 0,
    notEnforced: 0,
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
        `its status cannot be read: ${quoted(found)}`,
        'its collector has another version, or another client uses its credential',
        EXIT.dependencyUnreachable,
      ),
    );
    return { ...base, health: 'unreadable' };
  }
  const report = {
    ...base,
    ...countsOf(found, weakened, input.nowMs),
    status: found,
    ageMs: input.nowMs - Date.parse(found.updatedAt),
  };
  if (isRemoved(report, input)) return { ...report, health: 'removed' };
  const own = [
    ...problemsOf(report, found, input),
    ...input.pending.filter((problem) => problem.node === node),
    ...runtimeProblems(node, found, policies.enforce),
    ...(report.ageMs > input.staleMs
      ? []
      : [...versionProblems(node, found, input), ...nodeClockProblems(node, found)]),
  ];
  problems.push(...own, ...initialModeProblems(node, found));
  return { ...report, health: healthOf(report, found, own, input) };
}

function isRemoved({ node, ageMs }: NodeReport, { expected, services, staleMs }: NodeInput): boolean {
  if (services === null) return false;
  return isRemovedNode(node, ageMs ?? 0, { expected, listAgeMs: listAgeOf(services.ipamSync), staleMs });
}

const NODES_STREAM = 'KV_bailiff_nodes';
const LOST = shout(
  'cluster',
  'the bus has no status of any node: it is not known what is guarded. Guards that are attached stay in force',
  `after \`bailiff bus setup\`, collectors that run store their status within ten seconds`,
  EXIT.dependencyUnreachable,
);
const INSTALL = 'start the collector on the node; if it fails, see its log and run `bailiff doctor` there';

const NONE_OMITTED: NonNullable<NodeStatus['interfacesOmitted']> = {
  guarded: 0,
  partial: 0,
  'not-covered': 0,
  'not-applicable': 0,
};

function countsOf(status: NodeStatus, weakened: readonly Weakened[], nowMs: number) {
  const pods = status.interfaces.filter(({ coverage }) => coverage !== 'not-applicable');
  const { guarded: more, partial, 'not-covered': bare } = status.interfacesOmitted ?? NONE_OMITTED;
  const fills = status.maps
    .filter(({ capacity }) => capacity > 0)
    .map(({ name, used, capacity }) => ({ name, percent: (100 * used) / capacity }))
    .sort((a, b) => b.percent - a.percent);
  const { ringFull, noCounter, noIface } = recentPacketLosses(status);
  const isLenient = (pod: Pick<InterfaceStatus, 'podNamespace' | 'podName'>) =>
    status.initialMode === 'audit' || isDisarmedThere(status, pod.podNamespace, nowMs) || isWeakened(pod, weakened);
  return {
    guarded: pods.filter(({ coverage }) => coverage === 'guarded').length + more,
    guardable: pods.length + more + partial + bare,
    notEnforced:
      pods.filter((pod) => pod.coverage === 'guarded' && isLenient(pod)).length +
      // What holds on the whole node holds for those that its status omits.
      (isLenient({ podNamespace: '', podName: '' }) ? more : 0),
    fullestMap: fills[0] ?? null,
    lost: ringFull + noCounter + noIface,
    packetsBeforeGuard: status.interfaces.reduce((sum, iface) => sum + iface.packetsBeforeGuard, 0),
  };
}

/** `shop/web-0 (veth1)`, or what is known of it. */
export function interfaceName(iface: InterfaceStatus): string {
  const pod = podName({ namespace: iface.podNamespace, name: iface.podName });
  const name = reportedName(iface.interfaceName);
  if (pod === '-') return name;
  return iface.interfaceName === '' ? reportedName(pod) : `${reportedName(pod)} (${name})`;
}

function problemsOf(report: NodeReport, status: NodeStatus, input: NodeInput): Problem[] {
  const { node } = report;
  const problems: Problem[] = [];
  if ((report.ageMs ?? 0) > input.staleMs) {
    const text = `silent for ${age(report.ageMs ?? 0)}: attached guards stay in force with the modes and disarms that they had, new pods are not guarded`;
    problems.push(shout(node, text, 'check its collector; on the node: collector status', EXIT.dependencyUnreachable));
  }
  if (status.hook === 'none') {
    problems.push(
      shout(
        node,
        'nothing is attached: it only observes',
        'it was started with --observe-only, or lacks a kernel feature',
        EXIT.kernelLacksFeature,
      ),
    );
  }
  problems.push(...disarmProblems(node, status, input.disarms, input.nowMs));
  const uncovered = status.interfaces.filter(({ coverage }) => coverage === 'not-covered');
  for (const [reason, ifaces] of byReason(uncovered)) {
    problems.push(shout(node, `${several(ifaces)} not covered: ${quoted(reason)}`, '', EXIT.kernelLacksFeature));
  }
  const omitted = status.interfacesOmitted ?? NONE_OMITTED;
  const unnamed = (count: number) => `${plural(count, 'further interface')}, omitted from its status,`;
  const uncoveredOmitted = omitted['not-covered'];
  if (uncoveredOmitted > 0)
    problems.push(
      shout(node, `${unnamed(uncoveredOmitted)} not covered`, 'on the node: collector status', EXIT.kernelLacksFeature),
    );
  const partial = status.interfaces.filter(
    ({ coverage, foreignLinks, orphaned }) => coverage === 'partial' && !orphaned && foreignLinks === undefined,
  );
  for (const [reason, ifaces] of byReason(partial))
    problems.push(
      notEnforced(
        node,
        `${several(ifaces)} partly covered: ${quoted(reason)}`,
        NO_POD.test(reason) ? EXCLUDE : '',
        'nodes',
      ),
    );
  for (const [reason, ifaces] of byReason(status.interfaces.filter(({ orphaned }) => orphaned)))
    problems.push(warn(node, `${several(ifaces)} orphaned: ${quoted(reason)}`, END_ORPHAN));
  problems.push(...foreignLinkProblems(node, status));
  if (omitted.partial > 0) problems.push(notEnforced(node, `${unnamed(omitted.partial)} partly covered`, '', 'nodes'));
  if (status.snapshotRefused !== '') {
    const text = `refuses its pod snapshot, former pods and addresses stay in force: ${quoted(status.snapshotRefused)}`;
    problems.push(shout(node, text, 'check that ipam-sync watches the right cluster', EXIT.badConfiguration));
  }
  problems.push(
    ...nodeRefusalProblems(node, status, input),
    ...unconfirmedProblems(node, status),
    ...cniProblems(node, status),
    ...warningsOf(report, status),
  );
  return problems;
}

/** Why newer violations of a node may not be on the bus; empty if they are. Pure. */
export function unsentReason(node: string, status: NodeStatus | string | null, nowMs: number): string {
  if (status === null) return `no collector of ${node} has ever reported`;
  if (typeof status === 'string') return `the status of ${node} cannot be read: ${quoted(status)}`;
  const ageMs = nowMs - Date.parse(status.updatedAt);
  if (ageMs > STALE_NODE_MS) return `${node} is silent for ${age(ageMs)}: newer violations are not on the bus`;
  const { unackedForMs = 0 } = status.bus;
  return unackedForMs > NOT_SENT_MS ? `violations of ${node} have not reached the bus for ${age(unackedForMs)}` : '';
}

function foreignLinkProblems(node: string, { interfaces }: NodeStatus): Problem[] {
  const named = interfaces.flatMap((one) =>
    one.foreignLinks === undefined ? [] : [{ ...one, reason: one.foreignLinks.join(', ') }],
  );
  return [...byReason(named)].map(([links, ifaces]) => {
    const text = `no guard judges these links of ${several(ifaces)} in the network of the node: ${quoted(links)}`;
    return notEnforced(node, text, END_FOREIGN, 'nodes');
  });
}

function warningsOf(report: NodeReport, status: NodeStatus): Problem[] {
  const { node, fullestMap } = report;
  const { bus } = status;
  const warnings: Problem[] = [...bypassWarnings(node, status), ...quarantineProblems(node, status)];
  if (fullestMap && fullestMap.percent >= FULL_PERCENT) {
    const text = `map ${reportedName(fullestMap.name)} is ${Math.round(fullestMap.percent)} % full`;
    warnings.push(
      warn(
        node,
        text,
        'raise its maxInterfaces, then `collector detach --all` and `collector attach` there: pinned maps keep their size',
      ),
    );
  }
  warnings.push(...packetLossProblems(node, status));
  const { unackedForMs = 0, unackedReason = '' } = bus;
  if (unackedForMs > NOT_SENT_MS) {
    const text = `its violations have not reached the bus for ${age(unackedForMs)}: they are not judged${unackedReason === '' ? '' : `: ${quoted(unackedReason)}`}`;
    warnings.push(shout(node, text, NOT_SENT, EXIT.dependencyUnreachable));
  } else if (bus.unackedFrames > BEHIND_FRAMES)
    warnings.push(warn(node, `${bus.unackedFrames} frames are unacknowledged: publishing is behind`));
  if (lacks(status, 'inotify'))
    warnings.push(warn(node, NO_INOTIFY, 'see docs/operations.md#resources-that-pods-share-with-a-node'));
  const unwritable = status.features.find(({ name, available }) => name === STATE_FILES && !available);
  if (unwritable)
    warnings.push(warn(node, `its collector cannot write its state: ${quoted(unwritable.reason)}`, FREE_STATE));
  if (!bus.connected) warnings.push(warn(node, 'its collector is disconnected from the bus'));
  return warnings;
}

/** False if it is not reported, as by older versions. */
const lacks = ({ features }: Pick<NodeStatus, 'features'>, feature: string): boolean =>
  features.some(({ name, available }) => name === feature && !available);
const STATE_FILES = 'state-files';
const FREE_STATE = 'free space on the disk of the node: docs/alerts.md, BailiffStateNotWritten';
const NO_INOTIFY =
  'inotify is used up by other processes: new pods without the CNI plugin are bound some tens of milliseconds later';

const recentUnjudged = ({ recentUnjudgedFrames, unjudgedFrames = 0 }: InterfaceStatus): number =>
  recentUnjudgedFrames ?? unjudgedFrames;

/** The guard can be skipped on this node, or frames were not judged. */
function bypassWarnings(node: string, status: NodeStatus): Problem[] {
  const { hook, interfaces } = status;
  const warnings: Problem[] = [];
  if (hook !== 'none' && lacks(status, 'checksum-offload'))
    warnings.push(notEnforced(node, NO_OFFLOAD, 'see docs/install.md#kernels', 'nodes'));
  if (hook !== 'none' && lacks(status, 'guard-bypass')) {
    const remedy = hook === 'tcx' ? RUN_POD_ENDS : NEEDS_TCX;
    warnings.push(warn(node, 'a pod with CAP_NET_ADMIN can send frames past its guard, by an ifb device', remedy));
  }
  const unjudged = interfaces.filter((iface) => recentUnjudged(iface) > 0);
  if (unjudged.length > 0) {
    const frames = unjudged.reduce((sum, iface) => sum + recentUnjudged(iface), 0);
    const period = unjudged.every(({ recentUnjudgedFrames }) => recentUnjudgedFrames !== undefined)
      ? ' in the last hour'
      : '';
    const text = `${plural(frames, 'frame')} of ${several(unjudged)} passed the guard without being judged${period}`;
    const remedy = 'bailiff events --vector unjudged; docs/alerts.md, BailiffFramesUnjudged';
    warnings.push(notEnforced(node, text, remedy, 'nodes'));
  }
  const uncompared = interfaces.filter(({ notCompared = '' }) => notCompared !== '');
  for (const [reason, ifaces] of byReason(uncompared.map((one) => ({ ...one, reason: one.notCompared ?? '' }))))
    warnings.push(warn(node, `unjudged frames of ${several(ifaces)} would not be found: ${quoted(reason)}`));
  return warnings;
}

const NO_OFFLOAD =
  'its kernel hides what the vector checksum-offload judges: a pod can have a judged frame changed by the kernel (see the feature checksum-offload)';

/** Quarantines that do not block all traffic of their pods, and would not. */
function quarantineProblems(node: string, status: NodeStatus): Problem[] {
  const { interfaces } = status;
  const isQuarantined = ({ quarantinedUntil }: InterfaceStatus) => quarantinedUntil !== null;
  const unguarded = interfaces.filter(
    (iface) => isQuarantined(iface) && (iface.coverage === 'not-covered' || iface.coverage === 'not-applicable'),
  );
  const problems = [...byReason(unguarded)].map(([reason, ifaces]) =>
    notEnforced(node, `quarantine blocks no traffic of ${several(ifaces)}: ${quoted(reason)}`, NO_QUARANTINE, 'nodes'),
  );
  if (lacks(status, 'probe-sockets') && interfaces.some(isQuarantined))
    problems.push(notEnforced(node, NO_PROBE_SOCKETS, PAST_GUARD, 'nodes'));
  const past = interfaces.filter(({ pastGuardFrames = 0 }) => pastGuardFrames > 0);
  const open = past.filter(isQuarantined);
  if (open.length > 0) {
    const text = `${several(open)} in quarantine, but what the CNI hands to its pod past the guard arrives: only what the pod sends is dropped`;
    return [...problems, notEnforced(node, text, PAST_GUARD, 'nodes')];
  }
  if (past.length === 0) return problems;
  const text = `the CNI hands frames to pods past their guards (${several(past)}): a quarantine would drop only what these pods send`;
  return [...problems, warn(node, text, PAST_GUARD)];
}

const NO_PROBE_SOCKETS =
  "pods in quarantine still serve pods on the host's network at their probe ports (see the feature probe-sockets)";
const NO_QUARANTINE = 'delete the pod; see docs/operations.md#what-a-quarantine-blocks';
const PAST_GUARD = 'see docs/operations.md#what-a-quarantine-blocks';

const RUN_POD_ENDS = 'run bailiff-pod-ends on the node (collector.podEnds.enabled in the chart)';
const NEEDS_TCX = 'Linux 6.6 (tcx); or forbid the module ifb on the node, if nothing there needs it';

const END_ORPHAN = 'on the node: ip link del <interface>; see docs/operations.md#orphaned-interfaces';

const END_FOREIGN =
  'delete the pod; prevent it by policies/escape-guard.yaml or hostUsers: false; see docs/operations.md#links-beside-the-guard';

/** A collector's reason for an interface that may be another program's. */
const NO_POD = /^no pod found/;
const EXCLUDE =
  'if it belongs to no pod, add ^its-name$ to the default of excludeInterfaces, which a value replaces: BAILIFF_COLLECTOR_EXCLUDE_INTERFACES';

const several = (ifaces: readonly InterfaceStatus[]): string => shortList(ifaces.map(interfaceName), MAX_NAMED);

function healthOf(report: NodeReport, status: NodeStatus, own: readonly Problem[], input: NodeInput): NodeHealth {
  if ((report.ageMs ?? 0) > input.staleMs) return 'silent';
  if ((status.bus.unackedForMs ?? 0) > NOT_SENT_MS) return 'unsent';
  if (own.some(({ exitCode }) => exitCode === EXIT.dependencyUnreachable)) return 'outdated';
  if (own.some(({ exitCode }) => exitCode === EXIT.kernelLacksFeature)) return 'uncovered';
  if (own.some(({ exitCode }) => exitCode === EXIT.badConfiguration)) return 'refused';
  if (status.disarmedUntil !== null && Date.parse(status.disarmedUntil) > input.nowMs) return 'disarmed';
  const passes = own.some(({ exitCode }) => exitCode === NOT_ENFORCED);
  if (passes || report.guarded < report.guardable || lacks(status, 'inotify') || lacks(status, STATE_FILES))
    return 'partial';
  return report.notEnforced > 0 ? 'not-enforced' : 'ok';
}
