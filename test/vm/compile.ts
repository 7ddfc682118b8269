/**
 * Compiles a small BPF or C source of a test once: the result lies in `build/` beside it, named by what went into it, so that
 * the next run in the virtual machine, where a compiler takes seconds, finds it. It appears whole or not at all.
 * Headers that the source includes do not count for the name: pass those that may change as `headers`.
 */
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, renameSync } from 'node:fs';
import path from 'node:path';

export interface CompileOptions {
  readonly flags?: readonly string[];
  readonly headers?: readonly string[];
}

function compile(source: string, compiler: string, flags: readonly string[], headers: readonly string[]): string {
  const hash = createHash('sha256').update(flags.join('\n'));
  for (const file of [source, ...headers]) hash.update(readFileSync(file));
  const dir = path.join(path.dirname(source), 'build');
  const target = path.join(dir, `${path.basename(source)}-${hash.digest('hex').slice(0, 16)}`);
  if (existsSync(target)) return target;
  mkdirSync(dir, { recursive: true });
  const partial = `${target}.${process.pid}.tmp`;
  execFileSync(compiler, ['-Wall', '-Wextra', '-Werror', ...flags, '-o', partial, source], { stdio: 'inherit' });
  renameSync(partial, target);
  return target;
}

/** The object file of a `*.bpf.c`. */
export function compileBpf(source: string, { flags = [], headers = [] }: CompileOptions = {}): string {
  const machine = process.arch === 'arm64' ? { gcc: 'aarch64', bpf: 'arm64' } : { gcc: 'x86_64', bpf: 'x86' };
  const bpf = ['-target', 'bpf', `-D__TARGET_ARCH_${machine.bpf}`, '-mcpu=v3', '-O2', '-g', '-Wno-unused-parameter'];
  return compile(
    source,
    'clang-19',
    [...bpf, '-idirafter', `/usr/include/${machine.gcc}-linux-gnu`, ...flags, '-c'],
    headers,
  );
}

/** The program of a `*.c`. */
export function compileProgram(source: string, { flags = [], headers = [] }: CompileOptions = {}): string {
  return compile(source, 'cc', ['-O1', '-D_GNU_SOURCE', ...flags], headers);
}
