/**
 * `bailiff evidence`: exports a verdict with all that it was judged from, and verifies such a file without
 * a bus.
 */
import { createPublicKey, type KeyObject } from 'node:crypto';
import { once } from 'node:events';
import { createReadStream, readFileSync, rmSync } from 'node:fs';
import { finished } from 'node:stream/promises';
import { signedConfigBy } from '@bailiff/bus';
import {
  BundleWriter,
  CLASSES,
  COSIGNATURE,
  checkpointIn,
  consistencyProof,
  EvidenceError,
  formatVerifierKey,
  LOG_NAME,
  LogKeeper,
  LogReader,
  LogWriter,
  MAX_LINE_BYTES,
  parseVerifierKey,
  type SensitiveClass,
  splitWitness,
  type VerifierKey,
  verifierKey,
  verifyBundle,
  Witnesses,
} from '@bailiff/evidence';
import type { Command } from 'commander';
import { CliError } from '../../shared/errors.ts';
import { exportRecords, planExport } from '../../shared/evidence/export.ts';
import { ALL_PASSED, exitCodeOf, renderReport, reportJson, SOME_SKIPPED } from '../../shared/evidence/render.ts';
import { createFile } from '../../shared/files.ts';
import type { CliIo } from '../../shared/io.ts';
import { readKey, SIGNERS_HELP } from '../../shared/key-file.ts';
import { verdictById } from '../../shared/one-of.ts';
import { Progress } from '../../shared/progress.ts';
import { Out, onBus, optionsOf, type Session } from '../../shared/session.ts';
import { copyLog } from './copy-log.ts';

const EXAMPLES = `
Examples:
  bailiff evidence export 5f1d3c7a --key evidence.key --out incident.evidence
  bailiff evidence verify incident.evidence --key evidence.pub
`;

const EXPORT_EXAMPLES = `
Examples:
  bailiff evidence export 5f1d3c7a --key evidence.key
  bailiff evidence export 5f1d3c7a --key evidence.key --redact argument,address --out incident.evidence

The file is verified after it is written, as \`bailiff evidence verify\` does. Without --key it is not signed.
The format: docs/evidence-format.md.
`;

const VERIFY_EXAMPLES = `
Examples:
  bailiff evidence verify incident.evidence --key evidence.pub
  bailiff evidence verify incident.evidence --key evidence.pub --json | jq .checks

The command needs no bus. SKIP names the input that a check lacks.

Additional exit codes: 10 a check failed, 11 no check failed and some were skipped.
`;

const LOG_EXAMPLES = `
Examples:
  bailiff evidence log --dir /var/lib/bailiff-log --key log.key --origin bailiff.example.com/cluster-1

It prints the verifier key of the log, for \`bailiff evidence verify --log-key\`, and runs until a signal. The newest
head is the file checkpoint: keep copies elsewhere, for \`bailiff evidence verify --head\`.
`;

const COPY_EXAMPLES = `
Examples:
  kubectl -n bailiff-system port-forward statefulset/bailiff-evidence-log 9471
  bailiff evidence copy-log http://127.0.0.1:9471 --dir bailiff-log

The next run copies what is new. It fails if the log does not continue what was copied before.
`;

interface ExportOptions {
  key?: string;
  log?: string;
  redact?: string;
  out?: string;
  configSigners?: string;
}

interface VerifyFlags {
  key?: string;
  logKey?: string[];
  witnessKey?: string[];
  head?: string;
  log?: string;
  configSigners?: string;
  json?: boolean;
}

function classesIn(text: string): SensitiveClass[] {
  const classes = text === '' ? [] : text.split(',');
  for (const one of classes) {
    if (!(CLASSES as readonly string[]).includes(one)) {
      throw new CliError('CLI_USAGE', `--redact: "${one}" is none of ${CLASSES.join(', ')}`);
    }
  }
  // A message that no schema reads may contain any of them.
  return classes.length > 0 ? [...new Set([...(classes as SensitiveClass[]), 'unreadable' as const])] : [];
}

interface ExportParts {
  key: KeyObject | null;
  classes: readonly SensitiveClass[];
  log: LogReader | null;
  configSigners: string;
}

/** Writes the bundle of a verdict. The file is removed if that fails. */
async function exportTo(
  session: Session,
  file: string,
  prefix: string,
  { key, classes, log, configSigners }: ExportParts,
): Promise<void> {
  const { io } = session;
  const row = await verdictById(session, prefix);
  const exporter = `bailiff ${io.version}, ${io.operator}`;
  const plan = await planExport(session, row, { signers: configSigners, exporter });
  const out = (await createFile(file)).createWriteStream();
  const written = finished(out);
  written.catch(() => undefined);
  const progress = new Progress(io, 'frames');
  let frames = 0;
  try {
    const writer = new BundleWriter(plan.header, (line) => out.write(`${line}\n`));
    const drained = async () => {
      if (out.writableNeedDrain) await Promise.race([once(out, 'drain'), written]);
    };
    const onFrame = () => progress.at(++frames, frames);
    await exportRecords(session, row, plan, writer, { classes, log, drained, onFrame });
    writer.end({ positions: plan.positions, log: log && statedHead(log) }, key);
    out.end();
    await written;
  } catch (error) {
    out.destroy();
    rmSync(file, { force: true });
    throw error;
  } finally {
    progress.end();
  }
}

