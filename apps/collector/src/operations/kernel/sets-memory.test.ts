// The memory of a collector whose kernel has many policy sets: all combinations of the ready-made
// policies, which a tenant can choose by the labels of its pods.
import { spawnSync } from 'node:child_process';
import path from 'node:path';
import { expect, it } from 'vitest';

const ROOT = path.resolve(import.meta.dirname, '../../../../..');
/** Half of the heap of a collector: the other half holds its pods. */
const HEAP_MB = 32;

/** @param holds what is kept of each set: the keys in KernelSets, or its entries too */
const script = (holds: 'keys' | 'entries') => `
import { readdirSync, readFileSync } from 'node:fs';
import { compileSet, encodeSet, loadPolicyFile, mergeSelected } from './libs/runtime/src/index.ts';
import { memoryMaps } from './apps/collector/src/operations/testing.ts';
import { KernelSets } from './apps/collector/src/operations/kernel/sets.ts';
const files = readdirSync('policies').filter((name) => name.endsWith('.yaml'));
const policies = files.flatMap((name) => loadPolicyFile(readFileSync('policies/' + name, 'utf8'), name));
let number = 0;
const sets = new KernelSets({ ...memoryMaps(), writeSet: () => {} }, () => ++number);
const held = [];
for (let bits = 2 ** policies.length - 1; bits > 0; bits--) {
  const set = mergeSelected(policies.filter((_, index) => (bits >> index) & 1));
  sets.acquire(set, 'tenant');
  if (${holds === 'entries'}) held.push(encodeSet(compileSet(set, number, Buffer.alloc(16))));
}
console.log(sets.size);
`;

const run = (holds: 'keys' | 'entries') =>
  spawnSync(
    process.execPath,
    [
      ...['--import', 'tsx', '--max-semi-space-size=1', `--max-old-space-size=${HEAP_MB}`],
      ...['--input-type=module', '-e', script(holds)],
    ],
    { cwd: ROOT, encoding: 'utf8' },
  );

it('the sets of all combinations of the ready-made policies fit into half of the heap', { timeout: 120_000 }, () => {
  const { stdout, stderr } = run('keys');
  expect(stdout.trim(), stderr).toBe('511');
});

it('control - with the entries of each set in memory, the process ends', { timeout: 120_000 }, () => {
  const { stdout, stderr, status } = run('entries');
  expect([stdout.trim(), status === 0]).toEqual(['', false]);
  expect(stderr).toContain('JavaScript heap out of memory');
});
