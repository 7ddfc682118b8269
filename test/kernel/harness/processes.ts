/**
 * Child processes of the harness: commands, line readers, and small helpers that are compiled when
 * first needed. Each process ends when its owner is disposed.
 */
import { execFile, execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, renameSync } from 'node:fs';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { promisify } from 'node:util';
import { launch, type RunningProcess } from '../../support/process.ts';

const run = promisify(execFile);

/** Runs a command and resolves to its output; the error contains stderr. */
export async function command(file: string, ...args: string[]): Promise<string> {
  return (await run(file, args)).stdout;
}

/** `command` inside a network namespace, with the mounts of this process. */
export function commandIn(netns: string, file: string, ...args: string[]): Promise<string> {
  return command('nsenter', `--net=/run/netns/${netns}`, file, ...args);
}

function findCompiler(candidates: readonly string[]): string {
  for (const name of candidates) {
    try {
      execFileSync(name, ['--version'], { stdio: 'ignore' });
      return name;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    }
  }
  throw new Error(`none of ${candidates.join(', ')} is installed`);
}

/**
 * Compiles a source of this directory into build/, under a name with a hash of text and flags. The
 * output appears whole or not at all, because several test processes may compile it at once.
 */
function compile(source: string, compilers: readonly string[], flags: readonly string[]): string {
  const text = readFileSync(path.join(import.meta.dirname, source));
  const hash = createHash('sha256').update(text).update(flags.join('\n')).digest('hex').slice(0, 16);
  const dir = path.join(import.meta.dirname, 'build');
  const target = path.join(dir, `${source}-${hash}`);
  if (existsSync(target)) return target;
  mkdirSync(dir, { recursive: true });
  const partial = `${target}.${process.pid}.tmp`;
  const args = ['-Wall', '-Wextra', '-Werror', ...flags, '-o', partial, path.join(import.meta.dirname, source)];
  execFileSync(findCompiler(compilers), args, { stdio: 'inherit' });
  renameSync(partial, target);
  return target;
}

/** Path of the compiled frames.c. */
export const frameHelper = (): string => compile('frames.c', ['clang-19', 'clang', 'cc'], ['-O1']);

/** Path of the compiled xdp.c. */
export const xdpHelper = (): string => compile('xdp.c', ['clang-19', 'clang', 'cc'], ['-O1']);

/** Path of the compiled pages.c. */
export const pageHelper = (): string => compile('pages.c', ['clang-19', 'clang', 'cc'], ['-O1', '-pthread']);

/** Path of the compiled hold.c. */
export const holdHelper = (): string => compile('hold.c', ['clang-19', 'clang', 'cc'], ['-O1']);

function compileBpf(source: string): string {
  const include = `/usr/include/${process.arch === 'arm64' ? 'aarch64' : 'x86_64'}-linux-gnu`;
  const flags = ['-target', 'bpf', '-mcpu=v3', '-O2', '-g', '-idirafter', include, '-c'];
  return compile(source, ['clang-19', 'clang'], flags);
}

/** Path of the compiled foreign.bpf.c. */
export const foreignObject = (): string => compileBpf('foreign.bpf.c');

/** Path of the compiled outer.bpf.c. */
export const outerObject = (): string => compileBpf('outer.bpf.c');

/** Path of the compiled crossing.bpf.c. */
export const crossingObject = (): string => compileBpf('crossing.bpf.c');

/** A child whose stdout is read line by line. */
export class LineProcess {
  readonly #running: RunningProcess;

  constructor(file: string, args: readonly string[], onLine: (line: string) => void) {
    this.#running = launch(file, args, { stdio: ['pipe', 'pipe', 'inherit'], maxOutput: 0 });
    createInterface({ input: this.#running.child.stdout! }).on('line', onLine);
  }

  write(line: string): void {
    this.#running.child.stdin!.write(`${line}\n`);
  }

  close(): Promise<void> {
    return this.#running.kill();
  }
}