function keyIn(flag: string, text: string, type?: typeof COSIGNATURE): VerifierKey {
  try {
    return parseVerifierKey(text, type);
  } catch (error) {
    if (error instanceof EvidenceError) throw new CliError('CLI_USAGE', `${flag}: ${error.message}`, { cause: error });
    throw error;
  }
}

async function reportOf(file: string, flags: Omit<VerifyFlags, 'key'>, key: KeyObject | null) {
  const logKeys = (flags.logKey ?? []).map((text) => keyIn('--log-key', text));
  const witnessKeys = (flags.witnessKey ?? []).map((text) => keyIn('--witness-key', text, COSIGNATURE));
  const knownHead = flags.head === undefined ? null : readFileSync(flags.head, 'utf8');
  const log = flags.log === undefined ? null : new LogReader(flags.log);
  const proofBetween = (older: number, newer: number) =>
    log && newer <= log.size ? consistencyProof(older, newer, log.at) : null;
  try {
    const signed = signedConfigBy(flags.configSigners ?? '');
    return await verifyBundle(linesIn(file), {
      key,
      logKeys,
      witnessKeys,
      knownHead,
      signed,
      ...(log ? { proofBetween } : {}),
    });
  } finally {
    log?.close();
  }
}

function registerLog(evidence: Command, io: CliIo): void {
  const logging = evidence
    .command('log')
    .description('keep a log on disk: hashes of all messages, in a tree whose head is signed')
    .requiredOption('--dir <directory>', 'directory of the log; one process writes to it')
    .requiredOption('--key <file>', 'private key (Ed25519, PEM) that signs the heads')
    .option('--witness <key and url...>', 'a witness that cosigns the heads: its verifier key, a space and its URL')
    .requiredOption('--origin <name>', 'name of the log, such as bailiff.example.com/cluster-1')
    .addHelpText('after', LOG_EXAMPLES);
  onBus(logging, io, (options: { dir: string; key: string; origin: string; witness?: string[] }) => {
    const { origin, dir } = options;
    const key = readKey(options.key, 'private');
    const addresses = (options.witness ?? []).map((text) => {
      const [witnessKey = '', url = ''] = splitWitness(text) ?? [];
      return { key: keyIn('--witness', witnessKey, COSIGNATURE), url };
    });
    if (!LOG_NAME.test(origin))
      throw new CliError(
        'CLI_USAGE',
        `--origin: "${origin}" is not a name of at most 253 characters in ASCII without spaces and +`,
      );
    return async (session) => {
      session.out.line(formatVerifierKey(verifierKey(origin, key)));
      const log = new LogWriter(dir);
      try {
        const witnesses = new Witnesses(log, addresses, () => session.io.nowMs());
        let noted = '';
        const afterHead = async (end: AbortSignal) => {
          await witnesses.ask(end);
          const failing = witnesses.states.flatMap(({ name, failing: why }) => (why ? `${name}: ${why.reason}` : []));
          const text = failing.length > 0 ? `not cosigned by ${failing.join('; ')}` : 'cosigned by every witness again';
          if (failing.join() !== noted) session.out.note(text);
          noted = failing.join();
        };
        const keeper = new LogKeeper({ bus: session.bus, log, origin, key, afterHead, signal: session.io.signal });
        session.out.note(`log ${origin}, ${log.size} messages. Press Ctrl-C to stop.`);
        await keeper.run();
      } finally {
        log.close();
      }
      return 0;
    };
  });
}

function registerCopy(evidence: Command, io: CliIo): void {
  const copying = evidence
    .command('copy-log')
    .description('copy the log of the cluster into a directory, for `--log` of the other commands')
    .argument('<url>', 'address of the evidence-log')
    .requiredOption('--dir <directory>', 'directory of the copy; a later run continues it')
    .addHelpText('after', COPY_EXAMPLES);
  copying.action(async (url: string) => {
    const { dir } = optionsOf<{ dir: string }>(copying);
    if (!URL.canParse(url) || !/^https?:/.test(url))
      throw new CliError('CLI_USAGE', `"${url}" is not an address: use http://127.0.0.1:9471`);
    const progress = new Progress(io, 'messages');
    try {
      const onLeaves = (size: number, of: number) => progress.at(size, of);
      const { origin, before, size } = await copyLog(url, dir, { signal: io.signal, onLeaves });
      new Out(io).line(`${origin}: ${size} messages, ${size - before} of them new`);
    } finally {
      progress.end();
    }
  });
}

