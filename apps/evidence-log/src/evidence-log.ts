/**
 * The evidence-log: hashes the messages of four streams into a log on a volume, signs its heads, and serves
 * copies of it.
 *
 * One process per log: the chart runs one replica and ends the old pod before the new one starts. A second process on
 * the same directory ends at its first head, because a file has another length than it expects. A kill at any moment
 * loses no head that was visible outside, and no message that the bus still has.
 */
import { createPrivateKey, type KeyObject } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { connectService, InstanceReporter } from '@bailiff/bus';
import {
  COSIGNATURE,
  cosignedDate,
  EvidenceError,
  formatVerifierKey,
  LOGGED_STREAMS,
  LogKeeper,
  LogWriter,
  parseVerifierKey,
  splitWitness,
  verifierKey,
  type WitnessAddress,
  Witnesses,
  type WitnessState,
} from '@bailiff/evidence';
import { clipReason } from '@bailiff/schemas';
import {
  busOptionsOf,
  busServiceOf,
  RateLimitedLog,
  type ServiceContext,
  ServiceError,
  startListener,
} from '@bailiff/service';
import type { LogConfig } from './config.ts';
import { makeMetrics } from './metrics.ts';
import { pagesOf } from './pages.ts';

/** Older messages without a head make the service not ready. */
const LAG_LIMIT_MS = 60_000;

/** Starts the service; resolves when it reads. @throws ServiceError; BusError */
export async function start(ctx: ServiceContext<LogConfig>): Promise<void> {
  const { config, clock, health, log: lines, onStop, fail, signal } = ctx;
  const key = signingKey(config.keyFile);
  const named = verifierKey(config.origin, key);
  const addresses = witnessesOf(config);
  const log = opened(() => new LogWriter(config.directory));
  const witnesses = new Witnesses(log, addresses, clock.nowMs);
  onStop('files', () => log.close());
  const options = { ...busOptionsOf(config), name: 'evidence-log' };
  const bus = await connectService(busServiceOf(ctx), options, [...LOGGED_STREAMS]);
  const { origin, headEveryMs } = config;
  const afterHead = (end: AbortSignal) => witnesses.ask(end);
  const keeper = opened(() => new LogKeeper({ bus, log, origin, key, headEveryMs, afterHead, signal }));
  const lagMs = () => {
    const since = keeper.behindSinceMicros;
    return since === null ? 0 : Math.max(0, clock.nowMs() - since / 1000);
  };
  health.ready('log', () => lagMs() < LAG_LIMIT_MS || `${Math.round(lagMs() / 1000)} s behind the bus`);
  const streams = [...LOGGED_STREAMS];
  makeMetrics(ctx.metrics, () => ({
    size: log.size,
    lagSeconds: lagMs() / 1000,
    missed: keeper.missed,
    pending: Object.fromEntries(streams.map((stream) => [stream, keeper.pending(stream)])),
    witnessed: Object.fromEntries(witnesses.states.map(({ name, size }) => [name, size])),
    failing: Object.fromEntries(witnesses.states.map(({ name, failing }) => [name, failing ? 1 : 0])),
  }));
  const warnings = new RateLimitedLog(lines);
  const reporter = new InstanceReporter({
    ctx,
    bus,
    service: 'evidence-log',
    progress: streams.map((stream) => ({ stream, position: () => keeper.position(stream) })),
    more: () => ({
      log: {
        origin,
        keyId: named.id.toString('hex'),
        size: log.size,
        lagMs: Math.round(lagMs()),
        missed: keeper.missed,
        witnesses: witnesses.states.map(statusOf),
      },
    }),
    onError: (err) => warnings.warn('status', { err }, 'cannot publish the status'),
  });
  onStop('status', () => reporter.close());
  const listener = await startListener('listenAddress', config.listenAddress, pagesOf(log));
  onStop('pages', () => listener.close());
  const running = keeper.run().catch((error: Error) => {
    if (!signal.aborted) fail(serviceError(error));
    else throw error;
  });
  onStop('log', () => running);
  lines.info(
    { origin, verifierKey: formatVerifierKey(named), size: log.size, listenAddress: listener.address },
    'keeping the log',
  );
}

/** @throws ServiceError SERVICE_CONFIG */
function witnessesOf({ witnesses }: LogConfig): WitnessAddress[] {
  return witnesses.map((text) => {
    const [key = '', url = ''] = splitWitness(text) ?? [];
    try {
      return { key: parseVerifierKey(key, COSIGNATURE), url };
    } catch (cause) {
      if (!(cause instanceof EvidenceError)) throw cause;
      throw new ServiceError('SERVICE_CONFIG', `witnesses: ${cause.message}`, { cause, fields: ['witnesses'] });
    }
  });
}

const statusOf = ({ name, size, seconds, failing }: WitnessState) => ({
  name,
  size,
  cosignedAt: seconds > 0 ? cosignedDate(seconds) : '',
  ...(failing
    ? {
        failing: {
          code: failing.code,
          reason: clipReason(failing.reason),
          since: new Date(failing.sinceMs).toISOString(),
        },
      }
    : {}),
});

function signingKey(file: string): KeyObject {
  try {
    const key = createPrivateKey(readFileSync(file));
    if (key.asymmetricKeyType === 'ed25519') return key;
  } catch (cause) {
    const text = `keyFile: ${file} is not a private key in PEM: ${(cause as Error).message}`;
    throw new ServiceError('SERVICE_CONFIG', text, { cause, fields: ['keyFile'] });
  }
  throw new ServiceError('SERVICE_CONFIG', `keyFile: ${file} is not an Ed25519 key`, { fields: ['keyFile'] });
}

/** Opens the log. @throws ServiceError SERVICE_CONFIG if its directory cannot be used */
function opened<T>(open: () => T): T {
  try {
    return open();
  } catch (error) {
    throw serviceError(error as Error);
  }
}

/** The directory contradicts the configuration, is damaged, or its disk is full. */
function serviceError(cause: Error): Error {
  const { code = '' } = cause as NodeJS.ErrnoException;
  if (!/^E[A-Z]+(_|$)/.test(code)) return cause;
  return new ServiceError('SERVICE_CONFIG', `directory: ${cause.message}`, { cause, fields: ['directory'] });
}
