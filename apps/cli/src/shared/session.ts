/**
 * The session of a command: bus connection, decoder and output.
 *
 * The bus is closed when the command ends, on success and on failure. Connecting does not retry: an
 * unreachable bus is reported at once.
 */
import { accessSync, constants, existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import {
  type Bus,
  type BusError,
  type BusOptions,
  connectBus,
  isJetStreamOff,
  JETSTREAM_OFF,
  JETSTREAM_OFF_REMEDY,
} from '@bailiff/bus';
import { MessageDecoder, type Reader } from '@bailiff/insight';
import { busOptionsOf, EXIT } from '@bailiff/service';
import { onAbort } from '@bailiff/service/retry';
import { type Command, Option } from 'commander';
import { parseName, parseSpan } from './arguments.ts';
import { type BusFlags, type Connection, contextPath, resolveConnection } from './bus/connection.ts';
import {
  type ClusterChoice,
  DEFAULT_NAMESPACE,
  findInstallation,
  type Installation,
  type Wanted,
} from './bus/installation.ts';
import { LABS_DIR, runningLabs } from './bus/labs.ts';
import { CliError } from './errors.ts';
import type { CliIo } from './io.ts';
import { type Format, formatOf, OUTPUT_HELP, TABLE } from './output.ts';
import { named } from './progress.ts';
import { safeJson } from './text/clean.ts';
import { type Paint, painterFor } from './text/paint.ts';
import { type Cell, type Column, type TableOptions, table } from './text/table.ts';
import { oneLine } from './text/terminal.ts';

export interface Session extends Reader {
  io: CliIo;
  connection: Connection;
  out: Out;
}

/** How long a command waits for a response of the bus, unless --timeout says otherwise. */
const BUS_TIMEOUT = '5s';
const LONGEST_BUS_TIMEOUT_MS = 600_000;
/** After a signal, a command ends in order within this time. Then its bus is closed. */
const INTERRUPT_MS = 2_000;

/** A command's stdout and stderr. */
export class Out {
  readonly io: CliIo;
  readonly paint: Paint;
  readonly format: Format;
  /** Objects of jsonLine() for --output, which `finish` prints as one list. Null: a document was printed. */
  #items: unknown[] | null = [];

  constructor(io: CliIo, format: Format = TABLE) {
    this.io = io;
    this.format = format;
    this.paint = painterFor(io);
  }

  /** Options for tables. */
  get table(): TableOptions {
    return { width: this.format.isWide ? 0 : this.io.stdout.columns, paint: this.paint };
  }

  /** One line; line breaks in the text are replaced. */
  line(text = ''): void {
    this.io.stdout.write(`${oneLine(text)}\n`);
  }

  lines(texts: readonly string[]): void {
    if (texts.length > 0) this.io.stdout.write(`${texts.map(oneLine).join('\n')}\n`);
  }

  /** A table of at most `most` rows, and a note that counts the others. `noun` names them there. */
  rows<Row>(
    columns: readonly Column[],
    rows: readonly Row[],
    cells: (row: Row, nowMs: number, index: number) => Cell[],
    { most = Number.POSITIVE_INFINITY, noun = '' } = {},
  ): void {
    const nowMs = this.io.nowMs();
    const shown = rows.slice(0, most).map((row, index) => cells(row, nowMs, index));
    this.lines(table(columns, shown, this.table));
    if (rows.length > most) this.note(`… and ${rows.length - most} more${noun}: --json has them`);
  }

  /** One document: JSON, or as --output says. A list is `{items}` there. */
  json(value: unknown): void {
    const { print } = this.format;
    this.#items = null;
    const document = print && Array.isArray(value) ? { items: value } : value;
    this.io.stdout.write(print ? print(document) : `${safeJson(document, 2)}\n`);
  }

  /** One JSON line, or an item of the list that --output prints at the end. */
  jsonLine(value: unknown): void {
    if (!this.format.print) this.io.stdout.write(`${safeJson(value)}\n`);
    else if (this.#items) this.#items.push(value);
    else this.io.stdout.write(this.format.print(value));
  }

  /** Prints the list. Each later object is a document of its own. */
  finish(): void {
    if (this.format.print && this.#items) this.json({ items: this.#items });
  }

  /** One line per argument; line breaks within an argument are replaced. */
  note(...lines: string[]): void {
    this.io.stderr.write(`${lines.map(oneLine).join('\n')}\n`);
  }
}

/** `-n` selects the namespace of Bailiff in commands that have no other --namespace. */
const OWN_NAMESPACE = new Option('-n, --namespace <namespace>', 'as --bailiff-namespace');

/** Options that select the bus; every command that connects to it has them. */
export function withBusOptions(command: Command): Command {
  const isFree = command.parent && !command.options.some(({ long, short }) => long === '--namespace' || short === '-n');
  if (isFree) command.addOption(OWN_NAMESPACE);
  return command
    .optionsGroup('Bus:')
    .option('--context <name>', 'the Bailiff in the cluster of this kubeconfig context')
    .option('--kubeconfig <file>', 'kubeconfig (default: KUBECONFIG, ~/.kube/config)')
    .option('--bailiff-namespace <namespace>', `namespace of Bailiff in the cluster (default: ${DEFAULT_NAMESPACE})`)
    .option('--nats-url <url>', 'servers of the bus: nats://host:port, separated by commas')
    .option('--nats-user <user>', 'identity on the bus (default: cli)')
    .option('--nats-password-file <file>', 'file with its password')
    .option('--nats-ca-file <file>', 'CA certificates (PEM) for TLS to the bus')
    .option('--nats-cert-file <file>', 'client certificate (PEM)')
    .option('--nats-key-file <file>', 'key of the client certificate (PEM)')
    .option('--lab <id>', 'the bus of a lab on this machine')
    .option('--timeout <duration>', `give up when the bus does not respond for this long (default: ${BUS_TIMEOUT})`);
}

export type BusOptionValues = BusFlags & {
  lab?: string;
  timeout?: string;
  debug?: boolean;
  context?: string;
  kubeconfig?: string;
  bailiffNamespace?: string;
};

/** The namespace of Bailiff that the flags name, `-n` included where it is free for that. */
function bailiffNamespaceOf(command: Command): string | undefined {
  const { bailiffNamespace, namespace } = optionsOf<BusOptionValues & { namespace?: string }>(command);
  const named = bailiffNamespace ?? (command.options.includes(OWN_NAMESPACE) ? namespace : undefined);
  return named === undefined ? undefined : parseName(named, '--bailiff-namespace');
}

/** Options of a command and its parents; the inner command wins. */
export function optionsOf<T>(command: Command): T {
  const chain: Command[] = [];
  for (let at: Command | null = command; at; at = at.parent) chain.unshift(at);
  return Object.assign({}, ...chain.map((one) => one.opts())) as T;
}

function readContext(io: CliIo): { path: string; text: string } | null {
  const file = contextPath(io.env, io.home);
  try {
    return { path: file, text: readFileSync(file, 'utf8') };
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT' && !io.env['BAILIFF_CONTEXT']) return null;
    throw error;
  }
}

/** The bus that flags and environment select, without a request to a cluster. @throws CliError */
function choose(io: CliIo, command: Command): Connection {
  const { lab, context, kubeconfig, ...flags } = optionsOf<BusOptionValues>(command);
  const namespace = bailiffNamespaceOf(command);
  return resolveConnection({
    flags,
    env: io.env,
    lab,
    context: readContext(io),
    labs: runningLabs(io.env['BAILIFF_LABS_DIR'] || LABS_DIR),
    cluster: {
      ...(context ? { context } : {}),
      ...(kubeconfig ? { kubeconfig } : {}),
      ...(namespace ? { namespace } : {}),
    },
    hasKubeconfig: kubeconfigOf(undefined, io) !== null,
    asPlugin: io.asPlugin,
  });
}

function installationOf(
  io: CliIo,
  command: Command,
  choice: ClusterChoice,
  login: Pick<Wanted, 'user' | 'ca'>,
): Promise<Installation> {
  const timeoutMs = busTimeoutOf(optionsOf<BusOptionValues>(command));
  // The library would read the environment and home of this process. Only it can read a list of files.
  const file = choice.kubeconfig || kubeconfigOf(undefined, io) || '';
  const kubeconfig = file.includes(path.delimiter) ? '' : file;
  return findInstallation({ ...choice, kubeconfig }, { ...login, timeoutMs, signal: io.signal });
}

/**
 * The connection that options, environment, context file, labs and kubeconfig name. Of a cluster, the
 * installation is found. @throws CliError; KubeError
 */
export async function connectionOf(io: CliIo, command: Command): Promise<Connection> {
  const connection = choose(io, command);
  const { cluster, natsUser, natsPasswordFile, natsCaFile } = connection;
  if (!cluster) return connection;
  const login = { user: natsPasswordFile === '' ? natsUser : null, ca: natsCaFile === '' };
  const installation = await named(io, 'looking for Bailiff in the cluster', () =>
    installationOf(io, command, cluster, login),
  );
  return { ...connection, natsUrl: installation.natsUrl, installation };
}

/** The cluster alone, for commands that do not use the bus; null if none is selected. */
export async function clusterOf(io: CliIo, command: Command): Promise<Installation | null> {
  const { cluster } = choose(io, command);
  return cluster ? installationOf(io, command, cluster, { user: null, ca: false }) : null;
}

/** The given kubeconfig, or the one that kubectl would use; null without one. */
export function kubeconfigOf(named: string | undefined, io: Pick<CliIo, 'env' | 'home'>): string | null {
  if (named) return named;
  const fromEnv = io.env['KUBECONFIG'];
  if (fromEnv) return fromEnv;
  const usual = path.join(io.home, '.kube', 'config');
  return existsSync(usual) ? usual : null;
}

const FILES = ['natsPasswordFile', 'natsCaFile', 'natsCertFile', 'natsKeyFile'] as const;

/** @throws CliError CLI_USAGE */
export function busTimeoutOf({ timeout = BUS_TIMEOUT }: Pick<BusOptionValues, 'timeout'>): number {
  return parseSpan(timeout, '--timeout', LONGEST_BUS_TIMEOUT_MS);
}

/** @throws CliError CLI_CONTEXT when a named file cannot be read; BusError */
async function openBus(io: CliIo, connection: Connection, timeoutMs: number): Promise<Bus> {
  for (const name of FILES) {
    const file = connection[name];
    if (file === '') continue;
    try {
      accessSync(file, constants.R_OK);
    } catch (cause) {
      const why = (cause as NodeJS.ErrnoException).code === 'ENOENT' ? 'does not exist' : 'cannot be read';
      const where = `--${name.replaceAll(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`;
      throw new CliError('CLI_CONTEXT', `${where}: ${file} ${why}`, {
        cause,
        remedy: `the bus was selected by ${connection.source}`,
      });
    }
  }
  const { installation } = connection;
  const options = { ...serverOf(connection), name: 'bailiff-cli', timeoutMs, repeatsReads: true, signal: io.signal };
  try {
    return await connectWith(options, installation?.passwords ?? []);
  } catch (error) {
    io.signal.throwIfAborted();
    throw installation?.failure() ?? error;
  }
}

/** Tries the passwords in turn: during a rotation, the servers accept only the older one. */
async function connectWith(options: BusOptions, passwords: readonly string[]): Promise<Bus> {
  const [password, ...older] = passwords;
  try {
    return await connectBus({ ...options, ...(password === undefined ? {} : { password }) });
  } catch (error) {
    if (older.length === 0 || (error as Partial<BusError>).code !== 'BUS_AUTHENTICATION') throw error;
    return connectWith(options, older);
  }
}

/** Options of the connection, without a name. */
function serverOf(connection: Connection): Omit<BusOptions, 'name'> {
  const { installation } = connection;
  const { tls, ...options } = busOptionsOf({ ...connection, natsTokenFile: '' });
  if (!installation) return { ...options, ...(tls ? { tls } : {}) };
  const { ca, dial } = installation;
  return { ...options, tls: { ...tls, ...(ca === '' ? {} : { ca }) }, ...(dial ? { dial } : {}) };
}

/**
 * Connects, runs `work` and closes the bus. After a signal, `work` ends in order: what it still does
 * on the bus fails after INTERRUPT_MS. @throws as openBus, and what `work` throws
 */
export async function withBus<T>(
  io: CliIo,
  connection: Connection,
  timeoutMs: number,
  work: (bus: Bus) => Promise<T>,
): Promise<T> {
  let bus: Bus | null = null;
  let timer: NodeJS.Timeout | undefined;
  const forget = onAbort(io.signal, () => {
    timer = setTimeout(() => void bus?.close(), INTERRUPT_MS);
  });
  try {
    bus = await named(io, 'connecting to the bus', () => openBus(io, connection, timeoutMs));
    return await work(bus);
  } finally {
    clearTimeout(timer);
    forget();
    await bus?.close();
    connection.installation?.client.close();
  }
}

/**
 * Replaces errors of a server without JetStream by one that says so; returns other errors
 * unchanged.
 */
export function explainJetStreamOff(bus: Bus, cause: unknown): unknown {
  const { code } = cause as { code?: unknown };
  if ((code !== 'BUS_TIMEOUT' && code !== 'BUS_NO_STREAM') || !isJetStreamOff(bus)) return cause;
  return new CliError('CLI_BUS', `${JETSTREAM_OFF}: nothing can be read or written`, {
    cause,
    remedy: JETSTREAM_OFF_REMEDY,
  });
}

export function sessionOn(io: CliIo, connection: Connection, bus: Bus, out = new Out(io)): Session {
  return {
    io,
    connection,
    bus,
    out,
    decoder: new MessageDecoder(bus),
    server: serverOf(connection),
    nowMs: () => io.nowMs(),
    note: (text) => out.note(text),
    signal: io.signal,
  };
}

/** What a command does with its session. @returns its exit code; nothing = 0 */
type Work = (session: Session) => Promise<number> | Promise<void>;

/** Runs a command with a session and closes the bus. @returns the exit code */
export async function withSession(io: CliIo, command: Command, work: Work): Promise<number> {
  const timeoutMs = busTimeoutOf(optionsOf<BusOptionValues>(command));
  const out = outOf(io, command);
  const connection = await connectionOf(io, command);
  if (connection.note) out.note(connection.note);
  return withBus(io, connection, timeoutMs, async (bus) => {
    try {
      const exitCode = await work(sessionOn(io, connection, bus, out));
      out.finish();
      return exitCode ?? EXIT.ok;
    } catch (error) {
      throw explainJetStreamOff(bus, error);
    }
  });
}

/** The output of a command, by its --output. @throws CliError CLI_USAGE */
export function outOf(io: CliIo, command: Command): Out {
  return new Out(io, formatOf(optionsOf<{ output?: string }>(command).output));
}

/** Commands with --json also have the other formats. */
function withOutput(command: Command): void {
  if (command.options.some(({ long }) => long === '--json')) {
    command.option('-o, --output <format>', OUTPUT_HELP);
  }
}

/** Other formats print the same objects as --json. */
function readingOptions<O>(command: Command): O {
  const options = optionsOf<O & { output?: string }>(command);
  const { print } = formatOf(options.output);
  return print ? { ...options, json: true } : options;
}

/**
 * Adds the bus options and the action of a command.
 * @param read checks options and arguments before the bus is connected; a number ends the command
 *   without the bus
 */
export function onBus<O, A extends unknown[]>(
  command: Command,
  io: CliIo,
  read: (options: O, ...args: A) => Work | number | Promise<Work | number>,
): void {
  withOutput(command);
  withBusOptions(command).action(async (...args: unknown[]) => {
    // Commander appends the options and the command.
    const work = await read(readingOptions<O>(command), ...(args.slice(0, -2) as A));
    io.exitCode = typeof work === 'number' ? work : await withSession(io, command, work);
  });
}
