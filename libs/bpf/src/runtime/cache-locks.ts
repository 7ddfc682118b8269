/**
 * Where the cache of opens finds the counters of the kernel that say that names or mounts changed
 * (bpf/runtime/open-cache.h).
 *
 * Data path: object.ts, after all programs are attached → here → rt_cache_control.
 */
import { kernelSymbols } from '../core/kernel-symbols.ts';
import type { CacheLocks } from './encode.ts';

/** Symbols that the cache of opens needs: since Linux 6.2, and data with CONFIG_KALLSYMS_ALL. */
const CAST = 'bpf_rdonly_cast';
const RENAME_LOCK = 'rename_lock';
const MOUNT_LOCK = 'mount_lock';

/** The locks of rt_cache_control, or why decisions about opens are not cached. */
export function findCacheLocks(): { locks: CacheLocks | null; problem: string | null } {
  const names = [CAST, RENAME_LOCK, MOUNT_LOCK] as const;
  const symbols = kernelSymbols(names);
  const missing = names.filter((name) => !symbols.has(name));
  if (missing.length > 0) return { locks: null, problem: `the kernel has no symbol ${missing.join(', ')}` };
  const [rename, mount] = [symbols.get(RENAME_LOCK)!, symbols.get(MOUNT_LOCK)!];
  if (rename === 0n || mount === 0n)
    return { locks: null, problem: 'the kernel hides its symbols: CAP_SYSLOG, and kernel.kptr_restrict below 2' };
  return { locks: { rename, mount }, problem: null };
}
