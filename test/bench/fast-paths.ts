/** Measures each hand-written fast path beside the general one (fast-path-case.ts). */
import { fileURLToPath } from 'node:url';
import { COLLECTOR_NODE_FLAGS, CORRELATOR_NODE_FLAGS } from '../../tools/node-flags.ts';
import { exec } from '../lab/src/process/exec.ts';
import type { CaseName } from './fast-path-case.ts';
import { fixed, type Section } from './report.ts';

/** Below it a fast path is not worth its lines. */
const LEAST_RATIO = 1.3;

const PATHS: readonly { title: string; name: CaseName; flags: readonly string[] }[] = [
  { title: 'frame reader: decode for correlation', name: 'decode', flags: CORRELATOR_NODE_FLAGS },
  { title: 'counter identity: decode and correlate', name: 'correlate', flags: CORRELATOR_NODE_FLAGS },
  { title: 'typed row pool: count in the windows of 60 000 groups', name: 'rows', flags: CORRELATOR_NODE_FLAGS },
  { title: 'pre-encoded parts: encode the frames of a node', name: 'parts', flags: COLLECTOR_NODE_FLAGS },
  { title: 'scratch buffer: encode the frames of a node', name: 'scratch', flags: COLLECTOR_NODE_FLAGS },
];

async function measure(name: CaseName, flags: readonly string[]): Promise<[general: number, fast: number]> {
  const script = fileURLToPath(new URL('./fast-path-case.ts', import.meta.url));
  return JSON.parse(await exec(process.execPath, [...flags, '--import', 'tsx', script, name], { timeoutMs: 300_000 }));
}

export async function bench(): Promise<Section> {
  const rows: string[][] = [];
  const budgets: Section['budgets'] = [];
  for (const { title, name, flags } of PATHS) {
    const [general, fast] = await measure(name, flags);
    const ratio = general / fast;
    rows.push([title, `${fixed(general, 0)} ns`, `${fixed(fast, 0)} ns`, fixed(ratio, 2)]);
    budgets.push({
      budget: `${title}: general at least ${LEAST_RATIO} times as slow`,
      measured: fixed(ratio, 2),
      met: ratio >= LEAST_RATIO,
    });
  }
  return {
    title: 'Fast paths',
    method:
      'CPU time per violation or count, garbage collection included. General and fast path alternate in one process under the flags of the app that uses them; the figures are medians of the slices. Frames have 64 violations with samples, of 10 000 pods on 40 nodes.',
    header: ['fast path', 'general', 'fast', 'general / fast'],
    rows,
    budgets,
  };
}
