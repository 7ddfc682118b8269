/** `bailiff status`: what is guarded, what is not enforced, what does not work, and why. */

import { readFacts, SHOWN_STREAMS } from '@bailiff/insight';
import {
  type ClusterFacts,
  type ClusterReport,
  judge,
  STALE_NODE_MS,
  serviceLines,
  shortList,
  weigh,
} from '@bailiff/response';
import { EXIT } from '@bailiff/service';
import type { Command } from 'commander';
import { parseName, parseSpan } from '../shared/arguments.ts';
import { CliError } from '../shared/errors.ts';
import type { CliIo } from '../shared/io.ts';
import { onBus, type Session } from '../shared/session.ts';
import { wrap } from '../shared/text/clean.ts';
import {
  nodeDetails,
  nodeTable,
  problemLines,
  type StreamState,
  streamLine,
  summaryLine,
  withoutRemoved,
} from './render.ts';

const HELP = `
Examples:
  bailiff status                     the whole cluster
  bailiff status --node node-3       one node in detail: interfaces, kernel features, maps
  bailiff status --json | jq '.problems'

Exit codes: 0 every frame is judged, and what should be dropped is dropped; 10 everything works, but something
is not enforced: a vector, policy or rule is in audit or off, a scope is disarmed, or a pod is partly covered;
7 a node is silent or missing, its violations do not reach the bus, a needed service does not run or makes no
progress, verdicts wait for a response, responses fail, a stream is full, or a certificate ends within three days;
3 a pod is not covered;
6 a configuration or a pod list is refused, or unguarded nodes are not tainted as configured.
`;

/** Nodes named in an error. */
const MAX_NODES = 12;

export function streamsOf({ streams }: ClusterFacts): StreamState[] {
  return SHOWN_STREAMS.map((name) => {
    const info = streams.get(name);
    if (!info) return { name, messages: null, bytes: 0, newestMs: null };
    const { messages, bytes, last_ts: newest } = info.state;
    return { name, messages, bytes, newestMs: messages > 0 ? Date.parse(newest) : null };
  });
}

function printText(session: Session, facts: ClusterFacts, report: ClusterReport, node: string | undefined): void {
  const { out } = session;
  const { nowMs } = facts;
  if (report.nodes.length === 0) out.line('no node has reported yet');
  else out.lines(nodeTable(node === undefined ? withoutRemoved(report) : report, nowMs, out.table));
  const problems = problemLines(report.problems, out.table);
  if (problems.length > 0) out.lines(['', ...problems]);
  const { width } = out.table;
  if (node !== undefined) {
    const status = report.nodes[0]?.status;
    if (status) out.lines(nodeDetails(status, nowMs, out.table));
    return;
  }
  const { services } = facts;
  const serviceTexts = services ? serviceLines(services).map(({ name, text }) => `${name}: ${text}`) : [];
  const summary = [summaryLine(report), ...serviceTexts, streamLine(streamsOf(facts), nowMs)];
  out.lines(['', ...summary.flatMap((line) => wrap(line, width))]);
}

/** What concerns one node: its own problems, and what is not enforced. */
function ofNode(report: ClusterReport, node: string): ClusterReport {
  const nodes = report.nodes.filter((one) => one.node === node);
  if (nodes.length === 0) {
    const known = shortList(
      report.nodes.map((one) => one.node),
      MAX_NODES,
    );
    throw new CliError('CLI_NOT_FOUND', `no node "${node}" exists`, { remedy: `known nodes: ${known || 'none'}` });
  }
  const problems = report.problems.filter((one) => one.node === node || one.area === 'enforcement');
  const exitCode = weigh(problems);
  return { ...report, ok: exitCode === EXIT.ok, exitCode, nodes, problems };
}

async function show(session: Session, options: { node?: string; json?: boolean }, staleMs: number): Promise<number> {
  const { out } = session;
  const { node } = options;
  const facts = await readFacts(session, staleMs);
  const cluster = judge(facts);
  const report = node === undefined ? cluster : ofNode(cluster, node);
  if (options.json) {
    const { disarms, services, instances, deadLetters, certificates } = facts;
    out.json({ ...report, disarms, services, instances, streams: streamsOf(facts), deadLetters, certificates });
  } else printText(session, facts, report, node);
  return report.exitCode;
}

export function register(program: Command, io: CliIo): void {
  const command = program
    .command('status')
    .description('what is guarded and enforced, what does not work, and the state of all services')
    .option('--node <node>', 'one node, with all details')
    .option('--stale-after <duration>', 'a node without a status for this long is silent', `${STALE_NODE_MS / 1000}s`)
    .option('--json', 'one JSON document')
    .addHelpText('after', HELP);
  onBus(command, io, (options: { node?: string; staleAfter: string; json?: boolean }) => {
    if (options.node !== undefined) parseName(options.node, '--node');
    const staleMs = parseSpan(options.staleAfter, '--stale-after');
    return (session) => show(session, options, staleMs);
  });
}
