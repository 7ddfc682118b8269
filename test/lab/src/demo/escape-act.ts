/**
 * The demo's second act, seen from the machine: builds what the virtual machine needs, boots it, and hands on what escape-inside.ts
 * tells. Always in the virtual machine: the control run's escape lands, and what it lands on must be nobody's.
 * What is missing for it is a reason to skip it, never a failure; nothing is left when it ends, also when it is interrupted.
 */
import { rename } from 'node:fs/promises';
import path from 'node:path';
import { build } from 'esbuild';
import { NODE_BUNDLE } from '../../../../tools/node-bundle.ts';
import { compileProgram } from '../../../vm/compile.ts';
import { runInVm, VmError, whyNoVm } from '../../../vm/machine.ts';
import { LabError } from '../errors.ts';
import { CHECKOUT } from '../names.ts';
import { buildLab, NATIVE_ADDON } from '../services/build.ts';
import { EscapeReader } from './escape-lines.ts';
import type { EscapeOutcome, Skipped } from './escape-summary.ts';
import type { LiveLine } from './live-line.ts';

/** A limit for what hangs: some ten times what it takes on two idle cores, some twice of what it takes where six others want them. */
const TIMEOUT_MS = 800_000;
const STDERR_SHOWN_CHARACTERS = 4_000;
const INSIDE = path.join(CHECKOUT, 'test/lab/build/demo-inside.mjs');

/** One file: an emulated processor needs half a minute to load the sources one by one. */
async function bundleInside(): Promise<void> {
  const fresh = `${INSIDE}.${process.pid}`;
  await build({
    ...NODE_BUNDLE,
    entryPoints: [path.join(import.meta.dirname, 'escape-inside.ts')],
    outfile: fresh,
    // Only builds, which are made before the machine boots.
    external: ['esbuild'],
  });
  await rename(fresh, INSIDE);
}

export interface EscapeActOptions {
  say: (text: string) => void;
  live: LiveLine;
  signal: AbortSignal;
}

/** @throws LabError LAB_INTERRUPTED, LAB_COMMAND_FAILED; VmError when the machine did not boot, hung or died */
export async function escapeAct({ say, live, signal }: EscapeActOptions): Promise<EscapeOutcome | Skipped> {
  const why = whyNoVm();
  if (why !== null) return { skipped: why };
  await buildLab({ withApps: true, onBuild: (text) => say(`  ${text}`), signal });
  await bundleInside();
  const contain = compileProgram(path.join(CHECKOUT, 'test/lsm/programs/contain.c'), { flags: ['-static'] });
  const attack = compileProgram(path.join(import.meta.dirname, 'escape.c'), { flags: ['-static'] });
  let outcome: EscapeOutcome | null = null;
  const reader = new EscapeReader((told) => {
    if ('outcome' in told) outcome = told.outcome;
    else if ('say' in told) say(told.say);
    else if (told.live === null) live.end();
    else live.show(told.live);
  });
  try {
    const result = await runInVm(['node', INSIDE, contain, attack], {
      timeoutMs: TIMEOUT_MS,
      env: { BAILIFF_NATIVE: NATIVE_ADDON },
      onStdout: (chunk) => reader.push(chunk.toString('utf8')),
      signal,
    });
    if (result.code === 0 && outcome !== null) return outcome;
    const tail = result.stderr.slice(-STDERR_SHOWN_CHARACTERS);
    throw new LabError('LAB_COMMAND_FAILED', `the second act ended with ${result.code} in the machine\n${tail}`);
  } catch (error) {
    if (error instanceof VmError && error.code === 'VM_ABORTED')
      throw new LabError('LAB_INTERRUPTED', 'interrupted', { cause: error });
    throw error;
  }
}
