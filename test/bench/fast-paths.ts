/**
 * Measures each hand-written fast path beside the general one. Every figure comes from a process of
 * its own (`fast-path-case.ts`), so that one variant cannot change how V8 compiles the other.
 */
import { fileURLToPath } from 'node:url';
import { COLLECTOR_NODE_FLAGS, CORRELATOR_NODE_FLAGS } from '../../tools/node-flags.ts';
import { exec } from '../lab/src/process/exec.ts';
import type { CaseName } from './fast-path-case.ts';
import { fixed, median, type Section } from './report.ts';

const ROUNDS = 7;
/** Below it a fast path is not worth its lines. */
const LEAST_RATIO = 1.3;

interface Pair {
  title: string;
  flags: readonly string[];
  general: CaseName;
  fast: CaseName;
}

const PAIRS: readonly Pair[] = [
  {
    title: 'frame reader: decode for correlation',
    flags: CORRELATOR_NODE_FLAGS,
    general: 'decode-projected',
    fast: 'decode-fast',
  },
  {
    title: 'counter identity: decode and correlate',
    flags: CORRELATOR_NODE_FLAGS,
    general: 'correlate-without-identity',
    fast: 'correlate-fast',
  },
  {
    title: 'string interner: decode for correlation',
    flags: CORRELATOR_NODE_FLAGS,
    general: 'decode-without-interner',
    fast: 'decode-fast',
  },
  {
    title: 'typed row pool: count in the windows of 60 000 groups',
    flags: CORRELATOR_NODE_FLAGS,
    general: 'rows-plain',
    fast: 'rows-typed',
  },
  {
    title: 'pre-encoded parts: encode frames of the collector',
    flags: COLLECTOR_NODE_FLAGS,
    general: 'encode-general',
    fast: 'encode-parts',
  },
  {
    title: 'scratch buffer: encode frames of the collector',
    flags: COLLECTOR_NODE_FLAGS,
    general: 'encode-without-scratch',
    fast: 'encode-general',
  },
];

async function nanosecondsOf(name: CaseName, flags: readonly string[]): Promise<number> {
  const script = fileURLToPath(new URL('./fast-path-case.ts', import.meta.url));
  return Number(await exec(process.execPath, [...flags, '--import', 'tsx', script, name], { timeoutMs: 120_000 }));
}

export async function bench(): Promise<Section> {
  const rows: string[][] = [];
  const budgets: Section['budgets'] = [];
  for (const { title, flags, general, fast } of PAIRS) {
    const rounds: { general: number; fast: number }[] = [];
    for (let round = 0; round < ROUNDS; round += 1)
      rounds.push({ general: await nanosecondsOf(general, flags), fast: await nanosecondsOf(fast, flags) });
    const ratio = median(rounds.map((one) => one.general / one.fast));
    const [slow, quick] = [median(rounds.map((one) => one.general)), median(rounds.map((one) => one.fast))];
    rows.push([title, `${fixed(slow, 0)} ns`, `${fixed(quick, 0)} ns`, fixed(ratio, 2)]);
    budgets.push({
      budget: `${title}: at least ${LEAST_RATIO} of the general path`,
      measured: fixed(ratio, 2),
      met: ratio >= LEAST_RATIO,
    });
  }
  return {
    title: 'Fast paths',
    method: `CPU time per violation, garbage collection included, general path and fast path in turn, each in a process of its own under the flags of the app that uses it. Medians of ${ROUNDS} pairs. Frames have 64 violations with samples, of 10 000 pods on 40 nodes.`,
    header: ['fast path', 'general', 'fast', 'general / fast'],
    rows,
    budgets,
  };
}
