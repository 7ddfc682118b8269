/**
 * Compiles the kernel programs: bpf/spoof.bpf.c → build/bpf/spoof.bpf.o, and checks or writes src/layout.gen.ts.
 *
 * Run by the `build:bpf` target. `--layout` rewrites the layout file from the object's BTF; without it a layout that
 * no longer fits is an error, so that a struct cannot change in silence. `--out <file>` builds elsewhere. The object
 * appears whole or not at all. DWARF is stripped (machine paths, size), BTF stays: the loader and the layout need it.
 * Needs clang and llvm-strip (19 tried), bpftool, and the kernel's user-space headers.
 */
import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { layoutSource, readBtf } from './layout.ts';

const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '..');
const layoutPath = path.join(root, 'src/layout.gen.ts');
const { values: flags } = parseArgs({
  options: {
    layout: { type: 'boolean', default: false },
    out: { type: 'string', default: path.join(root, 'build/bpf/spoof.bpf.o') },
  },
});
const objectPath = flags.out;
const partialPath = `${objectPath}.${process.pid}.tmp`;

/** First of the commands that runs; versioned names first, as Debian spells them. */
function findTool(candidates: string[]): string {
  for (const candidate of candidates) {
    try {
      execFileSync(candidate, ['--version'], { stdio: 'ignore' });
      return candidate;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    }
  }
  throw new Error(`none of ${candidates.join(', ')} is installed (Debian: apt-get install clang-19 llvm-19)`);
}

/** The architecture's own headers (asm/types.h) lie in a multiarch folder that clang does not search for `-target bpf`. */
function archIncludes(): string[] {
  const machine = { x64: 'x86_64', arm64: 'aarch64' }[process.arch as 'x64' | 'arm64'];
  assertArch(machine);
  return ['-idirafter', `/usr/include/${machine}-linux-gnu`];
}

function assertArch(machine: string | undefined): asserts machine is string {
  if (machine === undefined) throw new Error(`no headers known for ${process.arch}; x64 and arm64 are supported`);
}

const clang = findTool(['clang-19', 'clang']);
const strip = findTool(['llvm-strip-19', 'llvm-strip']);
mkdirSync(path.dirname(objectPath), { recursive: true });
// v3 (Linux 5.1; atomics that return values are not used) has 32-bit jumps: a smaller and faster program.
execFileSync(
  clang,
  [
    ...['-target', 'bpf', '-mcpu=v3', '-O2', '-g', '-std=gnu17', '-Wall', '-Wextra', '-Werror'],
    `-ffile-prefix-map=${root}=.`,
    ...archIncludes(),
    ...['-c', path.join(root, 'bpf/spoof.bpf.c'), '-o', partialPath],
  ],
  { stdio: 'inherit' },
);
execFileSync(strip, ['-g', partialPath], { stdio: 'inherit' });
renameSync(partialPath, objectPath);

const wanted = layoutSource(readBtf(objectPath));
if (flags.layout) {
  writeFileSync(layoutPath, wanted);
} else if (readFileSync(layoutPath, 'utf8') !== wanted) {
  throw new Error('src/layout.gen.ts does not fit the object: run the build with --layout and look at the difference');
}
