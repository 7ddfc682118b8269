/**
 * The world as a command sees it: terminal, environment, clock, interruption. Passed in, so that a test gives its own (testing.ts).
 *
 * Invariants: what was asked for goes to stdout and nothing else does; notes, progress and errors go to stderr. A reader that went away
 * (`| head`) is no error: the process ends with 0.
 */
import { readFileSync } from 'node:fs';
import { homedir, hostname, userInfo } from 'node:os';
import { createInterface } from 'node:readline/promises';

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
  readonly home: string;
  /** user@host, for records of who did something. */
  readonly operator: string;
  readonly version: string;
  /** Set by the command that ran; 0 unless it says otherwise. */
  exitCode: number;
}

/** Largest configuration that is read from stdin: what the bucket takes, with room for formatting. */
export const MAX_STDIN_BYTES = 1024 * 1024;

function outputOf(stream: NodeJS.WriteStream): Output {
  return {
    write: (text) => void stream.write(text),
    writeBytes: (bytes) => void stream.write(bytes),
    drained: () =>
      stream.writableNeedDrain ? new Promise((resolve) => stream.once('drain', () => resolve())) : Promise.resolve(),
    isTty: stream.isTTY === true,
    get columns() {
      return stream.isTTY ? (stream.columns ?? 80) : 0;
    },
  };
}

/** Of the sources, which run as they are: a bundle was told its version when it was built. */
function checkoutVersion(): string {
  const text = readFileSync(new URL('../../../package.json', import.meta.url), 'utf8');
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
  for (const stream of [process.stdout, process.stderr]) {
    stream.on('error', (error: NodeJS.ErrnoException) => {
      if (error.code === 'EPIPE') process.exit(0);
      throw error;
    });
  }
  const { env } = process;
  return {
    env,
    stdout: outputOf(process.stdout),
    stderr: outputOf(process.stderr),
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
    home: env['HOME'] ?? homeOfUser(),
    operator: `${userName(env)}@${hostname()}`,
    version: process.env.BAILIFF_VERSION ?? checkoutVersion(),
    exitCode: 0,
  };
}
