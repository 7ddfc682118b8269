/**
 * Loads, pins and attaches the runtime programs. It runs in a process of its own that ends
 * afterwards (loader-process.ts): libbpf needs 16 MB of memory to relocate the programs for the
 * running kernel (CO-RE), which a collector would keep for its whole life. The links live on by
 * their pins.
 *
 * Data path: operations/engine.ts → `collector load-runtime`, the same bundle → pins. Only a collector that
 * holds the lock of the pins starts it.
 */
import { closeSync, mkdirSync } from 'node:fs';
import path from 'node:path';
import { BpfError, openRuntimeObject, RuntimeError, tryLock } from '@bailiff/bpf';

export interface Loading {
  /** A loader process that a killed collector started still runs. This one did nothing. */
  readonly isBusy: boolean;
  /** Empty: the programs are attached and pinned. */
  readonly failure: string;
  readonly remedy: string;
  readonly reused: boolean;
  /** Sections of programs for which this kernel has no hook. */
  readonly missing: readonly string[];
  /** Why decisions about opens are not cached; empty: they are. */
  readonly openCacheProblem: string;
}

const NOTHING = { isBusy: false, failure: '', remedy: '', reused: false, missing: [], openCacheProblem: '' } as const;

export function loadRuntime(pinDir: string): Loading {
  let lock: number | null = null;
  try {
    const dir = path.join(pinDir, 'runtime');
    mkdirSync(dir, { recursive: true, mode: 0o700 });
    lock = tryLock(dir);
    if (lock === null) return { ...NOTHING, isBusy: true };
    using object = openRuntimeObject({ pinDir });
    const missing = object.programs.flatMap((program) => (program.missing === null ? [] : [program.section]));
    return { ...NOTHING, reused: object.reused, missing, openCacheProblem: object.cacheProblem ?? '' };
  } catch (error) {
    const known = error instanceof RuntimeError || error instanceof BpfError;
    if (!known) throw error;
    const hint = error instanceof RuntimeError ? error.data['hint'] : error.hint;
    return { ...NOTHING, failure: error.message, remedy: typeof hint === 'string' ? hint : '' };
  } finally {
    if (lock !== null) closeSync(lock);
  }
}
