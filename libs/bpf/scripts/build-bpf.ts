/**
 * Compiles the kernel programs: bpf/{spoof,runtime}.bpf.c → build/bpf/*.bpf.o (spoof in two
 * variants, see spoof/offload.h), and checks or writes src/{spoof,runtime}/layout.gen.ts.
 *
 * The `build:bpf` target runs it. `--layout` rewrites the layout files from the objects' BTF.
 * Without it, a layout that differs is an error, so that no struct changes unnoticed. `--out
 * <folder>` builds into another folder. A rename replaces each object atomically. The build strips
 * DWARF (machine paths, size); BTF stays for the loader and the layout.
 * Needs clang and llvm-strip (tested with 19), bpftool, and the kernel's user-space headers.
 */
import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { type LayoutPlan, layoutSource, RUNTIME_LAYOUT, readBtf, SPOOF_LAYOUT } from './layout.ts';

const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '..');
const { values: flags } = parseArgs({
  options: {
    layout: { type: 'boolean', default: false },
    out: { type: 'string', default: path.join(root, 'build/bpf') },
  },
});

interface Target {
  readonly source: string;
  readonly object: string;
  readonly layoutPath: string;
  readonly plan: LayoutPlan;
  /**
   * v3 (Linux 5.1) has 32-bit jumps, which give a smaller and faster program. Atomics that return
   * values need 5.12.
   */
  readonly flags: readonly string[];
}

const TARGETS: readonly Target[] = [
  {
    source: path.join(root, 'bpf/spoof.bpf.c'),
    layoutPath: path.join(root, 'src/spoof/layout.gen.ts'),
    object: SPOOF_LAYOUT.object,
    plan: SPOOF_LAYOUT,
    flags: [],
  },
  {
    source: path.join(root, 'bpf/spoof.bpf.c'),
    layoutPath: path.join(root, 'src/spoof/layout.gen.ts'),
    object: 'spoof-no-offload.bpf.o',
    plan: SPOOF_LAYOUT,
    flags: ['-DWITHOUT_OFFLOAD'],
  },
  {
    source: path.join(root, 'bpf/runtime.bpf.c'),
    layoutPath: path.join(root, 'src/runtime/layout.gen.ts'),
    object: RUNTIME_LAYOUT.object,
    plan: RUNTIME_LAYOUT,
    // A hook declares all arguments of its kernel function, and uses few.
    flags: ['-Wno-unused-parameter'],
  },
];

/** The first installed command of a list. Debian's versioned names precede the others. */
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

/**
 * The architecture's own headers (asm/types.h) are in a multiarch folder that clang does not search
 * for `-target bpf`.
 */
function archIncludes(): string[] {
  const machine = { x64: 'x86_64', arm64: 'aarch64' }[process.arch as 'x64' | 'arm64'];
  assertArch(machine);
  return ['-idirafter', `/usr/include/${machine}-linux-gnu`];
}

function assertArch(machine: string | undefined): asserts machine is string {
  if (machine === undefined) throw new Error(`cannot build on ${process.arch}: only x64 and arm64 are supported`);
}

const clang = findTool(['clang-19', 'clang']);
const strip = findTool(['llvm-strip-19', 'llvm-strip']);

function compile({ source, flags: extra }: Target, objectPath: string): void {
  const partialPath = `${objectPath}.${process.pid}.tmp`;
  execFileSync(
    clang,
    [
      ...['-target', 'bpf', '-mcpu=v3', '-O2', '-g', '-std=gnu17', '-Wall', '-Wextra', '-Werror', ...extra],
      `-ffile-prefix-map=${root}=.`,
      ...archIncludes(),
      ...['-c', source, '-o', partialPath],
    ],
    { stdio: 'inherit' },
  );
  execFileSync(strip, ['-g', partialPath], { stdio: 'inherit' });
  renameSync(partialPath, objectPath);
}

function checkLayout({ layoutPath, plan }: Target, objectPath: string): void {
  const wanted = layoutSource(readBtf(objectPath), plan);
  if (flags.layout) {
    writeFileSync(layoutPath, wanted);
  } else if (readFileSync(layoutPath, 'utf8') !== wanted) {
    const name = path.relative(root, layoutPath);
    throw new Error(`${name} differs from the object's BTF: run the build with --layout, then review the difference`);
  }
}

mkdirSync(flags.out, { recursive: true });
for (const target of TARGETS) {
  const objectPath = path.join(flags.out, target.object);
  compile(target, objectPath);
  checkLayout(target, objectPath);
}
