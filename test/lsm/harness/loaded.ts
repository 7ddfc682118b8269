/**
 * The runtime programs as tests use them: loaded once for all files of a run, because the verifier takes seconds for them under
 * emulation, or for one rig alone where a test takes them off or replaces them.
 *
 * Pods do not meet in shared programs: each has an index of its own, for its cells and its bucket, and each set a number.
 */
import { mkdirSync, rmSync } from 'node:fs';
import { detachRuntime, type OpenRuntimeOptions, openRuntimeObject, type RuntimeObject } from '@bailiff/bpf';

export interface Loaded {
  readonly object: RuntimeObject;
  readonly pinDir: string;
  /** Of a subject; never given twice. */
  nextIndex(): number;
  nextSet(): number;
  /** Takes the programs off, unless others use them too. */
  release(): void;
}

let shared: Loaded | null = null;

export interface OwnLoaded extends Loaded {
  /** Closes the object and opens another on what is pinned, as a restart does; with the options of before, unless there are others. */
  reopen(options?: Partial<OpenRuntimeOptions>): RuntimeObject;
}

/** Programs for this caller alone, on a pin directory named so. */
export function loadOwn(name: string, options: Partial<OpenRuntimeOptions> = {}): OwnLoaded {
  const pinDir = `/sys/fs/bpf/bailiff-${name}-${process.pid}`;
  mkdirSync(pinDir);
  const remove = () => {
    detachRuntime(pinDir);
    rmSync(pinDir, { recursive: true, force: true });
  };
  let [index, set] = [0, 0];
  let current = options;
  try {
    let object = openRuntimeObject({ ...options, pinDir });
    return {
      pinDir,
      get object() {
        return object;
      },
      nextIndex: () => index++,
      nextSet: () => ++set,
      reopen(other = current) {
        object.close();
        current = other;
        object = openRuntimeObject({ ...current, pinDir });
        return object;
      },
      release() {
        object.close();
        remove();
      },
    };
  } catch (error) {
    remove();
    throw error;
  }
}

/** The programs of this run; they stay until its process ends. */
export function loadShared(): Loaded {
  if (shared === null) {
    const { release, ...loaded } = loadOwn('shared');
    process.once('exit', release);
    shared = { ...loaded, release: () => {} };
  }
  return shared;
}
