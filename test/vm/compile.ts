/**
 * Compiles a small BPF or C source of a test once. The output is in `build/` beside it and is named
 * by a hash of its inputs, so the next run in the virtual machine, where a compiler takes seconds,
 * reuses it. It appears whole or not at all. The hash includes files beside the source that it
 * includes.
 */
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, renameSync } from 'node:fs';
import path from 'node:path';

export interface CompileOptions {
  readonly flags?: readonly string[];
}

/** Compiled in this process: each source is checked once. */
const compiled = new Map<string, string>();

function compile(source: string, compiler: string, flags: readonly string[]): string {
  const key = [source, compiler, ...flags].join(' ');
  const known = compiled.get(key) ?? compileOnce(source, compiler, flags);
  compiled.set(key, known);
  return known;
}

function compileOnce(source: string, compiler: string, flags: readonly string[]): string {
  const text = readFileSync(source, 'utf8');
  const hash = createHash('sha256').update(flags.join('\n')).update(text);
  for (const [, name = ''] of text.matchAll(/^#include "([^"/]+)"/gm))
    hash.update(readFileSync(path.join(path.dirname(source), name)));
  const dir = path.join(path.dirname(source), 'build');
  const target = path.join(dir, `${path.basename(source)}-${hash.digest('hex').slice(0, 16)}`);
  if (existsSync(target)) return target;
  mkdirSync(dir, { recursive: true });
  const partial = `${target}.${process.pid}.tmp`;
  execFileSync(compiler, ['-Wall', '-Wextra', '-Werror', ...flags, '-o', partial, source], { stdio: 'inherit' });
  renameSync(partial, target);
  return target;
}

/** Compiles a `*.bpf.c`. @returns path of the object file */
export function compileBpf(source: string, { flags = [] }: CompileOptions = {}): string {
  const machine = process.arch === 'arm64' ? { gcc: 'aarch64', bpf: 'arm64' } : { gcc: 'x86_64', bpf: 'x86' };
  const bpf = ['-target', 'bpf', `-D__TARGET_ARCH_${machine.bpf}`, '-mcpu=v3', '-O2', '-g', '-Wno-unused-parameter'];
  return compile(source, 'clang-19', [...bpf, '-idirafter', `/usr/include/${machine.gcc}-linux-gnu`, ...flags, '-c']);
}

/** Compiles a `*.c`. @returns path of the program */
export function compileProgram(source: string, { flags = [] }: CompileOptions = {}): string {
  return compile(source, 'cc', ['-O1', '-D_GNU_SOURCE', ...flags]);
}
