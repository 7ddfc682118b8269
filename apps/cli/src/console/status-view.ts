/** What `bailiff status` prints, as a view of the console. Pure. */
import type { StatusView } from '@bailiff/console';
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
import { rowOf, tableOf } from './tables.ts';

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
      ...{ severity, text, remedy },
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
