/**
 * Child processes of the harness: the frame helper compiled once a test process, commands, line readers.
 * Each is ended by its own handle when its owner is disposed.
 */
import { type ChildProcess, execFile, execFileSync, spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { promisify } from 'node:util';

const run = promisify(execFile);

/** Runs a command and gives its output; the error carries stderr. */
export async function command(file: string, ...args: string[]): Promise<string> {
  return (await run(file, args)).stdout;
}

/** `command` inside a network namespace, with the mounts of this process. */
export function commandIn(netns: string, file: string, ...args: string[]): Promise<string> {
  return command('nsenter', `--net=/run/netns/${netns}`, file, ...args);
}

let helperPath: string | undefined;

/** Path of the compiled frames.c. */
export function frameHelper(): string {
  if (helperPath !== undefined) return helperPath;
  const dir = mkdtempSync(path.join(tmpdir(), 'bailiff-frames-'));
  process.once('exit', () => rmSync(dir, { recursive: true, force: true }));
  const target = path.join(dir, 'frames');
  const clang = ['clang-19', 'clang', 'cc'].find((name) => {
    try {
      execFileSync(name, ['--version'], { stdio: 'ignore' });
      return true;
    } catch {
      return false;
    }
  });
  if (clang === undefined) throw new Error('no C compiler: install clang');
  const source = path.join(import.meta.dirname, 'frames.c');
  execFileSync(clang, ['-O1', '-Wall', '-Wextra', '-Werror', '-Wno-format-security', '-o', target, source], {
    stdio: 'inherit',
  });
  helperPath = target;
  return target;
}

/** A child whose stdout is read line by line. */
export class LineProcess {
  readonly child: ChildProcess;
  readonly #closed: Promise<void>;

  constructor(file: string, args: readonly string[], onLine: (line: string) => void) {
    this.child = spawn(file, args, { stdio: ['pipe', 'pipe', 'inherit'] });
    this.#closed = new Promise((resolve) => this.child.once('close', () => resolve()));
    createInterface({ input: this.child.stdout! }).on('line', onLine);
  }

  write(line: string): void {
    this.child.stdin!.write(`${line}\n`);
  }

  async close(): Promise<void> {
    this.child.kill('SIGKILL');
    await this.#closed;
  }
}
