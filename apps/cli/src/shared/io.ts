/**
 * A command's environment: terminal, variables, clock, signals. Tests pass their own (testing.ts).
 *
 * Invariants: results go to stdout; notes, progress and errors go to stderr. A closed pipe (`|
 * head`) does not change what a command does: it runs to its end, further output is dropped, and
 * its exit code stays. Commands that only write (`events`, a replay to stdout) end with 0 when the
 * reader closes. Output lost for another reason (disk full) ends in exit code 7.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { Socket } from 'node:net';
import { homedir, hostname, userInfo } from 'node:os';
import path from 'node:path';
import { createInterface } from 'node:readline/promises';
import { addAbortSignal } from 'node:stream';
import { EXIT } from '@bailiff/service';
import { onAbort } from '@bailiff/service/retry';

export interface Output {
  write(text: string): void;
  /** For binary data. */
  writeBytes(bytes: Uint8Array): void;
  /** Resolves when the stream has accepted everything written. */
  drained(): Promise<void>;
  readonly isTty: boolean;
  /** Columns of the terminal; 0 without a terminal. */
  readonly columns: number;
}

export interface CliIo {
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly stdout: Output;
  readonly stderr: Output;
  /** Whether questions can be asked. */
  readonly interactive: boolean;
  /** Asks on stderr. Rejects when interrupted. */
  ask(question: string): Promise<string>;
  /** Rejects when interrupted. */
  readStdin(): Promise<string>;
  nowMs(): number;
  /** Aborts at SIGINT or SIGTERM. */
  readonly signal: AbortSignal;
  /**
   * For commands that only write to stdout: the process ends with 0 when the reader closes the
   * pipe.
   */
  endWithReader(): void;
  readonly home: string;
  /** user@host, for audit records. */
  readonly operator: string;
  readonly version: string;
  /** Started as `kubectl bailiff`. */
  readonly asPlugin: boolean;
  /** Set by the command; 0 by default. */
  exitCode: number;
}

/** Largest document read from stdin: the bucket's limit, with room for formatting. */
export const MAX_STDIN_BYTES = 1024 * 1024;

type OutputStream = NodeJS.WriteStream & { readonly fd: number };

/** All or an error: to a file, the stream of Node reports success if the disk has room for a part only. */
function writeTo(stream: OutputStream, data: string | Uint8Array): void {
  if ((stream as unknown) instanceof Socket) {
    stream.write(data);
    return;
  }
  try {
    writeFileSync(stream.fd, Buffer.from(data));
  } catch (error) {
    stream.emit('error', error);
  }
}

/** Writes until the stream fails and drops everything after that. Exported for tests. */
export function outputOf(stream: OutputStream, lost: AbortSignal): Output {
  const write = (data: string | Uint8Array) => {
    if (!lost.aborted) writeTo(stream, data);
  };
  return {
    write,
    writeBytes: write,
    drained: () =>
      stream.writableNeedDrain && !lost.aborted
        ? new Promise((resolve) => {
            const forget = onAbort(lost, resolve);
            stream.once('drain', () => {
              forget();
              resolve();
            });
          })
        : Promise.resolve(),
    isTty: stream.isTTY === true,
    get columns() {
      return stream.isTTY ? (stream.columns ?? 80) : 0;
    },
  };
}

/** Tracks failed outputs, and decides how the process ends when stdout fails. */
function trackOutputs(): { stdout: AbortSignal; stderr: AbortSignal; endWithReader: () => void } {
  const [stdout, stderr] = [new AbortController(), new AbortController()];
  let endsWithReader = false;
  let readerGone = false;
  process.stderr.on('error', () => stderr.abort());
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    if (stdout.signal.aborted) return;
    stdout.abort();
    readerGone = error.code === 'EPIPE';
    if (readerGone && endsWithReader) process.exit(EXIT.ok);
    if (readerGone) return;
    if (!stderr.signal.aborted) process.stderr.write(`bailiff: cannot write the output: ${error.message}\n`);
    if (endsWithReader) process.exit(EXIT.dependencyUnreachable);
    // The output is incomplete, so success must not be reported.
    process.once('exit', (code) => {
      if (code === EXIT.ok) process.exitCode = EXIT.dependencyUnreachable;
    });
  });
  return {
    stdout: stdout.signal,
    stderr: stderr.signal,
    endWithReader: () => {
      endsWithReader = true;
      if (readerGone) process.exit(EXIT.ok);
    },
  };
}

