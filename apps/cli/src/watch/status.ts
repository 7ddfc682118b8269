/** `bailiff status`: what is guarded, what is not enforced, what does not work, and why. */

import { BusError, isTransient, signedConfigBy } from '@bailiff/bus';
import { readFacts } from '@bailiff/insight';
import {
  type ClusterFacts,
  type ClusterReport,
  judge,
  STALE_NODE_MS,
  serviceLines,
  shortList,
  unreadyProblems,
  weigh,
} from '@bailiff/response';
import { EXIT } from '@bailiff/service';
import { pause } from '@bailiff/service/retry';
import type { Command } from 'commander';
import { parseName, parseSpan } from '../shared/arguments.ts';
import { CliError, describeError } from '../shared/errors.ts';
import type { CliIo } from '../shared/io.ts';
import { CHECK_SIGNERS_HELP } from '../shared/key-file.ts';
import { poll } from '../shared/poll.ts';
import { Progress } from '../shared/progress.ts';
import {
  nodeDetails,
  nodeTable,
  problemLines,
  streamLine,
  streamsOf,
  summaryLine,
  withoutRemoved,
} from '../shared/rows/cluster-status.ts';
import { onBus, type Session } from '../shared/session.ts';
import { wrap } from '../shared/text/clean.ts';
import { CLEAR_SCREEN } from '../shared/text/terminal.ts';

const HELP = `
Examples:
  bailiff status                     the whole cluster
  bailiff status --node node-3       one node in detail: interfaces, kernel features, maps
  bailiff status --wait 5m           after an installation or upgrade: until everything works
  bailiff status --json | jq '.problems'

Exit codes: 0 every frame is judged, and what should be dropped is dropped; 10 everything works, but something
is not enforced: a vector, policy or rule is in audit or off, a scope is disarmed, a pod is partly covered, or
policies are in enforce and a node cannot run their programs;
7 a node is silent or missing, its violations do not reach the bus, a needed service does not run or makes no
progress, verdicts wait for a response, responses fail, a stream is full, or a certificate is about to end;
3 a pod is not covered;
6 a configuration or a pod list is refused, stored configuration is not as --config-signers requires, or unguarded
nodes are not tainted as configured.
`;

/** Everything works, but something is in audit or off. */
const NOT_ENFORCED = 10;
const POLL_MS = 1_000;
const WATCH_MS = 2_000;

/** Nodes named in an error. */
const MAX_NODES = 12;

function printText(session: Session, facts: ClusterFacts, report: ClusterReport, node: string | undefined): void {
  const { out } = session;
  const { nowMs } = facts;
  if (report.nodes.length === 0) out.line('the bus has no status of a node');
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
  // Nothing is known of any node, so not that this one does not exist.
  if (report.nodes.length === 0) return report;
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

interface Options {
  node?: string;
  staleAfter: string;
  configSigners?: string;
  wait?: string;
  watch?: boolean;
  json?: boolean;
}

interface Reading {
  facts: ClusterFacts;
  report: ClusterReport;
}

interface Limits {
  node: string | undefined;
  staleMs: number;
  /** File of signers; empty: none. */
  signers: string;
}

async function read(session: Session, { node, staleMs, signers }: Limits): Promise<Reading> {
  const facts = await readFacts(session, staleMs, signedConfigBy(signers));
  const cluster = judge(facts);
  return { facts, report: node === undefined ? cluster : ofNode(cluster, node) };
}

/** --wait accepts NOT_ENFORCED: a mode that an operator chose does not change by waiting. */
const works = ({ exitCode }: Pick<ClusterReport, 'exitCode'>) => exitCode === EXIT.ok || exitCode === NOT_ENFORCED;

/** Without --wait, a service that starts or reconnects is no problem for a moment. */
function withUnready({ facts, report }: Reading): Reading {
  if (!works(report) || !facts.services) return { facts, report };
  const problems = [...report.problems, ...unreadyProblems(facts.services)];
  const exitCode = weigh(problems);
  return { facts, report: { ...report, ok: exitCode === EXIT.ok, exitCode, problems } };
}

/** Reads until everything works, or until --wait has passed. A terminal shows the first problem. */
async function readWithin(session: Session, { wait }: Options, limits: Limits): Promise<Reading> {
  const { io } = session;
  if (wait === undefined) return read(session, limits);
  const progress = new Progress(io, 'seconds');
  const startMs = io.nowMs();
  const withinMs = parseSpan(wait, '--wait');
  try {
    return await poll(
      io,
      { withinMs, everyMs: POLL_MS },
      async () => {
        const reading = withUnready(await read(session, limits));
        const problem = reading.report.problems.find((one) => !works(one));
        const seconds = Math.round((io.nowMs() - startMs) / 1000);
        progress.often(seconds, Math.round(withinMs / 1000), `waiting: ${problem?.text ?? 'all works'}`);
        return reading;
      },
      ({ report }) => works(report),
    );
  } finally {
    progress.end();
  }
}

async function show(session: Session, options: Options, limits: Limits): Promise<number> {
  const reading = await readWithin(session, options, limits);
  print(session, options, reading);
  if (!options.watch) return reading.report.exitCode;
  session.io.endWithReader();
  for (;;) {
    await pause(WATCH_MS, session.signal);
    session.signal.throwIfAborted();
    try {
      const next = await read(session, limits);
      if (session.io.stdout.isTty && !options.json) session.io.stdout.write(CLEAR_SCREEN);
      print(session, options, next);
    } catch (error) {
      session.signal.throwIfAborted();
      if (!(error instanceof BusError && isTransient(error))) throw error;
      session.out.note(...describeError(error, false).lines, 'read again until Ctrl-C');
    }
  }
}

function print(session: Session, options: Options, { facts, report }: Reading): void {
  const { out } = session;
  const { node } = options;
  if (options.json) {
    const { disarms, services, instances, deadLetters, certificates } = facts;
    out.json({ ...report, disarms, services, instances, streams: streamsOf(facts), deadLetters, certificates });
  } else printText(session, facts, report, node);
}

export function register(program: Command, io: CliIo): void {
  const command = program
    .command('status')
    .description('what is guarded and enforced, what does not work, and the state of all services')
    .option('--node <node>', 'one node, with all details')
    .option('--stale-after <duration>', 'a node without a status for this long is silent', `${STALE_NODE_MS / 1000}s`)
    .option('--config-signers <file>', CHECK_SIGNERS_HELP)
    .option('--wait <duration>', 'wait until everything works (exit code 0 or 10), at most this long')
    .option('-w, --watch', 'print it again every two seconds, until Ctrl-C')
    .option('--json', 'one JSON document')
    .addHelpText('after', HELP);
  onBus(command, io, (options: Options) => {
    if (options.wait !== undefined) parseSpan(options.wait, '--wait');
    if (options.node !== undefined) parseName(options.node, '--node');
    const staleMs = parseSpan(options.staleAfter, '--stale-after');
    const { node, configSigners: signers = '' } = options;
    // A file that cannot be used is named before the bus is asked.
    signedConfigBy(signers);
    return (session) => show(session, options, { node, staleMs, signers });
  });
}
