/**
 * The world as a command sees it: terminal, environment, clock, interruption. Passed in, so that a test gives its own (testing.ts).
 *
 * Invariants: what was asked for goes to stdout and nothing else does; notes, progress and errors go to stderr. A reader that goes away
 * (`| head`) never decides what a command does: the command goes on to its end, what it still writes is dropped, and the exit code tells
 * how it ended. Only one that has nothing to do but write (`events`, a replay to stdout) ends with its reader, with 0. Output that is lost
 * for another reason (a full disk) ends in 7.
 */
import { readFileSync } from 'node:fs';
import { homedir, hostname, userInfo } from 'node:os';
import { createInterface } from 'node:readline/promises';
import { EXIT } from '@bailiff/service';

export interface Output {
  write(text: string): void;
  /** For what is no text. */
  writeBytes(bytes: Uint8Array): void;
  /** Resolves when what was written has been taken. */
  drained(): Promise<void>;
  readonly isTty: boolean;
  /** Columns of the terminal; 0 when it is none. */
  readonly columns: number;
}

export interface CliIo {
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly stdout: Output;
  readonly stderr: Output;
  /** Whether a person can be asked. */
  readonly interactive: boolean;
  /** Asks on stderr. Rejects when interrupted. */
  ask(question: string): Promise<string>;
  readStdin(): Promise<string>;
  nowMs(): number;
  /** Aborts at SIGINT or SIGTERM. */
  readonly signal: AbortSignal;
  /** Said by a command that does nothing but write to stdout: when nobody reads that any more, the process ends with 0. */
  endWithReader(): void;
  readonly home: string;
  /** user@host, for records of who did something. */
  readonly operator: string;
  readonly version: string;
  /** Set by the command that ran; 0 unless it says otherwise. */
  exitCode: number;
}

/** Largest configuration that is read from stdin: what the bucket takes, with room for formatting. */
export const MAX_STDIN_BYTES = 1024 * 1024;

/** Writes until the stream fails; whatever comes after that is dropped. */
function outputOf(stream: NodeJS.WriteStream, lost: AbortSignal): Output {
  const write = (data: string | Uint8Array) => {
    if (!lost.aborted) stream.write(data);
  };
  return {
    write,
    writeBytes: write,
    drained: () =>
      stream.writableNeedDrain && !lost.aborted
        ? new Promise((resolve) => {
            stream.once('drain', resolve);
            lost.addEventListener('abort', () => resolve(), { once: true });
          })
        : Promise.resolve(),
    isTty: stream.isTTY === true,
    get columns() {
      return stream.isTTY ? (stream.columns ?? 80) : 0;
    },
  };
}

/** What becomes of a command whose output cannot be written any more. */
function losable(): { stdout: AbortSignal; stderr: AbortSignal; endWithReader: () => void } {
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
    if (!stderr.signal.aborted) process.stderr.write(`bailiff: output is lost: ${error.message}\n`);
    if (endsWithReader) process.exit(EXIT.dependencyUnreachable);
    // Whatever the command came to: who asked for a file has not got it.
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

/** Of the sources, which run as they are: a bundle was told its version when it was built. */
function checkoutVersion(): string {
  const text = readFileSync(new URL('../../../../package.json', import.meta.url), 'utf8');
  return (JSON.parse(text) as { version: string }).version;
}

/** A user that only a number names, as in a container, has none: then nothing is looked for in it. */
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
    // A uid without a passwd entry, as in many containers.
    return env['USER'] ?? String(process.getuid?.() ?? 'unknown');
  }
}

async function readAll(stream: NodeJS.ReadStream): Promise<string> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of stream) {
    size += (chunk as Buffer).length;
    if (size > MAX_STDIN_BYTES) throw new Error(`stdin is above ${MAX_STDIN_BYTES} bytes`);
    chunks.push(chunk as Buffer);
  }
  return Buffer.concat(chunks).toString('utf8');
}

/**
 * Signals end a command in order: the first aborts, the second ends the process. Listened to from the first use on, so that a command that
 * hands its terminal to another program (lab) keeps the ordinary behaviour.
 */
function interruptible(): () => AbortSignal {
  let controller: AbortController | null = null;
  return () => {
    if (controller) return controller.signal;
    const made = new AbortController();
    controller = made;
    const onSignal = (name: NodeJS.Signals) => {
      if (made.signal.aborted) process.exit(name === 'SIGTERM' ? 143 : 130);
      made.abort(new Error(`interrupted by ${name}`));
    };
    process.on('SIGINT', onSignal).on('SIGTERM', onSignal);
    return made.signal;
  };
}

/** The real one. */
export function processIo(): CliIo {
  const signal = interruptible();
  const lost = losable();
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
    readStdin: () => readAll(process.stdin),
    nowMs: () => Date.now(),
    get signal() {
      return signal();
    },
    endWithReader: lost.endWithReader,
    home: env['HOME'] ?? homeOfUser(),
    operator: `${userName(env)}@${hostname()}`,
    version: process.env.BAILIFF_VERSION ?? checkoutVersion(),
    exitCode: 0,
  };
}
