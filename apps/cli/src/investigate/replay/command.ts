/** `bailiff replay`: stored violations to the terminal, a file, or other subjects. */
import { lifeOf, SIEM_FORMATS, type SiemFormat, streamInfo } from '@bailiff/bus';
import { isoMicros, readBusTime } from '@bailiff/insight';
import { plural } from '@bailiff/response';
import type { Command } from 'commander';
import { oneOf, parseName, parsePod, parseRange, wholeNumber } from '../../shared/arguments.ts';
import { CliError } from '../../shared/errors.ts';
import type { CliIo } from '../../shared/io.ts';
import { onBus, type Session } from '../../shared/session.ts';
import { Replay, type ReplayRequest, SPEEDS, type Speed } from './replay.ts';
import {
  avroCopies,
  avroSink,
  busSink,
  checkTarget,
  jsonCopies,
  jsonSink,
  SCRATCH,
  type Sink,
  siemCopies,
  siemSink,
  tableSink,
} from './sink.ts';

interface Options {
  since?: string;
  until?: string;
  pod?: string;
  namespace?: string;
  node?: string;
  kind?: string;
  speed?: string;
  to?: string;
  format?: string;
  fromSeq?: string;
}

const DEFAULT_SINCE = '1h';
const FORMATS = ['table', 'json', 'avro', ...SIEM_FORMATS] as const;
type Format = (typeof FORMATS)[number];
const MAX_SEQUENCE = 999_999_999;

const EXAMPLES = `
Examples:
  bailiff replay --since 1h --to ${SCRATCH}.case-7          the last hour to a scratch subject, without pauses
  bailiff replay --since 10m --speed 1x --pod shop/web-0             ten minutes of one pod, at the original pace
  bailiff replay --since 1d --node node-a --format avro > day.avro   an Avro object container file
  bailiff replay --since all --format json | jq .vector
  bailiff replay --since 7d --format ocsf > events.ndjson            the siem-relay's events, with the same metadata.uid

Replay only reads VIOLATIONS and affects no other reader. Below bailiff.v1, copies go only to ${SCRATCH}.>, which no
stream stores. Subjects are <prefix>.violations.<partition>.<node>.<kind> and, for SIEM events,
<prefix>.siem.<format>.<class>.<namespace>, with the headers Bailiff-Replay-Sequence and Bailiff-Replay-Time.
An interrupted replay prints the command that resumes it (--from-seq).
`;

interface Plan {
  request: ReplayRequest;
  format: Format;
  to: string | null;
}

function formatOf(options: Options, io: CliIo): Plan['format'] {
  const format = oneOf(options.format ?? (options.to === undefined ? 'table' : 'avro'), FORMATS, '--format');
  if (format === 'table' && options.to !== undefined) {
    throw new CliError('CLI_USAGE', '--to cannot publish a table; use --format avro, json or a SIEM format');
  }
  if (format === 'avro' && options.to === undefined && io.stdout.isTty) {
    throw new CliError('CLI_USAGE', '--format avro cannot be printed to a terminal', {
      remedy: 'redirect it to a file: > frames.avro',
    });
  }
  return format;
}

/** Validates all options before connecting. @returns the plan, by the time now. @throws CliError CLI_USAGE */
function planOf(options: Options, io: CliIo): Omit<Plan, 'request'> & { requestAt(nowMs: number): ReplayRequest } {
  const { since, until, fromSeq } = options;
  const rangeAt = parseRange(since ?? (fromSeq === undefined ? DEFAULT_SINCE : 'all'), until);
  const request = {
    fromSequence: fromSeq === undefined ? null : wholeNumber(fromSeq, '--from-seq', 1, MAX_SEQUENCE),
    pod: options.pod === undefined ? null : parsePod(options.pod, '--pod', options.namespace),
    node: options.node === undefined ? null : parseName(options.node, '--node'),
    kind: options.kind === undefined ? null : oneOf(options.kind, ['spoof', 'lsm'] as const, '--kind'),
    speed: oneOf(options.speed ?? 'max', Object.keys(SPEEDS) as Speed[], '--speed'),
  };
  return {
    format: formatOf(options, io),
    to: options.to === undefined ? null : checkTarget(options.to),
    requestAt: (nowMs) => ({ ...request, ...rangeAt(nowMs) }),
  };
}

