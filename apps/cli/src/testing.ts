/** Runs a command line in this process with a fake terminal, environment and clock, for tests. */

import { run } from './run.ts';
import type { CliIo, Output } from './shared/io.ts';

export interface CliRun {
  exitCode: number;
  stdout: string;
  stderr: string;
}

export interface RunCliOptions {
  env?: Record<string, string>;
  home?: string;
  /** Columns. When set, stdout and stderr are a terminal. */
  terminal?: number;
  /** The user's answers, in order. When set, the command is interactive. */
  answers?: string[];
  /** Runs while a question is open. */
  onAsk?: () => Promise<void>;
  stdin?: string;
  /** As `kubectl bailiff`. */
  asPlugin?: boolean;
  nowMs?: () => number;
  signal?: AbortSignal;
  /** Called after each write to stdout (stderr) with everything written so far. */
  onStdout?: (all: string) => void;
  onStderr?: (all: string) => void;
}

/** A CliIo that records its output. `runCli` runs a whole command line with one. */
export function captureCli(options: RunCliOptions = {}): { io: CliIo; stdout: () => string; stderr: () => string } {
  let out = '';
  let err = '';
  const answers = [...(options.answers ?? [])];
  const output = (take: (text: string) => void): Output => ({
    write: take,
    // One character per byte.
    writeBytes: (bytes) => take(Buffer.from(bytes).toString('latin1')),
    drained: () => Promise.resolve(),
    isTty: options.terminal !== undefined,
    columns: options.terminal ?? 0,
  });
  const io: CliIo = {
    // Keeps labs of the test machine out of the test.
    env: { BAILIFF_LABS_DIR: '/proc/nonexistent', ...options.env },
    stdout: output((text) => {
      out += text;
      options.onStdout?.(out);
    }),
    stderr: output((text) => {
      err += text;
      options.onStderr?.(err);
    }),
    interactive: options.answers !== undefined,
    async ask(question) {
      err += question;
      await options.onAsk?.();
      const answer = answers.shift();
      if (answer === undefined) throw new Error(`no answer is prepared for: ${question}`);
      return answer;
    },
    readStdin: async () => options.stdin ?? '',
    nowMs: options.nowMs ?? (() => Date.now()),
    signal: options.signal ?? new AbortController().signal,
    endWithReader: () => undefined,
    home: options.home ?? '/proc/nonexistent',
    operator: 'tester@host',
    version: '1.2.3',
    asPlugin: options.asPlugin ?? false,
    exitCode: 0,
  };
  return { io, stdout: () => out, stderr: () => err };
}

export async function runCli(args: readonly string[], options: RunCliOptions = {}): Promise<CliRun> {
  const { io, stdout, stderr } = captureCli(options);
  const exitCode = await run(args, io);
  return { exitCode, stdout: stdout(), stderr: stderr() };
}
