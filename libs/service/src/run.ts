/**
 * The process frame that every Bailiff app runs in: configuration, log, metrics, health, signals, exit code.
 *
 * Way up: flags → configuration → status server → `start(ctx)` → one log line `ready` as soon as all readiness checks pass.
 * Way down (SIGTERM, SIGINT, `ctx.fail`): not ready → `ctx.signal` aborts (stop the intake) → `onStop` steps, last in first
 * out, each bounded by `stopTimeoutMs` → status server → exit code. A second signal stops the waiting, not the steps.
 */
import { readFile } from 'node:fs/promises';
import pino, { type DestinationStream, type Logger } from 'pino';
import { Registry } from 'prom-client';
import type * as z from 'zod';
import { type Clock, systemClock } from './clock.ts';
import { buildConfig, type FrameConfig, frameShape } from './config.ts';
import { EXIT, exitCodeOf, ServiceError } from './errors.ts';
import { type ParsedFlags, parseFlags } from './flags.ts';
import { Health } from './health.ts';
import { helpText } from './help.ts';
import { type StatusServer, startStatusServer } from './http.ts';
import { escapeUnsafe } from './printable.ts';
import { addProcessMetrics } from './process-metrics.ts';
import { redact } from './redact.ts';
import { leavesOf } from './schema-walk.ts';
import { StopSteps } from './shutdown.ts';

/** What an app is given. */
export interface ServiceContext<C> {
  config: C;
  log: Logger;
  metrics: Registry;
  health: Pick<Health, 'ready' | 'live' | 'checkReady'>;
  clock: Clock;
  /** Aborted when the process is to stop: take nothing new in. */
  signal: AbortSignal;
  /** Version of the build. */
  version: string;
  /** host:port of the status server; empty when there is none. */
  metricsAddress: string;
  /** Adds a step to the way down. */
  onStop(name: string, fn: () => void | Promise<void>): void;
  /** Ends the process in the ordinary way, with the exit code of the error (see `exitCodeOf`). */
  fail(error: Error): void;
}

/** The surroundings; a test hands in its own (see `captureIo`). */
export interface ServiceIo {
  env: Readonly<Record<string, string | undefined>>;
  stdout(text: string): void;
  stderr(text: string): void;
  logDestination: DestinationStream;
  /** Log lines dropped so far because stdout did not take them. */
  logLinesDropped?(): number;
  /** Calls back on SIGTERM and SIGINT until the returned function is called. */
  onSignal(listener: (signal: NodeJS.Signals) => void): () => void;
  clock?: Clock;
}

export interface ServiceOptions<S extends z.ZodObject> {
  /** As in `apps/<name>`; also names the environment variables. */
  name: string;
  /** Without node and script. */
  argv: readonly string[];
  /** Strict object of the app's own keys; the frame adds `metricsAddress`, `logLevel`, `stopTimeoutMs`. */
  schema: S;
  /** Lowest in precedence, for what differs from the schema's defaults. */
  defaults?: Partial<z.input<S>> & Partial<FrameConfig>;
  description?: string;
  /** Brings the app up; may return before it is ready, and is not ready before it returns. What it throws ends the process with `exitCodeOf`. */
  start(ctx: ServiceContext<z.output<S> & FrameConfig>): Promise<void> | void;
  io?: ServiceIo;
}

const READY_POLL_MS = 50;
/** How long after the end something may keep the event loop alive before the process is ended anyway. */
const LINGER_MS = 500;
/** Log lines kept while stdout does not take them; above it lines are dropped rather than memory spent. */
const MAX_LOG_BYTES = 4 * 1024 * 1024;

/** Runs an app until it is told to stop. Gives the exit code; throws only for a programmer's error in the frame itself. */
export async function runService<S extends z.ZodObject>(options: ServiceOptions<S>): Promise<number> {
  const io = options.io ?? processIo();
  const code = await runWith(options, io);
  if (!options.io) endAfterLinger(io, code);
  return code;
}

async function runWith<S extends z.ZodObject>(options: ServiceOptions<S>, io: ServiceIo): Promise<number> {
  const version = process.env.BAILIFF_VERSION ?? '0.0.0-dev';
  const schema = options.schema.safeExtend(frameShape).strict() as unknown as S;
  try {
    const booleans = leavesOf(schema).map((leaf) => [leaf.path, { boolean: leaf.kind === 'boolean' }] as const);
    const flags = parseFlags(options.argv, new Map(booleans));
    if (flags.help) return say(io, helpText(options.name, options.description ?? '', schema, options.defaults ?? {}));
    if (flags.version) return say(io, `${options.name} ${version}\n`);
    const config = (await loadConfig(options, schema, flags, io)) as z.output<S> & FrameConfig;
    if (flags.printConfig) return say(io, `${JSON.stringify(redact(config), null, 2)}\n`);
    if (flags.checkConfig) return say(io, 'configuration ok\n');
    return await serve(options, config, io, version);
  } catch (error) {
    if (!(error instanceof ServiceError)) throw error;
    io.stderr(`${options.name}: ${error.message}\n`);
    return error.exitCode;
  }
}

async function loadConfig<S extends z.ZodObject>(
  options: ServiceOptions<S>,
  schema: S,
  flags: ParsedFlags,
  io: ServiceIo,
) {
  const file = flags.configFile === null ? null : await readConfigFile(flags.configFile);
  const { name } = options;
  return buildConfig(schema, { name, defaults: options.defaults ?? {}, file, env: io.env, flags: flags.values });
}

