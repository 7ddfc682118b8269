/**
 * Shared by the tests of the native binding: compiled fixtures, and child processes in namespaces
 * of their own.
 *
 * A scenario runs in a child process for one of four reasons: its own network namespace, its own
 * mounts (a bpffs that disappears with it), a Node flag, or because it ends the process. No object
 * outlives the child. A child that exceeds CHILD_TIMEOUT_MS is killed, and the test fails with its
 * output.
 */
import { execFileSync, spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { TestContext } from 'vitest';
import { nodeArgs } from '../../../tools/children.ts';

const CHILD_TIMEOUT_MS = 40_000;

/** For beforeEach: every test here uses the kernel. */
export function needsRoot(context: TestContext): void {
  context.skip(process.getuid?.() !== 0, 'needs root: CAP_BPF, CAP_NET_ADMIN and CAP_SYS_ADMIN');
}

export class TempDir implements Disposable {
  readonly path = mkdtempSync(join(tmpdir(), 'bailiff-native-'));
  [Symbol.dispose](): void {
    rmSync(this.path, { recursive: true, force: true });
  }
}

function clang(): string {
  for (const name of ['clang-19', 'clang']) {
    try {
      execFileSync(name, ['--version'], { stdio: 'ignore' });
      return name;
    } catch {
      // The next name may exist; none at all is an error below.
    }
  }
  throw new Error('no clang: scripts/setup installs it');
}

/** Compiles test/fixtures/<name>.bpf.c into `dir` and returns the object's path. */
export function compileFixture(dir: TempDir, name: 'tiny' | 'refused'): string {
  const source = fileURLToPath(new URL(`fixtures/${name}.bpf.c`, import.meta.url));
  const object = join(dir.path, `${name}.bpf.o`);
  const machine = process.arch === 'arm64' ? 'aarch64' : 'x86_64';
  const includes = ['-idirafter', `/usr/include/${machine}-linux-gnu`];
  execFileSync(clang(), ['-O2', '-g', '-target', 'bpf', '-mcpu=v3', ...includes, '-c', source, '-o', object]);
  return object;
}

export interface ChildResult<T> {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
  /** Return value of the scenario. Undefined if it did not return. */
  readonly result: T | undefined;
}

export interface ChildOptions {
  readonly args?: string[];
  readonly nodeArgs?: string[];
  readonly env?: Record<string, string>;
}

const RESULT_MARK = '@result ';

/** Runs one scenario of test/scenarios/<file>.ts in new network and mount namespaces. */
export async function runScenario<T>(
  file: string,
  scenario: string,
  options: ChildOptions = {},
): Promise<ChildResult<T>> {
  const source = nodeArgs(`libs/bpf/test/scenarios/${file}.ts`);
  const node = [process.execPath, ...(options.nodeArgs ?? []), ...source, scenario, ...(options.args ?? [])];
  const child = spawn('unshare', ['-n', '-m', '--', ...node], {
    env: { ...process.env, ...options.env },
    stdio: ['ignore', 'pipe', 'pipe'],
    timeout: CHILD_TIMEOUT_MS,
    killSignal: 'SIGKILL',
  });
  let stdout = '';
  let stderr = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    stdout += text;
  });
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    stderr += text;
  });
  const [code, signal] = await new Promise<[number | null, NodeJS.Signals | null]>((resolve, reject) => {
    child.on('error', reject);
    child.on('close', (exitCode, exitSignal) => resolve([exitCode, exitSignal]));
  });
  const line = stdout.split('\n').findLast((text) => text.startsWith(RESULT_MARK));
  return {
    code,
    signal,
    stdout,
    stderr,
    result: line === undefined ? undefined : JSON.parse(line.slice(RESULT_MARK.length)),
  };
}

/** Return value of the scenario. A child that fails makes the test fail with its whole output. */
export async function resultOf<T>(file: string, scenario: string, options: ChildOptions = {}): Promise<T> {
  const child = await runScenario<T>(file, scenario, options);
  if (child.code !== 0 || child.result === undefined) {
    throw new Error(`${file} ${scenario}: exit ${child.code ?? child.signal}\n${child.stdout}\n${child.stderr}`);
  }
  return child.result;
}

/**
 * Runs the scenario named on the command line and prints its return value (bigints as text). Child
 * only.
 */
export async function scenarioMain(scenarios: Record<string, (...args: string[]) => unknown>): Promise<void> {
  const [name = '', ...args] = process.argv.slice(2);
  const scenario = scenarios[name];
  if (scenario === undefined) throw new Error(`no scenario ${name}`);
  const result = await scenario(...args);
  const text = JSON.stringify(result ?? null, (_, value) => (typeof value === 'bigint' ? String(value) : value));
  process.stdout.write(`${RESULT_MARK}${text}\n`);
}
