/**
 * Loads, pins and attaches the runtime programs in a process of its own, which ends then: what libbpf needs to fit them to the kernel is
 * 16 MB that a collector would keep for its life and never use again. The links live by their pins.
 *
 * Place in the path: gate.ts → `load-runtime`, the same bundle → pins. It is asked by a collector only, which holds the lock of the pins.
 */
import { closeSync, mkdirSync } from 'node:fs';
import path from 'node:path';
import { BpfError, openRuntimeObject, RuntimeError, tryLock } from '@bailiff/bpf';
import { EXIT } from '@bailiff/service';
import { readFlags } from '../../offline/command-line.ts';

export interface Loading {
  /** Another is at it: of a collector that was killed meanwhile. Nothing was done. */
  readonly isBusy: boolean;
  /** Empty: its programs are attached and pinned. */
  readonly failure: string;
  readonly remedy: string;
  readonly reused: boolean;
  /** Sections of programs that this kernel has no hook for. */
  readonly missing: readonly string[];
}

/** `collector load-runtime --bpf-dir D`: one line of JSON, a Loading. Exit 0, also when the kernel refuses: the answer says so. */
export function loadCommand(argv: string[]): number {
  const read = readFlags(argv, {
    usage: 'collector load-runtime --bpf-dir DIR',
    about: 'What a collector calls to attach the programs of the runtime half. Not for use beside one.',
    flags: { 'bpf-dir': { type: 'string' } },
  });
  if ('exit' in read) return read.exit as number;
  process.stdout.write(`${JSON.stringify(load(read.values['bpf-dir'] ?? ''))}\n`);
  return EXIT.ok;
}

const NOTHING = { isBusy: false, failure: '', remedy: '', reused: false, missing: [] } as const;

function load(pinDir: string): Loading {
  let lock: number | null = null;
  try {
    const dir = path.join(pinDir, 'runtime');
    mkdirSync(dir, { recursive: true, mode: 0o700 });
    lock = tryLock(dir);
    if (lock === null) return { ...NOTHING, isBusy: true };
    using object = openRuntimeObject({ pinDir });
    const missing = object.programs.flatMap((program) => (program.missing === null ? [] : [program.section]));
    return { ...NOTHING, reused: object.reused, missing };
  } catch (error) {
    const known = error instanceof RuntimeError || error instanceof BpfError;
    if (!known) throw error;
    const hint = error instanceof RuntimeError ? error.data['hint'] : error.hint;
    return { ...NOTHING, failure: error.message, remedy: typeof hint === 'string' ? hint : '' };
  } finally {
    if (lock !== null) closeSync(lock);
  }
}
