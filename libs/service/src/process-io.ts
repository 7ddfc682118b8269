/**
 * Standard streams and signals of a process, and its end after the shutdown (run.ts).
 *
 * The log is written asynchronously, never by a blocking write: a reader of stdout that is gone or
 * does not read must not keep the process alive. Limit: MAX_LOG_BYTES of lines that wait.
 */
import pino, { type DestinationStream } from 'pino';
import type { Clock } from './clock.ts';
import { escapeUnsafe } from './printable.ts';

/** Environment of the process; tests use `captureIo`. */
export interface ServiceIo {
  env: Readonly<Record<string, string | undefined>>;
  stdout(text: string): void;
  stderr(text: string): void;
  logDestination: DestinationStream;
  /** Number of log lines dropped because stdout was blocked. */
  logLinesDropped?(): number;
  /** Adds a listener for SIGTERM and SIGINT and returns its removal. */
  onSignal(listener: (signal: NodeJS.Signals) => void): () => void;
  clock?: Clock;
}

/** Time after the shutdown until the process exits even if the event loop is still active. */
const LINGER_MS = 500;
const THREAD_LINGERS = 4;
/**
 * Limit of buffered log output while stdout is blocked. Beyond it lines are dropped to bound
 * memory.
 */
const MAX_LOG_BYTES = 4 * 1024 * 1024;

/** Resources of Node that occupy a thread: a look-up of a name, and a read or write of a file or pipe. */
const THREAD_WORK: ReadonlySet<string> = new Set(['GetAddrInfoReqWrap', 'FSReqCallback']);

export function processIo(): ServiceIo {
  let dropped = 0;
  const logDestination = logTo(1, () => dropped++);
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

function logTo(fd: number, onDrop: () => void): pino.DestinationStream {
  const destination = pino.destination({ dest: fd, sync: false, maxLength: MAX_LOG_BYTES });
  destination.on('drop', onDrop);
  // A line that cannot be written, such as to a full disk, is tried again with the next one.
  destination.on('error', () => undefined);
  // The library flushes when the process exits: it repeats EPIPE for ever, and blocks while no process reads.
  destination.flushSync = () => undefined;
  return destination;
}

/**
 * Ends the process after LINGER_MS if something keeps the event loop active. `process.exit` waits for
 * the threads of Node, so while one looks up a name or writes to a blocked stdout, a signal ends it. On
 * a busy machine a thread that is not blocked may have to wait, and gets THREAD_LINGERS more times.
 */
export function endAfterLinger(code: number, lingers = THREAD_LINGERS): void {
  const end = () => {
    const isOccupied = process.getActiveResourcesInfo().some((name) => THREAD_WORK.has(name));
    if (isOccupied && lingers > 0) return endAfterLinger(code, lingers - 1);
    if (isOccupied) process.kill(process.pid, 'SIGKILL');
    process.exit(code);
  };
  setTimeout(end, LINGER_MS).unref();
}
