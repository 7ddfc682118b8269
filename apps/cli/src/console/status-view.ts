/** What `bailiff status` prints, as a view of the console. Pure. */
import type { MaySee, StatusView } from '@bailiff/console';
import type { PlacedPod } from '@bailiff/insight';
import {
  type ClusterFacts,
  type ClusterReport,
  enforcementOf,
  isWeakened,
  type NodeReport,
  podName,
  serviceLines,
  shortList,
} from '@bailiff/response';
import {
  MAX_NODES_NAMED,
  NODE_COLUMNS,
  nodeCells,
  shownProblems,
  streamLine,
  streamsOf,
  summaryLine,
  withoutRemoved,
} from '../shared/rows/cluster-status.ts';
import { podLink, rowOf, tableOf } from './tables.ts';

const MAX_PROBLEMS = 100;
/** The worst nodes are shown. */
const MAX_NODES = 200;

/** Nodes that need a look come first. */
const ORDER = [
  ...['missing', 'silent', 'unreadable', 'unsent', 'outdated', 'uncovered', 'refused'],
  ...['partial', 'disarmed', 'not-enforced', 'ok', 'removed'],
] as const;

export function statusView(facts: ClusterFacts, report: ClusterReport, notes: readonly string[]): StatusView {
  const { nowMs, services } = facts;
  const { shown, left } = shownProblems(report.problems, MAX_PROBLEMS);
  const nodes = [...withoutRemoved(report).nodes].sort((a, b) => ORDER.indexOf(a.health) - ORDER.indexOf(b.health));
  const sum = (of: 'guarded' | 'guardable') => nodes.reduce((total, node) => total + node[of], 0);
  return {
    atMs: nowMs,
    ok: report.ok,
    exitCode: report.exitCode,
    headline: headlineOf(report, shown),
    summary: report.nodes.length === 0 ? 'the bus has no status of a node' : summaryLine(report),
    services: services ? serviceLines(services).map(({ name, text }) => ({ name, text })) : [],
    streams: streamLine(streamsOf(facts), nowMs),
    problems: shown.map(({ severity, nodes: where, text, remedy }) => ({
      severity,
      text,
      remedy,
      where: shortList(where, MAX_NODES_NAMED),
    })),
    problemsOmitted: left,
    nodes: tableOf(
      NODE_COLUMNS,
      nodes.map((node) => rowOf(NODE_COLUMNS, node.node, nodeCells(node, nowMs))),
      MAX_NODES,
    ),
    guarded: sum('guarded'),
    guardable: sum('guardable'),
    enforced: nodes.reduce((total, node) => total + enforcedOn(node), 0),
    notes: [...notes],
  };
}

/** Disarmed guards drop nothing, and those of a silent node are not known to. */
const enforcedOn = ({ health, guarded, notEnforced }: NodeReport): number =>
  health === 'disarmed' || health === 'silent' ? 0 : guarded - notEnforced;

/** The answer to "is everything guarded?". */
function headlineOf({ ok, nodes }: ClusterReport, shown: ReturnType<typeof shownProblems>['shown']): string {
  const severe = shown.filter(({ severity }) => severity === 'shout').flatMap((one) => one.nodes);
  if (severe.length > 0) return `Something does not work: ${shortList([...new Set(severe)], MAX_NODES_NAMED)}`;
  if (nodes.length === 0) return 'The bus has no status of a node';
  if (!ok) return 'Everything works, but not everything is enforced';
  return 'Every frame is judged, and what should be dropped is dropped';
}

const POD_COLUMNS = [{ title: 'POD', min: 8 }, { title: 'GUARDED' }, { title: 'WHY NOT', min: 8 }];

export interface PodLists {
  pods: readonly PlacedPod[];
  /** False: the list of a node cannot be read. */
  isWhole: boolean;
}

interface Place {
  pod: PlacedPod;
  interfaceName: string;
  /** Whether it is guarded; null: unknown. */
  isGuarded: boolean | null;
  why: string;
}

