// Start order of test files.
import { existsSync } from 'node:fs';
import path from 'node:path';
import { expect, it } from 'vitest';
import { inOrder, ORDER, type Placed } from './sequencer.ts';

const spec = (project: string, file: string, group = 1): Placed => ({ group, project, file });
const order = (specs: readonly Placed[]) =>
  inOrder(specs, (one) => one).map(({ project, file }) => `${project} ${file}`);

it('sequencer - groups one after the other; a named file at its own place, the rest with their tier', () => {
  const specs = [
    spec('other', 'other.test.ts'),
    spec('bus', 'test/bus/kv.test.ts'),
    spec('chaos', 'test/chaos/responder.test.ts'),
    spec('chaos', 'test/chaos/power-failure.test.ts'),
    spec('vm', 'test/vm/kernel.test.ts'),
    spec('vm', 'test/vm/plan.test.ts'),
    spec('cluster', 'test/cluster/cli.test.ts'),
    spec('vm', 'test/vm/lsm.test.ts'),
    spec('unit', 'tools/tidy.test.ts', 0),
  ];
  expect(order(specs)).toEqual([
    'unit tools/tidy.test.ts',
    'vm test/vm/lsm.test.ts',
    'cluster test/cluster/cli.test.ts',
    'vm test/vm/kernel.test.ts',
    'vm test/vm/plan.test.ts',
    'bus test/bus/kv.test.ts',
    'chaos test/chaos/power-failure.test.ts',
    'chaos test/chaos/responder.test.ts',
    'other other.test.ts',
  ]);
});

it('sequencer - a repeat of a named file on another server begins with its own tier', () => {
  const specs = [spec('e2e-newest', 'test/e2e/demo.test.ts'), spec('e2e', 'test/e2e/attack.test.ts')];
  expect(order(specs)).toEqual(['e2e test/e2e/attack.test.ts', 'e2e-newest test/e2e/demo.test.ts']);
});

it('sequencer - in a tier the order stays', () => {
  const specs = ['b', 'a', 'c'].flatMap((name) => ['kernel', 'bus'].map((project) => spec(project, name)));
  expect(order(specs)).toEqual(['bus b', 'bus a', 'bus c', 'kernel b', 'kernel a', 'kernel c']);
});

it('sequencer - every tier of the configuration is named, and every named file exists', async () => {
  const { default: config } = await import('../vitest.config.ts');
  const projects = config.test?.projects?.map((project) => (project as { test: { name: string } }).test.name);
  const [files, tiers] = [ORDER.filter((name) => name.endsWith('.ts')), ORDER.filter((name) => !name.endsWith('.ts'))];
  expect([...tiers].sort()).toEqual(projects?.sort());
  expect(files.filter((file) => !existsSync(path.join(import.meta.dirname, '..', file)))).toEqual([]);
});
