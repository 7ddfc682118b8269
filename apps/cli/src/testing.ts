/** Runs a command line in this process with a world of the test's own: what it wrote, what it was answered, how it ended. */

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
  /** Columns; given, stdout and stderr are a terminal. */
  terminal?: number;
  /** What a person answers, in order; given, somebody can be asked. */
  answers?: string[];
  /** What happens elsewhere while a person thinks. */
  onAsk?: () => Promise<void>;
  stdin?: string;
  nowMs?: () => number;
  signal?: AbortSignal;
  /** Called with everything that goes to stdout (stderr), as it comes. */
  onStdout?: (all: string) => void;
  onStderr?: (all: string) => void;
}

/** An io that remembers; `runCli` for whole command lines. */
export function captureCli(options: RunCliOptions = {}): { io: CliIo; stdout: () => string; stderr: () => string } {
  let out = '';
  let err = '';
  const answers = [...(options.answers ?? [])];
  const output = (take: (text: string) => void): Output => ({
    write: take,
    // One character a byte.
    writeBytes: (bytes) => take(Buffer.from(bytes).toString('latin1')),
    drained: () => Promise.resolve(),
    isTty: options.terminal !== undefined,
    columns: options.terminal ?? 0,
  });
  const io: CliIo = {
    // Labs of the machine that runs the test are none of its business.
    env: { BAILIFF_LABS_DIR: '/nonexistent', ...options.env },
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
      if (answer === undefined) throw new Error(`nobody answers: ${question}`);
      return answer;
    },
    readStdin: async () => options.stdin ?? '',
    nowMs: options.nowMs ?? (() => Date.now()),
    signal: options.signal ?? new AbortController().signal,
    endWithReader: () => undefined,
    home: options.home ?? '/nonexistent',
    operator: 'tester@host',
    version: '1.2.3',
    exitCode: 0,
  };
  return { io, stdout: () => out, stderr: () => err };
}

export async function runCli(args: readonly string[], options: RunCliOptions = {}): Promise<CliRun> {
  const { io, stdout, stderr } = captureCli(options);
  const exitCode = await run(args, io);
  return { exitCode, stdout: stdout(), stderr: stderr() };
}