/** Version when running from sources; a bundle has its version compiled in. */
function checkoutVersion(): string {
  const text = readFileSync(new URL('../../../../package.json', import.meta.url), 'utf8');
  return (JSON.parse(text) as { version: string }).version;
}

/** A uid without a passwd entry, common in containers, has no home directory. */
function homeOfUser(): string {
  try {
    return homedir();
  } catch {
    return '/nonexistent';
  }
}

function userName(env: CliIo['env']): string {
  try {
    return userInfo().username;
  } catch {
    // A uid without a passwd entry.
    return env['USER'] ?? String(process.getuid?.() ?? 'unknown');
  }
}

async function readAll(stream: NodeJS.ReadStream, signal: AbortSignal): Promise<string> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of addAbortSignal(signal, stream)) {
    size += (chunk as Buffer).length;
    if (size > MAX_STDIN_BYTES) throw new Error(`stdin exceeds ${MAX_STDIN_BYTES} bytes`);
    chunks.push(chunk as Buffer);
  }
  return Buffer.concat(chunks).toString('utf8');
}

class Interruption extends Error {
  readonly by: NodeJS.Signals;
  constructor(by: NodeJS.Signals) {
    super(`interrupted by ${by}`);
    this.by = by;
  }
}

/** After a signal, a command ends in order within this time, or the process is ended. */
const INTERRUPT_LIMIT_MS = 5_000;

/**
 * Ends the process by the signal itself. `process.exit` would wait for a name look-up that has no
 * answer.
 */
function endBy(name: NodeJS.Signals): void {
  process.removeAllListeners(name);
  process.kill(process.pid, name);
}

/**
 * The first signal aborts the command, the second ends the process, as does INTERRUPT_LIMIT_MS.
 * Handlers are installed at first use, so a command that hands its terminal to another program (lab)
 * keeps the default behaviour.
 */
function interruptible(): () => AbortSignal {
  let controller: AbortController | null = null;
  return () => {
    if (controller) return controller.signal;
    const made = new AbortController();
    controller = made;
    const onSignal = (name: NodeJS.Signals) => {
      if (made.signal.aborted) return endBy(name);
      made.abort(new Interruption(name));
      setTimeout(() => endBy(name), INTERRUPT_LIMIT_MS).unref();
    };
    process.on('SIGINT', onSignal).on('SIGTERM', onSignal);
    return made.signal;
  };
}

/** A command has ended, so its connections have too; what is left must not keep the process. */
const LINGER_MS = 500;

/** Ends the process soon, with `process.exitCode`. Call when the command has ended. */
export function endAfterLinger({ signal }: Pick<CliIo, 'signal'>): void {
  const end = () => {
    if (signal.reason instanceof Interruption) endBy(signal.reason.by);
    else process.exit();
  };
  setTimeout(end, LINGER_MS).unref();
}

/** The CliIo of this process. */
export function processIo(): CliIo {
  const signal = interruptible();
  const lost = trackOutputs();
  const { env } = process;
  return {
    env,
    stdout: outputOf(process.stdout, lost.stdout),
    stderr: outputOf(process.stderr, lost.stderr),
    interactive: process.stdin.isTTY === true && process.stderr.isTTY === true,
    async ask(question) {
      const lines = createInterface({ input: process.stdin, output: process.stderr });
      try {
        return await lines.question(question, { signal: signal() });
      } finally {
        lines.close();
      }
    },
    readStdin: () => readAll(process.stdin, signal()),
    nowMs: () => Date.now(),
    get signal() {
      return signal();
    },
    endWithReader: lost.endWithReader,
    home: env['HOME'] ?? homeOfUser(),
    operator: `${userName(env)}@${hostname()}`,
    version: process.env.BAILIFF_VERSION ?? checkoutVersion(),
    asPlugin: path.basename(process.argv[1] ?? '').startsWith('kubectl-bailiff'),
    exitCode: 0,
  };
}
