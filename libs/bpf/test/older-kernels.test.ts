// Checks the objects for limits of kernels that this machine does not run: the verifier's work, and
// the stack of a call chain. Both were too much for Linux 6.1 once, while newer kernels accepted
// them. It also refuses what newer ones do after a cast, and the collector then loads the object without
// offload. The proof is npm run vm -- --kernel debian-12; this test fails earlier.

import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { BpfObject, runtimeObjectPath, spoofObjectPath } from '@bailiff/bpf';
import { temporaryDirectory } from '@bailiff/service/testing';
import { describe, expect, it } from 'vitest';
import { withoutOffload } from '../src/spoof/offload.ts';
import { NOTE_PROGRAM } from '../src/spoof/pins.ts';

/** MAX_BPF_STACK. */
const STACK_BYTES = 512;
/** Granularity in which Linux 6.1 counts stack frames. Newer kernels count less. */
const FRAME_STEP = 32;
const INSTRUCTION_BYTES = 8;
/**
 * Linux 6.18 processes 34,432; Linux 6.1 as many, and gave up at 1,000,000 where this was 231,000.
 */
const VERIFIED_INSTRUCTIONS = 35_000;

interface Frame {
  section: string;
  bytes: number;
  calls: Set<string>;
}

/**
 * Every function of an object with its own stack, and the functions that it calls or passes to a
 * helper.
 */
function framesOf(object: string): Map<string, Frame> {
  const text = execFileSync(findObjdump(), ['-d', '-r', object], { encoding: 'utf8', maxBuffer: 64 << 20 });
  const frames = new Map<string, Frame>();
  const nameAt = new Map<number, string>();
  const local: [Frame, number][] = [];
  let [section, copied, before] = ['', '', ''];
  let frame: Frame = { section: '', bytes: 0, calls: new Set() };
  for (const line of text.split('\n')) {
    section = /^Disassembly of section (.*):/.exec(line)?.[1] ?? section;
    const head = /^([0-9a-f]+) <(.+)>:/.exec(line);
    if (head !== null && !head[2]!.startsWith('LBB')) {
      frame = { section, bytes: 0, calls: new Set() };
      frames.set(head[2]!, frame);
      if (section === '.text') nameAt.set(Number.parseInt(head[1]!, 16), head[2]!);
    }
    const below = [...line.matchAll(/\(r10 - (0x[0-9a-f]+|\d+)\)/g)].map((match) => Number(match[1]));
    const [, moved, by] = /(r\d) \+= -(0x[0-9a-f]+|\d+)$/.exec(line) ?? [];
    if (moved !== undefined && moved === copied) below.push(Number(by));
    frame.bytes = Math.max(frame.bytes, ...below);
    copied = /(r\d) = r10$/.exec(line)?.[1] ?? (moved === copied ? '' : copied);
    // A call within the section, a call into another section by name, and an address that is passed
    // on.
    const call = /^\s*(\d+):\s+85 10 00 00 ((?:[0-9a-f]{2}\s){4})/.exec(line);
    if (call !== null) {
      const distance = Buffer.from(call[2]!.replace(/\s/g, ''), 'hex').readInt32LE();
      if (section === '.text' && distance !== -1)
        local.push([frame, (Number(call[1]) + 1 + distance) * INSTRUCTION_BYTES]);
    }
    const symbol = /R_BPF_64_(?:32|64)\s+(\S+)/.exec(line)?.[1];
    if (symbol === '.text') {
      const [, distance, address] = /call (-?\w+)|r\d = (\w+) ll/.exec(before) ?? [];
      const at = distance === undefined ? Number(address) : (Number(distance) + 1) * INSTRUCTION_BYTES;
      local.push([frame, at]);
    } else if (symbol !== undefined) frame.calls.add(symbol);
    if (symbol === undefined) before = line;
  }
  for (const [caller, at] of local) {
    const name = nameAt.get(at);
    if (name === undefined) throw new Error(`no function begins at ${at} of .text in ${object}`);
    caller.calls.add(name);
  }
  return frames;
}

