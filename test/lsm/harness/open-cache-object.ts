/**
 * The programs with caches from which single checks can be left out: what a test needs to
 * show that each check is needed. The host compiles them before the machine boots.
 */
import { createHash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { BpfMap } from '@bailiff/bpf';
import { compileBpf } from '../../vm/compile.ts';
import { repoRoot } from '../../vm/kernels.ts';

/** Bits of enum open_check in libs/bpf/bpf/runtime/cache.h. */
export const OPEN_CHECKS = {
  renames: 1 << 0,
  mounts: 1 << 1,
  epoch: 1 << 2,
  dentries: 1 << 3,
  container: 1 << 4,
  operations: 1 << 5,
  mount: 1 << 6,
  effects: 1 << 7,
  before: 1 << 8,
  bound: 1 << 9,
  address: 1 << 10,
} as const;
export type OpenCheck = keyof typeof OPEN_CHECKS;

/** Offset of rt_settings.reserved, which only these programs read. */
const LEFT_OUT_AT = 36;

const SOURCES = path.join(repoRoot, 'libs/bpf/bpf');

export function openCacheObject(): string {
  // compileBpf() does not see the files of another directory.
  const sources = createHash('sha256');
  for (const name of readdirSync(path.join(SOURCES, 'runtime')).sort())
    sources.update(readFileSync(path.join(SOURCES, 'runtime', name)));
  const flags = [`-DOPEN_CACHE_TEST=0x${sources.digest('hex').slice(0, 8)}`];
  return compileBpf(path.join(SOURCES, 'runtime.bpf.c'), { flags });
}

export function leaveOut(pinDir: string, ...checks: OpenCheck[]): void {
  using map = BpfMap.openPinned(path.join(pinDir, 'runtime/maps/rt_settings'));
  const zero = Buffer.alloc(4);
  const settings = map.get(zero)!;
  const bits = checks.reduce((all, check) => all | OPEN_CHECKS[check], 0);
  settings.writeUInt32LE(bits, LEFT_OUT_AT);
  map.set(zero, settings);
}
