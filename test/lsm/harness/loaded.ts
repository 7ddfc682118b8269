/**
 * The runtime programs for tests. They are loaded once for all files of a run, because the verifier
 * takes seconds under emulation, or for one rig alone if a test detaches or replaces them. Pods are
 * separate in shared programs: each has its own index for its cells and its bucket, and each set a
 * number.
 */
import { mkdirSync, rmSync } from 'node:fs';
import { detachRuntime, type OpenRuntimeOptions, openRuntimeObject, type RuntimeObject } from '@bailiff/bpf';

export interface Loaded {
  readonly object: RuntimeObject;
  readonly pinDir: string;
  /** Index of a subject; never reused. */
  nextIndex(): number;
  nextSet(): number;
  /** Detaches the programs, unless others use them too. */
  release(): void;
}

let shared: Loaded | null = null;

export interface OwnLoaded extends Loaded {
  /**
   * Closes the object and opens another on the pins, as a restart does; with the previous options
   * unless others are passed.
   */
  reopen(options?: Partial<OpenRuntimeOptions>): RuntimeObject;
}

/** Loads programs for this caller alone, with a pin directory of this name. */
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