const isSiem = (format: Format): format is SiemFormat => (SIEM_FORMATS as readonly string[]).includes(format);

/** @throws BusError if the stream's creation time, a part of event uids, cannot be read */
async function sinkOf({ io, bus, out }: Session, { format, to, request }: Plan): Promise<Sink> {
  if (isSiem(format)) {
    const info = await streamInfo(bus, 'VIOLATIONS');
    const createdMs = (sequence: number) => lifeOf(info, sequence);
    const mapping = { format, version: io.version, createdMs };
    return to === null ? siemSink(out, mapping) : busSink(bus, to, siemCopies(mapping));
  }
  if (to !== null) return busSink(bus, to, format === 'json' ? jsonCopies() : avroCopies);
  if (format === 'avro') return avroSink(out, request.fromSequence === null);
  return format === 'json' ? jsonSink(out) : tableSink(out, request.speed !== 'max');
}

/** The command that resumes this replay, with absolute times. Pure. */
function resumeCommand(options: Options, { request, format }: Plan, nextSequence: number): string {
  const until = Number.isFinite(request.untilMicros)
    ? isoMicros(request.untilMicros).replace(/\d{3}Z$/, 'Z')
    : undefined;
  const { pod, namespace, node, kind, speed, to } = options;
  const flags = { until, pod, namespace, node, kind, speed, to, format, 'from-seq': String(nextSequence) };
  const words = Object.entries(flags).flatMap(([name, value]) => (value === undefined ? [] : [`--${name} ${value}`]));
  return ['bailiff replay', ...words].join(' ');
}

function printSummary(session: Session, options: Options, plan: Plan, run: Replay): void {
  const { state } = run;
  const { out, decoder } = session;
  decoder.reportUndecodable(out);
  const { frames, violations, firstSequence, lastSequence } = state;
  const where = frames === 0 ? '' : `, #${firstSequence} to #${lastSequence}`;
  const what = `${plural(frames, 'frame')} with ${plural(violations, 'violation')}${where}`;
  if (state.ended === 'end') out.note(`replayed ${what}`);
  else {
    const resume = state.beginSequence === 0 ? 'nothing was read yet' : resumeCommand(options, plan, run.nextSequence);
    out.note(`stopped after ${what}; resume with:`, `  ${resume}`);
  }
}

async function replay(session: Session, options: Options, plan: Plan): Promise<void> {
  const sink = await sinkOf(session, plan);
  const run = new Replay(session, plan.request, sink);
  try {
    await run.run();
  } finally {
    sink.close();
    printSummary(session, options, plan, run);
  }
  if (run.state.ended === 'interrupted') throw session.io.signal.reason as Error;
}

export function register(program: Command, io: CliIo): void {
  const command = program
    .command('replay')
    .description('replay stored violations in order and at their pace, to the terminal, a file or a subject')
    .option('--since <when>', `start: 10m, 2h, 7d (ago), an ISO time, or "all" (default: ${DEFAULT_SINCE})`)
    .option('--until <when>', 'end (default: the current end)')
    .option('--from-seq <n>', 'start at this sequence of VIOLATIONS')
    .option('--pod <pod>', 'namespace/name, name or uid of a pod')
    .option('-n, --namespace <namespace>', 'namespace of the pod')
    .option('--node <node>', 'one node')
    .option('--kind <kind>', 'spoof or lsm')
    .option('--speed <speed>', '1x, 10x or max (default: max)')
    .option('--to <prefix>', `publish copies under this prefix, such as ${SCRATCH}.case-7`)
    .option('--format <format>', 'table, json, avro, ocsf, ecs or cef (default: table; with --to avro)')
    .addHelpText('after', EXAMPLES);
  onBus(command, io, (options: Options) => {
    const plan = planOf(options, io);
    if (plan.to === null) io.endWithReader();
    return async (session) => {
      const { requestAt, ...rest } = plan;
      return replay(session, options, { ...rest, request: requestAt(await readBusTime(session)) });
    };
  });
}
