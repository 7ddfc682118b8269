/**
 * labtool, the lab's native helper: compiled from test/lab/native if absent or older than its
 * sources, and the argument lists to start it. native/labtool.h describes the subcommands.
 */
import { existsSync, statSync } from 'node:fs';
import { mkdir, readdir, rename, rm } from 'node:fs/promises';
import path from 'node:path';
import { LabError } from './errors.ts';
import { CHECKOUT, netnsPath } from './names.ts';
import { exec } from './process/exec.ts';

export { CHECKOUT };

const SOURCES = path.join(CHECKOUT, 'test/lab/native');
export const LABTOOL = path.join(CHECKOUT, 'test/lab/build/labtool');
const COMPILERS = ['gcc', 'clang-19', 'clang', 'cc'];

/** True if the output is missing or older than a source. */
export function isStale(output: string, sources: readonly string[]): boolean {
  if (!existsSync(output)) return true;
  const built = statSync(output).mtimeMs;
  return sources.some((source) => statSync(source).mtimeMs > built);
}

/** Path of an up-to-date labtool. @throws LabError LAB_MISSING_PROGRAM without a C compiler */
export async function ensureLabtool(): Promise<string> {
  const files = (await readdir(SOURCES)).map((file) => path.join(SOURCES, file));
  if (!isStale(LABTOOL, files)) return LABTOOL;
  await mkdir(path.dirname(LABTOOL), { recursive: true });
  // Built under another name and renamed, so that concurrent builds never expose a partial program.
  const fresh = `${LABTOOL}.${process.pid}`;
  const args = [
    '-std=gnu11',
    '-O2',
    '-static',
    '-Wall',
    '-Wextra',
    '-Werror',
    '-o',
    fresh,
    ...files.filter((f) => f.endsWith('.c')),
  ];
  for (const compiler of COMPILERS) {
    try {
      await exec(compiler, args, { timeoutMs: 60_000 });
      await rename(fresh, LABTOOL);
      return LABTOOL;
    } catch (error) {
      await rm(fresh, { force: true });
      if ((error as LabError).code !== 'LAB_MISSING_PROGRAM') throw error;
    }
  }
  throw new LabError('LAB_MISSING_PROGRAM', `no C compiler (${COMPILERS.join(', ')}): install the Debian package gcc`);
}

export interface Place {
  /** Network namespace to enter; default: the caller's. */
  netns?: string;
  /** Cgroup directory to join. */
  cgroup?: string;
}

/** Arguments for labtool: start in that place, and receive SIGKILL when the parent ends. */
export function labtoolArgs(place: Place, command: readonly string[]): string[] {
  return [
    '--die-with-parent',
    ...(place.cgroup ? ['--cgroup', place.cgroup] : []),
    ...(place.netns ? ['--netns', netnsPath(place.netns)] : []),
    ...command,
  ];
}