function findTool(names: readonly string[], missing: string): string {
  const found = names.find((name) => {
    try {
      execFileSync(name, ['--version'], { stdio: 'ignore' });
      return true;
    } catch {
      return false;
    }
  });
  if (found === undefined) throw new Error(missing);
  return found;
}

const findObjdump = (): string =>
  findTool(
    ['llvm-objdump-19', 'llvm-objdump'],
    'llvm-objdump is not installed (Debian: llvm-19), which brings llvm-strip as well',
  );

/** The packet programs as Linux below 6.2 sees them: it has no casts to the kernel's structs. */
function withoutCasts(): Buffer {
  const clang = findTool(['clang-19', 'clang'], 'clang is not installed (Debian: clang-19)');
  const dir = temporaryDirectory();
  const include = `/usr/include/${process.arch === 'arm64' ? 'aarch64' : 'x86_64'}-linux-gnu`;
  const flags = ['-target', 'bpf', '-mcpu=v3', '-O2', '-g', '-std=gnu17', '-idirafter', include, '-DHAS_KERNEL_CTX=0'];
  const object = path.join(dir, 'spoof.bpf.o');
  execFileSync(clang, [...flags, '-c', path.join(import.meta.dirname, '../bpf/spoof.bpf.c'), '-o', object]);
  return readFileSync(object);
}

/** Stack of the deepest call chain from each program, and the chain. */
function chains(frames: ReadonlyMap<string, Frame>): { bytes: number; chain: string[] }[] {
  const known = new Map<string, { bytes: number; chain: string[] }>();
  const from = (name: string): { bytes: number; chain: string[] } => {
    const before = known.get(name);
    if (before !== undefined) return before;
    const { bytes, calls } = frames.get(name)!;
    const below = [...calls].filter((one) => frames.has(one) && one !== name).map(from);
    const deepest = below.reduce((a, b) => (b.bytes > a.bytes ? b : a), { bytes: 0, chain: [] });
    const own = Math.max(Math.ceil(bytes / FRAME_STEP) * FRAME_STEP, FRAME_STEP);
    const all = { bytes: own + deepest.bytes, chain: [`${name} ${bytes}`, ...deepest.chain] };
    known.set(name, all);
    return all;
  };
  return [...frames].filter(([, { section }]) => section !== '.text').map(([name]) => from(name));
}

describe('older kernels', () => {
  it.each([
    ['spoof', spoofObjectPath(), 2],
    ['spoof without offload', withoutOffload(spoofObjectPath()), 2],
    ['runtime', runtimeObjectPath(), 40],
  ])('stack - every chain of calls of the %s programs fits', (_, object, programs) => {
    const all = chains(framesOf(object));
    expect(all.length).toBeGreaterThanOrEqual(programs);
    expect(all.some(({ chain }) => chain.length > 3)).toBe(true);
    expect(all.filter(({ bytes }) => bytes > STACK_BYTES)).toEqual([]);
  });

  it.for([
    ['', () => readFileSync(spoofObjectPath())],
    [' without casts', withoutCasts],
  ] as const)('verifier - processes the packet programs%s within the limit', ([, image], context) => {
    if (process.getuid?.() !== 0) context.skip('needs root: programs are loaded');
    using object = BpfObject.open(image(), 'spoof');
    object.setMapAutocreate('.bss', false);
    object.load();
    for (const { name } of object.programs()) {
      if (name === NOTE_PROGRAM) continue; // loaded where the kernel has netkit
      using program = object.program(name);
      expect([name, program.info.verifiedInstructions <= VERIFIED_INSTRUCTIONS]).toEqual([name, true]);
      expect(program.info.verifiedInstructions).toBeGreaterThan(0);
    }
  });
});