/** The interfaces of a pod, by the report of its own node: other nodes have no say about it. */
function placesOf(pod: PlacedPod, { nodes, nowMs, staleMs }: ClusterFacts): Place[] {
  const unknown = (why: string): Place[] => [{ pod, interfaceName: '', isGuarded: null, why }];
  const status = nodes.get(pod.nodeName);
  if (status === undefined) return unknown('its node has not reported');
  if (typeof status === 'string') return unknown('the report of its node cannot be read');
  if (nowMs - Date.parse(status.updatedAt) > staleMs) return unknown('its node has not reported for a while');
  const own = status.interfaces.filter(({ podUid }) => podUid === pod.uid);
  if (own.length === 0) return unknown('the report of its node does not name it');
  const isAhead = (until: string | null): boolean => until !== null && Date.parse(until) > nowMs;
  const inNamespace = status.disarmedNamespaces?.find(({ namespace }) => namespace === pod.namespace);
  let disarmed = isAhead(status.disarmedUntil) ? 'its node is disarmed' : '';
  if (disarmed === '' && inNamespace && isAhead(inNamespace.disarmedUntil))
    disarmed = 'its namespace is disarmed there';
  return own
    .filter(({ coverage }) => coverage !== 'not-applicable')
    .map(({ interfaceName, coverage, reason }) => ({
      pod,
      interfaceName,
      isGuarded: coverage === 'guarded' && disarmed === '',
      why: disarmed || reason,
    }));
}

/**
 * Without the right to see nodes: whether the interfaces of the pods that one may see are guarded. The pod
 * lists decide which pods there are: a pod that no node reports is not guarded as far as is known.
 */
export function coverageView(facts: ClusterFacts, { pods, isWhole }: PodLists, maySee: MaySee): StatusView {
  const seen = pods
    .filter(({ namespace, hostNetwork, ended, interfaces }) => {
      return maySee(namespace) && !hostNetwork && ended !== true && interfaces.length > 0;
    })
    .flatMap((pod) => placesOf(pod, facts));
  const open = seen.filter(({ isGuarded }) => isGuarded !== true);
  const guarded = seen.length - open.length;
  const { weakened } = enforcementOf(facts.config);
  const lenient = seen.filter(
    ({ pod: { namespace: podNamespace, name }, isGuarded }) =>
      isGuarded === true && isWeakened({ podNamespace, podName: name }, weakened),
  ).length;
  const rows = open.map(({ pod, interfaceName, isGuarded, why }) =>
    rowOf(
      POD_COLUMNS,
      `${pod.uid} ${interfaceName}`,
      [podName(pod), { text: isGuarded === null ? 'unknown' : 'no', style: 'red' }, why],
      { POD: podLink(pod) },
    ),
  );
  return {
    atMs: facts.nowMs,
    ok: isWhole && seen.length > 0 && open.length === 0,
    exitCode: null,
    services: [],
    streams: '',
    headline: coverageHeadline(seen.length, open.length, isWhole),
    summary: `${guarded} of ${seen.length} interfaces of the pods that you may see are guarded${
      lenient > 0 ? `, ${lenient} of them not fully enforced` : ''
    }`,
    problems: [],
    problemsOmitted: 0,
    notes: [],
    guarded,
    guardable: seen.length,
    enforced: guarded - lenient,
    nodes: tableOf(POD_COLUMNS, rows, MAX_NODES),
  };
}

function coverageHeadline(seen: number, open: number, isWhole: boolean): string {
  if (open > 0) return `Not known to be guarded: ${open} of ${seen} interfaces of your pods`;
  if (!isWhole) return 'A pod list cannot be read: pods of yours may be missing here';
  if (seen === 0) return 'No pod of yours is in the pod lists: whether it is guarded is unknown';
  return 'Every pod that you may see is guarded';
}
