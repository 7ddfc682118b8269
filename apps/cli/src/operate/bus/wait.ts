/**
 * Repeats `bailiff bus setup` until the bus is there. During an installation the servers start, get
 * their certificates and elect a leader in any order; each of these ends a single attempt.
 *
 * Bounded by a total time. Errors that time does not heal end it at once.
 */
import { BusError } from '@bailiff/bus';
import { span } from '@bailiff/response';
import { pause } from '@bailiff/service/retry';
import type { CliIo } from '../../shared/io.ts';
import { oneLine } from '../../shared/text/terminal.ts';

/** First pause after a failure, doubled up to the last: readiness follows the bus within seconds. */
const FIRST_PAUSE_MS = 250;
const LAST_PAUSE_MS = 2_000;
/** The same reason is reported again after this time. */
const REPEAT_MS = 15_000;

/** Unreachable, not yet responding, or a Secret that another step is still writing. */
const PASSING: ReadonlySet<string> = new Set([
  'BUS_UNREACHABLE',
  'BUS_TIMEOUT',
  'BUS_AUTHENTICATION',
  'BUS_NO_STREAM',
  'BUS_CLOSED',
]);
/**
 * JetStream's `err_code` while a cluster forms: incomplete, no suitable peers, not active, not
 * assigned, not available, not the leader. And a single server that is not restarted as one of several yet.
 */
const CLUSTER_FORMS: ReadonlySet<number> = new Set([10004, 10005, 10006, 10007, 10008, 10009, 10074]);
/** The peer closed the connection during the TLS handshake, or has no certificate yet. */
const TLS_NOT_READY = /before secure TLS connection|socket hang up|ECONNRESET|EPIPE|handshake/i;

/** Whether an error can end by itself. Pure. */
export function canPass(error: unknown): boolean {
  if (error instanceof BusError) {
    if (PASSING.has(error.code) || CLUSTER_FORMS.has(error.apiCode) || TLS_NOT_READY.test(error.message)) return true;
  }
  // JetStream is off: a CliError. An update that the server refuses: BUS_TOPOLOGY.
  const { cause } = error as { cause?: unknown };
  return cause instanceof BusError && canPass(cause);
}

/**
 * Runs `attempt` until it succeeds. Progress is on stderr: each new reason, and the same one every
 * 15 s.
 * @throws the last error when `waitMs` has passed; at once, an error that cannot pass
 */
export async function untilTheBusIsUp(io: CliIo, waitMs: number, attempt: () => Promise<void>): Promise<void> {
  const startMs = io.nowMs();
  let pauseMs = FIRST_PAUSE_MS;
  let reported = { text: '', atMs: 0 };
  for (;;) {
    try {
      return await attempt();
    } catch (error) {
      const now = io.nowMs();
      const leftMs = startMs + waitMs - now;
      if (leftMs <= 0 || io.signal?.aborted || !canPass(error)) throw error;
      const text = oneLine((error as Error).message);
      if (text !== reported.text || now - reported.atMs >= REPEAT_MS) {
        io.stderr.write(`waiting for the bus, for up to ${span(leftMs)} more: ${text}\n`);
        reported = { text, atMs: now };
      }
      await pause(Math.min(pauseMs, leftMs), io.signal);
      io.signal?.throwIfAborted();
      pauseMs = Math.min(pauseMs * 2, LAST_PAUSE_MS);
    }
  }
}
