/** `bailiff status`: which pods of which nodes are guarded, and why the others are not. */

import { SERVICES_BUCKET } from '@bailiff/bus';
import type { ServiceStatus } from '@bailiff/response';
import { EXIT } from '@bailiff/service';
import type { Command } from 'commander';
import { parseName, parseSpan } from '../shared/arguments.ts';
import { CliError } from '../shared/errors.ts';
import type { CliIo } from '../shared/io.ts';
import { readDisarms } from '../shared/read/disarms.ts';
import { readInstances } from '../shared/read/instances.ts';
import { readExpectedNodes, readNodes } from '../shared/read/nodes.ts';
import { readServices } from '../shared/read/services.ts';
import { readStreams, type StreamInfo } from '../shared/read/streams.ts';
import { onBus, type Session } from '../shared/session.ts';
import { wrap } from '../shared/text/clean.ts';
import { fillOf, fillProblems } from './fill.ts';
import { refusalProblems } from './instances.ts';
import { type Problem, weigh } from './problem.ts';
import {
  disarmLines,
  nodeDetails,
  nodeTable,
  problemLines,
  type StreamState,
  streamLine,
  summaryLine,
} from './render.ts';
import { reportOf, type StatusReport } from './report.ts';
import { serviceLines, serviceProblems } from './services.ts';
import { taintProblems } from './taints.ts';

/** Six times the collector's status interval. */
const DEFAULT_STALE = '60s';
const STREAMS = ['VIOLATIONS', 'VERDICTS', 'RESPONSES', 'DEAD_LETTERS'];
/** Holds the status of the services. */
const SERVICES = `KV_${SERVICES_BUCKET}`;

const HELP = `
Examples:
  bailiff status                     the whole cluster
  bailiff status --node node-3       one node in detail: interfaces, kernel features, maps
  bailiff status --json | jq '.problems'

Exit codes: 0 every pod is guarded, also while disarmed; 7 a node is silent or missing, a needed service
does not run or makes no progress, verdicts wait for a response, or a stream is full; 3 a pod is not covered;
6 a configuration or a pod list is refused, or unguarded nodes are not tainted as configured.
`;

function streamState(name: string, info: StreamInfo | null): StreamState {
  if (info === null) return { name, messages: null, bytes: 0, newestMs: null };
  const { state } = info;
  const newestMs = state.messages > 0 ? Date.parse(state.last_ts) : null;
  return { name, messages: state.messages, bytes: state.bytes, newestMs, fill: fillOf(info) };
}

function busProblems(streams: readonly StreamState[], expected: readonly string[] | null): Problem[] {
  const problems: Problem[] = [];
  const missing = streams.filter(({ messages }) => messages === null).map(({ name }) => name);
  if (missing.length > 0) {
    problems.push({
      severity: 'shout',
      node: 'bus',
      text: `has no ${missing.join(', ')}`,
      remedy: 'run `bailiff bus setup`, or check that this is the right bus',
      exitCode: EXIT.dependencyUnreachable,
    });
  }
  problems.push(...fillProblems(streams.flatMap(({ fill }) => fill ?? [])));
  if (expected === null) {
    const text = "has no list of the cluster's nodes: nodes without a collector go unnoticed";
    problems.push({ severity: 'warn', node: 'bus', text, remedy: 'check that ipam-sync runs', exitCode: EXIT.ok });
  }
  return problems;
}

function printText(
  session: Session,
  report: StatusReport,
  streams: readonly StreamState[],
  services: ServiceStatus | null,
  node: string | undefined,
): void {
  const { out, io } = session;
  const nowMs = io.nowMs();
  if (report.nodes.length === 0) out.line('no node has reported yet');
  else out.lines(nodeTable(report, nowMs, out.table));
  const alerts = [...disarmLines(report.disarms, nowMs, out.table), ...problemLines(report.problems, out.table)];
  if (alerts.length > 0) out.lines(['', ...alerts]);
  const { width } = out.table;
  if (node !== undefined) {
    const status = report.nodes[0]?.status;
    if (status) out.lines(nodeDetails(status, nowMs, out.table));
    return;
  }
  const serviceTexts = services ? serviceLines(services).map(({ name, text }) => `${name}: ${text}`) : [];
  const summary = [summaryLine(report), ...serviceTexts, streamLine(streams, nowMs)];
  out.lines(['', ...summary.flatMap((line) => wrap(line, width))]);
}

async function show(session: Session, options: { node?: string; json?: boolean }, staleMs: number): Promise<number> {
  const { bus, io, out } = session;
  const { node } = options;
  const services = node === undefined ? await readServices(session) : null;
  const [nodes, expected, disarms, instances, infos] = await Promise.all([
    readNodes(session),
    readExpectedNodes(session),
    readDisarms(session),
    readInstances(bus),
    readStreams(bus, [...STREAMS, SERVICES]),
  ]);
  const found = [...infos].map(([name, info]) => streamState(name, info));
  const streams = found.filter(({ name }) => name !== SERVICES);
  const cluster = reportOf({ nodes, expected, disarms, nowMs: io.nowMs(), staleMs });
  if (node !== undefined && !cluster.nodes.some((one) => one.node === node)) {
    throw new CliError('CLI_NOT_FOUND', `no node "${node}" exists`, {
      remedy: `known nodes: ${
        cluster.nodes
          .map((one) => one.node)
          .slice(0, 12)
          .join(', ') || 'none'
      }`,
    });
  }
  const isShown = (one: { node: string }) => node === undefined || one.node === node;
  const ofAll = node === undefined ? busProblems(found, expected) : [];
  const problems = [
    ...cluster.problems.filter(isShown),
    ...ofAll,
    ...(services ? serviceProblems(services) : []),
    ...taintProblems(instances, io.nowMs()).filter(isShown),
    ...(node === undefined ? refusalProblems(instances, io.nowMs()) : []),
  ];
  const report = { ...cluster, nodes: cluster.nodes.filter(isShown), problems, exitCode: weigh(problems) };
  if (options.json) {
    const { exitCode, ...rest } = report;
    const shown = streams.map(({ fill: _, ...one }) => one);
    out.json({ ok: exitCode === 0, exitCode, ...rest, services, instances, streams: shown });
  } else printText(session, report, streams, services, node);
  return report.exitCode;
}

export function register(program: Command, io: CliIo): void {
  const command = program
    .command('status')
    .description('guarded and unguarded pods, losses, silent nodes, and the state of all services')
    .option('--node <node>', 'one node, with all details')
    .option('--stale-after <duration>', 'a node without a status for this long is silent', DEFAULT_STALE)
    .option('--json', 'one JSON document')
    .addHelpText('after', HELP);
  onBus(command, io, (options: { node?: string; staleAfter: string; json?: boolean }) => {
    if (options.node !== undefined) parseName(options.node, '--node');
    const staleMs = parseSpan(options.staleAfter, '--stale-after');
    return (session) => show(session, options, staleMs);
  });
}