/** The head of a log, as a statement names it. */
function statedHead({ note }: LogReader) {
  const { origin, size, root } = checkpointIn(note);
  return { origin, size, root: Buffer.from(root).toString('base64') };
}

/** @throws ENOENT, EACCES and other errors of the file */
export async function* linesIn(file: string): AsyncGenerator<string> {
  let left: Buffer[] = [];
  let length = 0;
  for await (const chunk of createReadStream(file) as AsyncIterable<Buffer>) {
    let start = 0;
    for (let end = chunk.indexOf(10); end >= 0; end = chunk.indexOf(10, start)) {
      const isTooLong = length + end - start > MAX_LINE_BYTES;
      yield isTooLong ? NO_LINE : textOf(Buffer.concat([...left, chunk.subarray(start, end)]));
      [left, length, start] = [[], 0, end + 1];
    }
    left.push(chunk.subarray(start));
    length += chunk.length - start;
    if (length > MAX_LINE_BYTES) break;
  }
  // Too long, or without its end.
  if (length > 0) yield NO_LINE;
}

/** Valid nowhere in a bundle. */
const NO_LINE = '';

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** The text of a line; NO_LINE if it is not UTF-8. */
function textOf(bytes: Buffer): string {
  try {
    return utf8.decode(bytes);
  } catch {
    return NO_LINE;
  }
}

export function register(program: Command, io: CliIo): void {
  const evidence = program
    .command('evidence')
    .description('evidence of a verdict that others can check: export and verify files, keep a log')
    .addHelpText('after', EXAMPLES);
  const exporting = evidence
    .command('export')
    .description('write one file with a verdict, all messages that it was judged from, and its responses')
    .argument('<verdict>', 'id of the verdict or its first characters')
    .option('--key <file>', 'private key (Ed25519, PEM) that signs the file')
    .option('--redact <classes>', `leave out ${CLASSES.slice(0, 2).join(',')}: their hashes stay`, '')
    .option('--log <directory>', 'the log of `bailiff evidence log`, for proofs')
    .option('--config-signers <file>', SIGNERS_HELP)
    .option('--out <file>', 'file to write (default: <verdict>.evidence)')
    .addHelpText('after', EXPORT_EXAMPLES);
  onBus(exporting, io, (options: ExportOptions, prefix: string) => {
    const classes = classesIn(options.redact ?? '');
    const key = options.key === undefined ? null : readKey(options.key, 'private');
    const { configSigners = '', out: file = `${prefix}.evidence` } = options;
    return async (session) => {
      const log = options.log === undefined ? null : new LogReader(options.log);
      if (log && log.size === 0)
        throw new CliError('CLI_STATE', `${options.log} has no log with a head`, {
          remedy: 'name the directory of `bailiff evidence log`, which writes its first head at its start',
        });
      try {
        await exportTo(session, file, prefix, { key, classes, log, configSigners });
      } finally {
        log?.close();
      }
      const report = await reportOf(file, { configSigners }, key && createPublicKey(key));
      session.out.line(`Wrote ${file}`);
      session.out.lines(renderReport(report, session.out.paint, io.nowMs()));
      const exitCode = exitCodeOf(report.checks);
      return exitCode === SOME_SKIPPED ? ALL_PASSED : exitCode;
    };
  });
  registerLog(evidence, io);
  registerCopy(evidence, io);
  const verifying = evidence
    .command('verify')
    .description('check a file of evidence, without a bus')
    .argument('<file>', 'as `bailiff evidence export` writes it')
    .option('--key <file>', 'public key of the exporter (Ed25519, PEM)')
    .option('--log-key <key...>', 'verifier key of the log; repeat it for former keys')
    .option('--witness-key <key...>', 'verifier key of a witness, which must have cosigned the head of the log')
    .option('--head <file>', 'a head of the log that you kept')
    .option('--log <directory>', 'a copy of the log, which proves that its heads continue each other')
    .option('--config-signers <file>', SIGNERS_HELP)
    .option('--json', 'one JSON document')
    .addHelpText('after', VERIFY_EXAMPLES);
  verifying.action(async (file: string) => {
    const flags = optionsOf<VerifyFlags>(verifying);
    const key = flags.key === undefined ? null : readKey(flags.key, 'public');
    const report = await reportOf(file, flags, key);
    const out = new Out(io);
    if (flags.json) out.json(reportJson(report));
    else out.lines(renderReport(report, out.paint, io.nowMs()));
    io.exitCode = exitCodeOf(report.checks);
  });
}
