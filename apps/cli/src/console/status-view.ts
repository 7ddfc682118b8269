/** What `bailiff status` prints, as a view of the console. Pure. */
import type { MaySee, StatusView } from '@bailiff/console';
import { type ClusterFacts, type ClusterReport, serviceLines, shortList } from '@bailiff/response';
import { streamsOf } from '../status/command.ts';
import {
  MAX_NODES_NAMED,
  NODE_COLUMNS,
  nodeCells,
  orderedProblems,
  streamLine,
  summaryLine,
  withoutRemoved,
} from '../status/render.ts';
import { podLink, rowOf, tableOf } from './tables.ts';

const MAX_PROBLEMS = 100;
/** The worst nodes are shown. */
const MAX_NODES = 200;

/** Nodes that need a look come first. */
const ORDER = [
  ...['missing', 'silent', 'unreadable', 'unsent', 'uncovered', 'refused'],
  ...['partial', 'disarmed', 'not-enforced', 'ok', 'removed'],
] as const;

export function statusView(facts: ClusterFacts, report: ClusterReport, notes: readonly string[]): StatusView {
  const { nowMs, services } = facts;
  const problems = orderedProblems(report.problems);
  const nodes = [...withoutRemoved(report).nodes].sort((a, b) => ORDER.indexOf(a.health) - ORDER.indexOf(b.health));
  const sum = (of: 'guarded' | 'guardable') => nodes.reduce((total, node) => total + node[of], 0);
  return {
    atMs: nowMs,
    ok: report.ok,
    exitCode: report.exitCode,
    headline: headlineOf(report),
    summary: report.nodes.length === 0 ? 'no node has reported yet' : summaryLine(report),
    services: services ? serviceLines(services).map(({ name, text }) => ({ name, text })) : [],
    streams: streamLine(streamsOf(facts), nowMs),
    problems: problems.slice(0, MAX_PROBLEMS).map(({ severity, nodes: where, text, remedy }) => ({
      severity,
      text,
      remedy,
      where: shortList(where, MAX_NODES_NAMED),
    })),
    problemsOmitted: Math.max(0, problems.length - MAX_PROBLEMS),
    nodes: tableOf(
      NODE_COLUMNS,
      nodes.map((node) => rowOf(NODE_COLUMNS, node.node, nodeCells(node, nowMs))),
      MAX_NODES,
    ),
    guarded: sum('guarded'),
    guardable: sum('guardable'),
    notes: [...notes],
  };
}

/** The answer to "is everything guarded?". */
function headlineOf({ ok, problems, nodes }: ClusterReport): string {
  const severe = problems.filter(({ severity }) => severity === 'shout').map(({ node }) => node);
  if (severe.length > 0) return `Something does not work: ${shortList([...new Set(severe)], MAX_NODES_NAMED)}`;
  if (nodes.length === 0) return 'No node has reported yet';
  if (!ok) return 'Everything works, but not everything is enforced';
  return 'Every frame is judged, and what should be dropped is dropped';
}

const POD_COLUMNS = [{ title: 'POD', min: 8 }, { title: 'GUARDED' }, { title: 'WHY NOT', min: 8 }];

/**
 * Without the right to see nodes: whether the interfaces of the pods that one may see are guarded, as the
 * nodes reported last.
 */
export function coverageView({ nodes, nowMs, staleMs }: ClusterFacts, maySee: MaySee): StatusView {
  const statuses = [...nodes.values()].filter((status) => typeof status !== 'string');
  const seen = statuses.flatMap((status) =>
    status.interfaces
      .filter(({ podName, podNamespace }) => podName !== '' && maySee(podNamespace))
      .map((one) => ({ ...one, isStale: nowMs - Date.parse(status.updatedAt) > staleMs })),
  );
  const open = seen.filter(({ coverage, isStale }) => coverage !== 'guarded' || isStale);
  const guarded = seen.length - open.length;
  const rows = open.map(({ podNamespace, podName, interfaceName, reason, isStale }) =>
    rowOf(
      POD_COLUMNS,
      `${podNamespace}/${podName} ${interfaceName}`,
      [
        `${podNamespace}/${podName}`,
        { text: isStale ? 'unknown' : 'no', style: 'red' },
        isStale ? 'its node has not reported for a while' : reason,
      ],
      { POD: podLink({ namespace: podNamespace, name: podName }) },
    ),
  );
  return {
    atMs: nowMs,
    ok: seen.length > 0 && open.length === 0,
    exitCode: null,
    services: [],
    streams: '',
    headline:
      seen.length === 0
        ? 'No node reports a pod of yours: whether it is guarded is unknown'
        : open.length === 0
          ? 'Every pod that you may see is guarded'
          : `Not guarded: ${open.length} of ${seen.length} interfaces of your pods`,
    summary: `${guarded} of ${seen.length} interfaces of the pods that you may see are guarded`,
    problems: [],
    problemsOmitted: 0,
    notes: [],
    guarded,
    guardable: seen.length,
    nodes: tableOf(POD_COLUMNS, rows, MAX_NODES),
  };
}
