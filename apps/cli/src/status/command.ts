/** `bailiff status`: is every pod of every node guarded, and if not, why. */

import { SERVICES_BUCKET } from '@bailiff/bus';
import type { ServiceStatus } from '@bailiff/response';
import { EXIT } from '@bailiff/service';
import type { Command } from 'commander';
import { CliError } from '../shared/errors.ts';
import type { CliIo } from '../shared/io.ts';
import { readDisarms } from '../shared/read/disarms.ts';
import { readInstances } from '../shared/read/instances.ts';
import { readExpectedNodes, readNodes } from '../shared/read/nodes.ts';
import { readServices } from '../shared/read/services.ts';
import { readStreams, type StreamInfo } from '../shared/read/streams.ts';
import { parseName } from '../shared/selectors.ts';
import { optionsOf, type Session, withBusOptions, withSession } from '../shared/session.ts';
import { wrap } from '../shared/text/clean.ts';
import { parseSpan } from '../shared/text/time.ts';
import { fillOf, fillProblems } from './fill.ts';
import { refusalProblems } from './instances.ts';
import {
  disarmLines,
  nodeDetails,
  nodeTable,
  problemLines,
  type StreamState,
  streamLine,
  summaryLine,
} from './render.ts';
import { type Problem, reportOf, type StatusReport, weigh } from './report.ts';
import { serviceLines, serviceProblems } from './services.ts';
import { taintProblems } from './taints.ts';

/** Six times the ordinary interval of a collector's status. */
const DEFAULT_STALE = '60s';
const STREAMS = ['VIOLATIONS', 'VERDICTS', 'RESPONSES', 'DEAD_LETTERS'];
/** Without it nothing is known of the services. */
const SERVICES = `KV_${SERVICES_BUCKET}`;

const HELP = `
Examples:
  bailiff status                     the cluster in one look
  bailiff status --node node-3       everything one node says: interfaces, kernel features, maps
  bailiff status --json | jq '.problems'

Exit code: 0 all is guarded (also while disarmed on purpose); 7 a node is silent or missing, no correlator, responder
or ipam-sync runs, one makes no progress or cannot work, verdicts wait for a response, or a stream is full; 3 a pod is not covered; 6 a node or a service refuses a configuration, a node its
list of pods, or nodes are not tainted as it says.
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
      remedy: 'it was not set up for Bailiff, or is another one',
      exitCode: EXIT.dependencyUnreachable,
    });
  }
  problems.push(...fillProblems(streams.flatMap(({ fill }) => fill ?? [])));
  if (expected === null) {
    const text = 'has not been told which nodes there are: a node without a collector would not be noticed';
    problems.push({ severity: 'warn', node: 'bus', text, remedy: 'is ipam-sync running?', exitCode: EXIT.ok });
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
  const told = [...disarmLines(report.disarms, nowMs, out.table), ...problemLines(report.problems, out.table)];
  if (told.length > 0) out.lines(['', ...told]);
  const { width } = out.table;
  if (node !== undefined) {
    const status = report.nodes[0]?.status;
    if (status) out.lines(nodeDetails(status, nowMs, out.table));
    return;
  }
  const served = services ? serviceLines(services).map(({ name, text }) => `${name}: ${text}`) : [];
  const summary = [summaryLine(report), ...served, streamLine(streams, nowMs)];
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
  const whole = reportOf({ nodes, expected, disarms, nowMs: io.nowMs(), staleMs });
  if (node !== undefined && !whole.nodes.some((one) => one.node === node)) {
    throw new CliError('CLI_NOT_FOUND', `no node "${node}" is known`, {
      remedy: `known: ${
        whole.nodes
          .map((one) => one.node)
          .slice(0, 12)
          .join(', ') || 'none'
      }`,
    });
  }
  const mine = (one: { node: string }) => node === undefined || one.node === node;
  const ofAll = node === undefined ? busProblems(found, expected) : [];
  const problems = [
    ...whole.problems.filter(mine),
    ...ofAll,
    ...(services ? serviceProblems(services) : []),
    ...taintProblems(instances, io.nowMs()).filter(mine),
    ...(node === undefined ? refusalProblems(instances, io.nowMs()) : []),
  ];
  const report = { ...whole, nodes: whole.nodes.filter(mine), problems, exitCode: weigh(problems) };
  if (options.json) {
    const { exitCode, ...rest } = report;
    const told = streams.map(({ fill: _, ...one }) => one);
    out.json({ ok: exitCode === 0, exitCode, ...rest, services, instances, streams: told });
  } else printText(session, report, streams, services, node);
  return report.exitCode;
}

export function register(program: Command, io: CliIo): void {
  const command = program
    .command('status')
    .description('what is guarded, what is not and why, losses, who is silent, whether verdicts are made and answered')
    .option('--node <node>', 'one node, with all that it says')
    .option('--stale-after <duration>', 'a node that has said nothing for this long is silent', DEFAULT_STALE)
    .option('--json', 'one JSON document')
    .addHelpText('after', HELP);
  withBusOptions(command).action(async () => {
    const options = optionsOf<{ node?: string; staleAfter: string; json?: boolean }>(command);
    if (options.node !== undefined) parseName(options.node, '--node');
    const staleMs = parseSpan(options.staleAfter, '--stale-after');
    io.exitCode = await withSession(io, command, (session) => show(session, options, staleMs));
  });
}