async function readConfigFile(path: string): Promise<{ path: string; value: unknown }> {
  const bad = (what: string, cause: unknown) =>
    new ServiceError('SERVICE_CONFIG', `${path}: ${what}: ${(cause as Error).message}`, { cause });
  const text = await readFile(path, 'utf8').catch((cause) => {
    throw bad('cannot be read', cause);
  });
  try {
    // YAML holds JSON; its parser is loaded only for a process that has a file, which spares the others the memory.
    const value = text.trimStart().startsWith('{') ? JSON.parse(text) : (await import('yaml')).parse(text);
    return { path, value: value ?? {} };
  } catch (cause) {
    throw bad('is neither YAML nor JSON', cause);
  }
}

async function serve<S extends z.ZodObject>(
  options: ServiceOptions<S>,
  config: z.output<S> & FrameConfig,
  io: ServiceIo,
  version: string,
): Promise<number> {
  const log = pino({ level: config.logLevel, base: { app: options.name } }, printable(io.logDestination));
  const metrics = new Registry();
  const health = new Health();
  addProcessMetrics(metrics, options.name, version, {
    logLinesDropped: () => io.logLinesDropped?.() ?? 0,
    ready: () => health.checkReady(),
  });
  const steps = new StopSteps();
  const intake = new AbortController();
  const hurry = new AbortController();
  const end = endOfRun(io, log, hurry);
  const clock = io.clock ?? systemClock;
  let server: StatusServer | undefined;
  let started: Promise<void> = Promise.resolve();
  try {
    if (config.metricsAddress !== '') server = await startStatusServer(config.metricsAddress, metrics, health);
    const metricsAddress = server?.address ?? '';
    const onStop = (name: string, fn: () => void | Promise<void>) => steps.add(name, fn);
    const base = { config, log, metrics, health, clock, version, metricsAddress, onStop };
    started = Promise.resolve(options.start({ ...base, signal: intake.signal, fail: end.fail })).then(() => {
      health.started();
      return announceReady(health, log, metricsAddress, intake.signal);
    });
    // What is under way when the process is told to stop ends in an error by that alone: it is told, and is no failure.
    started.catch((error: Error) => {
      if (!intake.signal.aborted) end.fail(error);
      else if (error !== intake.signal.reason) log.warn({ reason: error.message }, 'the start was cut short');
    });
    await end.reached;
  } catch (error) {
    end.fail(error as Error);
  }
  health.stopping();
  intake.abort();
  // A start that is still under way (connecting, say) sees the signal; steps it adds from now on are still run.
  steps.add('start', () => started.catch(() => {}));
  const failures = await steps.run(config.stopTimeoutMs, hurry.signal);
  for (const { name, error } of failures) log.error({ step: name, err: error }, 'stop step failed');
  await server?.close();
  end.dispose();
  const { error } = end;
  const code = error ? exitCodeOf(error) : failures.length > 0 ? EXIT.bug : EXIT.ok;
  log.info({ exitCode: code }, 'stopped');
  return code;
}

/** Waits for the first of: a signal, `fail`, an error that nobody caught. */
function endOfRun(io: ServiceIo, log: Logger, hurry: AbortController) {
  let reach = () => {};
  const state = {
    error: null as Error | null,
    reached: new Promise<void>((resolve) => {
      reach = resolve;
    }),
    fail(error: Error) {
      state.error ??= error;
      log.fatal({ err: error, exitCode: exitCodeOf(error) }, 'failed');
      reach();
    },
    dispose() {
      offSignal();
      process.off('uncaughtException', state.fail);
    },
  };
  let signals = 0;
  const offSignal = io.onSignal((signal) => {
    log.info({ signal }, 'stopping');
    if (++signals > 1) hurry.abort();
    reach();
  });
  // Node turns a rejection that nobody handles into an uncaught exception as well.
  process.on('uncaughtException', state.fail);
  return state;
}

async function announceReady(health: Health, log: Logger, metricsAddress: string, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    const { ok } = await health.checkReady();
    if (ok && !signal.aborted) return log.info({ metricsAddress, pid: process.pid }, 'ready');
    await systemClock.sleep(READY_POLL_MS, signal);
  }
}

/** JSON escapes control characters below space alone: what a terminal obeys besides them is escaped here, for every line of every app. */
function printable(destination: DestinationStream): DestinationStream {
  const { flushSync } = destination as { flushSync?: () => void };
  return {
    write: (line) => destination.write(escapeUnsafe(line, '\n')),
    ...(flushSync ? { flushSync: () => flushSync.call(destination) } : {}),
  };
}

function say(io: ServiceIo, text: string): number {
  io.stdout(text);
  return EXIT.ok;
}

function processIo(): ServiceIo {
  const logDestination = pino.destination({ dest: 1, sync: false, maxLength: MAX_LOG_BYTES });
  let dropped = 0;
  logDestination.on('drop', () => dropped++);
  return {
    env: process.env,
    stdout: (text) => process.stdout.write(text),
    stderr: (text) => process.stderr.write(escapeUnsafe(text, '\n')),
    logDestination,
    logLinesDropped: () => dropped,
    onSignal(listener) {
      process.on('SIGTERM', listener).on('SIGINT', listener);
      return () => process.off('SIGTERM', listener).off('SIGINT', listener);
    },
  };
}

function endAfterLinger(io: ServiceIo, code: number): void {
  const destination = io.logDestination as ReturnType<typeof pino.destination>;
  try {
    destination.flushSync();
  } catch {
    // Not open yet (nothing was ever logged) or the reader is gone: there is nobody to tell.
  }
  setTimeout(() => process.exit(code), LINGER_MS).unref();
}
