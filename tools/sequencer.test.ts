// Start order of test files.
import { existsSync } from 'node:fs';
import path from 'node:path';
import { expect, it } from 'vitest';
import { APART, FIRST, inOrder, SPREAD, TIERS } from './sequencer.ts';

const [kernel, cost, machine, demo] = SPREAD;
const [answer, kill] = Object.keys(APART);
const clusterFiles = (count: number) =>
  Array.from({ length: count }, (_, i) => ({ group: 1, project: 'cluster', file: `test/cluster/${i}.test.ts` }));
const specs = [
  { group: 0, project: 'unit', file: 'tools/tidy.test.ts' },
  { group: 1, project: 'other', file: 'other.test.ts' },
  { group: 1, project: 'bus', file: 'test/bus/kv.test.ts' },
  ...[kill, answer].map((file = '') => ({ group: 1, project: 'chaos', file })),
  ...clusterFiles(8),
  ...[demo, 'test/e2e/lab.test.ts'].map((file = '') => ({ group: 1, project: 'e2e', file })),
  ...[machine, cost, 'test/vm/plan.test.ts', FIRST, kernel].map((file = '') => ({ group: 1, project: 'vm', file })),
];
const order = (some: typeof specs) => inOrder(some, (spec) => spec).map(({ file }) => file);

it('sequencer - groups as they are; one machine first, the others among the files of a cluster, the rest tier by tier, long ones apart', () => {
  const [c0, c1, c2, c3, c4, c5, c6, c7] = clusterFiles(8).map(({ file }) => file);
  expect(order(specs)).toEqual([
    ...['tools/tidy.test.ts', FIRST, c0, c1, c2, kernel, c3, cost, c4, machine, c5, demo, c6, c7],
    ...['test/vm/plan.test.ts', 'test/e2e/lab.test.ts', answer, kill, 'test/bus/kv.test.ts', 'other.test.ts'],
  ]);
});

it('sequencer - whatever is asked for, each file begins once', () => {
  for (const hosts of [0, 1, 2, 3, 9]) {
    const some = [...specs.filter(({ project }) => project !== 'cluster'), ...clusterFiles(hosts)];
    expect(order(some).sort()).toEqual(some.map(({ file }) => file).sort());
  }
  const alone = specs.filter(({ project }) => project === 'cluster');
  expect(order(alone)).toEqual(alone.map(({ file }) => file));
  const machines = [kernel, cost, machine, 'test/vm/plan.test.ts'];
  expect(order(specs.filter(({ project }) => project === 'vm'))).toEqual([FIRST, ...machines]);
});

it('sequencer - in a tier the order stays, and every tier of the configuration is named', async () => {
  const { default: config } = await import('../vitest.config.ts');
  const projects = config.test?.projects?.map((project) => (project as { test: { name: string } }).test.name);
  expect([...TIERS].sort()).toEqual(projects?.sort());
  const some = ['b', 'a', 'c'].flatMap((name) =>
    ['kernel', 'bus'].map((project) => ({ group: 1, project, file: name })),
  );
  const begun = inOrder(some, (spec) => spec).map(({ project, file }) => `${project} ${file}`);
  expect(begun).toEqual(['kernel b', 'kernel a', 'kernel c', 'bus b', 'bus a', 'bus c']);
});

it('sequencer - the files that it names are there', () => {
  const missing = [FIRST, ...SPREAD, ...Object.keys(APART)].filter(
    (file) => !existsSync(path.join(import.meta.dirname, '..', file)),
  );
  expect(missing).toEqual([]);
});
