// The order in which test files begin.
import { existsSync } from 'node:fs';
import path from 'node:path';
import { expect, it } from 'vitest';
import { FIRST, inOrder, SPREAD } from './sequencer.ts';

const [kernel, cost, machine] = SPREAD;
const clusterFiles = (count: number) =>
  Array.from({ length: count }, (_, i) => ({ group: 1, project: 'cluster', file: `test/cluster/${i}.test.ts` }));
const specs = [
  { group: 0, project: 'unit', file: 'tools/tidy.test.ts' },
  { group: 1, project: 'bus', file: 'test/bus/kv.test.ts' },
  ...clusterFiles(8),
  { group: 1, project: 'e2e', file: 'test/e2e/lab.test.ts' },
  ...[machine, cost, 'test/vm/plan.test.ts', FIRST, kernel].map((file = '') => ({ group: 1, project: 'vm', file })),
];
const order = (some: typeof specs) => inOrder(some, (spec) => spec).map(({ file }) => file);

it('sequencer - groups as they are; one machine first, the others among the files of a cluster, the rest as it was', () => {
  const [c0, c1, c2, c3, c4, c5, c6, c7] = clusterFiles(8).map(({ file }) => file);
  expect(order(specs)).toEqual([
    ...['tools/tidy.test.ts', FIRST, 'test/bus/kv.test.ts', c0, c1, kernel, c2, c3, cost, c4, c5, machine, c6, c7],
    ...['test/e2e/lab.test.ts', 'test/vm/plan.test.ts'],
  ]);
});

it('sequencer - whatever is asked for, each file begins once', () => {
  for (const hosts of [0, 1, 2, 3, 9]) {
    const some = [...specs.filter(({ project }) => project !== 'cluster'), ...clusterFiles(hosts)];
    expect(order(some).sort()).toEqual(some.map(({ file }) => file).sort());
  }
  const alone = specs.filter(({ project }) => project === 'cluster');
  expect(order(alone)).toEqual(alone.map(({ file }) => file));
  expect(order(specs.filter(({ project }) => project === 'vm'))).toEqual([FIRST, ...SPREAD, 'test/vm/plan.test.ts']);
});

it('sequencer - the files that it names are there', () => {
  const missing = [FIRST, ...SPREAD].filter((file) => !existsSync(path.join(import.meta.dirname, '..', file)));
  expect(missing).toEqual([]);
});
