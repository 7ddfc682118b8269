/**
 * The process frame of every Bailiff app: configuration, log, metrics, health, signals, exit code.
 *
 * Start: flags → configuration → HTTP listeners → `start(ctx)` → log line `ready` once all readiness
 * checks pass. Shutdown (SIGTERM, SIGINT, `ctx.fail`): not ready → `ctx.signal` aborts → `onStop`
 * steps, last in first out, each limited by `stopTimeoutMs` → HTTP listeners → exit code. A second
 * signal ends the waiting for a step, but skips none.
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
import { type Listener, type Pages, probePages, startListener } from './http.ts';
import { MetricsPage } from './metrics-page.ts';
import { escapeUnsafe } from './printable.ts';
import { endAfterLinger, processIo, type ServiceIo } from './process-io.ts';

import { addProcessMetrics, type ListenerName, type ReadCertificates } from './process-metrics.ts';
import { redact } from './redact.ts';
import { leavesOf } from './schema-walk.ts';
import { StopSteps } from './shutdown.ts';

/** What the frame provides to an app. */
export interface ServiceContext<C> {
  config: C;
  log: Logger;
  metrics: Registry;
  health: Pick<Health, 'ready' | 'live' | 'checkReady' | 'failed'>;
  clock: Clock;
  /** Aborts when the process stops: accept no new work. */
  signal: AbortSignal;
  /** Version of the build. */
  version: string;
  /** host:port of the metrics; empty without them. */
  metricsAddress: string;
  /** host:port of the probes; empty without them. */
  probeAddress: string;
  /** Adds a step to the shutdown. */
  onStop(name: string, fn: () => void | Promise<void>): void;
  /** Adds a source of the metric about certificates: their kind and their end. */
  onCertificates(read: ReadCertificates): void;
  /** Starts an orderly shutdown with the exit code of the error (`exitCodeOf`). */
  fail(error: Error): void;
}

export interface ServiceOptions<S extends z.ZodObject> {
  /** As in `apps/<name>`; also names the environment variables. */
  name: string;
  /** Without node and script. */
  argv: readonly string[];
  /**
   * Strict object of the app's own keys; the frame adds `metricsAddress`,
   * `probeAddress`, `logLevel`, `stopTimeoutMs`.
   */
  schema: S;
  /** Lowest precedence, for values that differ from the schema's defaults. */
  defaults?: Partial<z.input<S>> & Partial<FrameConfig>;
  description?: string;
  /**
   * Starts the app. The app is not ready before this returns. An exception ends the process with
   * `exitCodeOf`.
   */
  start(ctx: ServiceContext<z.output<S> & FrameConfig>): Promise<void> | void;
  io?: ServiceIo;
}

const READY_POLL_MS = 50;

/**
 * Runs an app until it is stopped, and returns the exit code. Throws only for a programmer's error
 * in the frame.
 */
export async function runService<S extends z.ZodObject>(options: ServiceOptions<S>): Promise<number> {
  const io = options.io ?? processIo();
  const code = await runWith(options, io);
  if (!options.io) endAfterLinger(code);
  return code;
}

async function runWith<S extends z.ZodObject>(options: ServiceOptions<S>, io: ServiceIo): Promise<number> {
  const version = process.env.BAILIFF_VERSION ?? '0.0.0-dev';
  const schema = options.schema.safeExtend(frameShape).strict() as unknown as S;
  try {
    const booleans = leavesOf(schema).map((leaf) => [leaf.path, { boolean: leaf.kind === 'boolean' }] as const);
    const flags = parseFlags(options.argv, new Map(booleans));
    if (flags.help) return print(io, helpText(options.name, options.description ?? '', schema, options.defaults ?? {}));
    if (flags.version) return print(io, `${options.name} ${version}\n`);
    const config = (await loadConfig(options, schema, flags, io)) as z.output<S> & FrameConfig;
    if (flags.printConfig) return print(io, `${JSON.stringify(redact(config), null, 2)}\n`);
    if (flags.checkConfig) return print(io, 'configuration ok\n');
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
    // YAML includes JSON, but its parser is loaded only if the file needs it, to save memory.
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
  const clock = io.clock ?? systemClock;
  const page = new MetricsPage(metrics, systemClock);
  const listeners: Partial<Record<ListenerName, Listener>> = {};
  const certificates: ReadCertificates[] = [];
  addProcessMetrics(metrics, options.name, version, {
    logLinesDropped: () => io.logLinesDropped?.() ?? 0,
    ready: () => health.checkReady(),
    listeners: () => listeners,
    certificates: () => certificates.flatMap((read) => read()),
    metricsRepeated: () => page.repeated,
  });
  const steps = new StopSteps();
  const intake = new AbortController();
  const hurry = new AbortController();
  const end = endOfRun(io, log, hurry);
  const listenAt = async (name: ListenerName, key: 'metricsAddress' | 'probeAddress', pages: Pages) => {
    if (config[key] === '') return '';
    const listener = await startListener(key, config[key], pages);
    listeners[name] = listener;
    return listener.address;
  };
  let started: Promise<void> = Promise.resolve();
  try {
    const addresses = {
      metricsAddress: await listenAt('metrics', 'metricsAddress', { '/metrics': () => page.get() }),
      probeAddress: await listenAt('probes', 'probeAddress', probePages(health)),
    };
    const onStop = (name: string, fn: () => void | Promise<void>) => steps.add(name, fn);
    const onCertificates = (read: ReadCertificates) => void certificates.push(read);
    const base = { config, log, metrics, health, clock, version, ...addresses, onStop, onCertificates };
    started = Promise.resolve(options.start({ ...base, signal: intake.signal, fail: end.fail })).then(() => {
      health.started();
      return announceReady(health, log, addresses, intake.signal);
    });
    // Operations in progress fail when the process stops. Such an error is logged and is not a
    // failure.
    started.catch((error: Error) => {
      if (!intake.signal.aborted) end.fail(error);
      else if (error !== intake.signal.reason) log.warn({ reason: error.message }, 'the start was aborted');
    });
    await end.reached;
  } catch (error) {
    end.fail(error as Error);
  }
  health.stopping(end.error !== null);
  intake.abort();
  // A start in progress (such as connecting) sees the signal; steps that it adds from now on still
  // run.
  steps.add('start', () => started.catch(() => {}));
  const failures = await steps.run(config.stopTimeoutMs, hurry.signal);
  for (const { name, error } of failures) log.error({ step: name, err: error }, 'stop step failed');
  for (const listener of Object.values(listeners)) await listener.close();
  end.dispose();
  const { error } = end;
  const code = error ? exitCodeOf(error) : failures.length > 0 ? EXIT.bug : EXIT.ok;
  log.info({ exitCode: code }, 'stopped');
  return code;
}

/** Waits for the first of: a signal, `fail`, an uncaught error. */
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
  // Node turns an unhandled rejection into an uncaught exception.
  process.on('uncaughtException', state.fail);
  return state;
}

async function announceReady(health: Health, log: Logger, addresses: object, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    const { ok } = await health.checkReady();
    if (ok && !signal.aborted) return log.info({ ...addresses, pid: process.pid }, 'ready');
    await systemClock.sleep(READY_POLL_MS, signal);
  }
}

/**
 * JSON escapes only control characters below space. The other characters that a terminal interprets
 * are escaped here, for every log line of every app.
 */
function printable(destination: DestinationStream): DestinationStream {
  return { write: (line) => destination.write(escapeUnsafe(line, '\n')) };
}

function print(io: ServiceIo, text: string): number {
  io.stdout(text);
  return EXIT.ok;
}
