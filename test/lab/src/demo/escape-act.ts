/**
 * Second part of the demo, on the host: builds the inputs of the virtual machine, boots it and
 * relays the lines of escape-inside.ts. It always uses the virtual machine, because the escape of
 * the control run succeeds. Missing requirements skip it. Nothing is left when it ends, even if
 * interrupted.
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

/** Limit for a hang: ten times the duration on two idle cores, twice that on a busy machine. */
const TIMEOUT_MS = 800_000;
const STDERR_SHOWN_CHARACTERS = 4_000;
const INSIDE = path.join(CHECKOUT, 'test/lab/build/demo-inside.mjs');

/** One file, because an emulated processor needs half a minute to load the sources one by one. */
async function bundleInside(): Promise<void> {
  const fresh = `${INSIDE}.${process.pid}`;
  await build({
    ...NODE_BUNDLE,
    entryPoints: [path.join(import.meta.dirname, 'escape-inside.ts')],
    outfile: fresh,
    // Used only for builds, which happen before the boot.
    external: ['esbuild'],
  });
  await rename(fresh, INSIDE);
}

export interface EscapeActOptions {
  say: (text: string) => void;
  live: LiveLine;
  signal: AbortSignal;
}

/**
 * @throws LabError LAB_INTERRUPTED, LAB_COMMAND_FAILED; VmError if the machine does not boot, hangs
 * or ends
 */
export async function escapeAct({ say, live, signal }: EscapeActOptions): Promise<EscapeOutcome | Skipped> {
  const why = whyNoVm();
  if (why !== null) return { skipped: why };
  await buildLab({ withApps: true, onBuild: (text) => say(`  ${text}`), signal });
  await bundleInside();
  const contain = compileProgram(path.join(CHECKOUT, 'test/lsm/programs/contain.c'), { flags: ['-static'] });
  const attack = compileProgram(path.join(import.meta.dirname, 'escape.c'), { flags: ['-static'] });
  let outcome: EscapeOutcome | null = null;
  const reader = new EscapeReader((line) => {
    if ('outcome' in line) outcome = line.outcome;
    else if ('say' in line) say(line.say);
    else if (line.live === null) live.end();
    else live.show(line.live);
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
