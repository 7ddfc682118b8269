// Sources that tests start as processes.
import { existsSync } from 'node:fs';
import path from 'node:path';
import { expect, it, vi } from 'vitest';
import { CHILDREN, CHILDREN_VARIABLE, nodeArgs } from './children.ts';

const AGENT = 'test/kernel/harness/agent.ts';
const root = path.resolve(import.meta.dirname, '..');

it('children - each is there', () => {
  expect(CHILDREN.filter((source) => !existsSync(path.join(root, source)))).toEqual([]);
});

it('children - a bundle where they were bundled, the source where not, and nothing that is not listed', () => {
  vi.stubEnv(CHILDREN_VARIABLE, '/bundles');
  expect(nodeArgs(AGENT)).toEqual(['/bundles/test/kernel/harness/agent.mjs']);
  vi.stubEnv(CHILDREN_VARIABLE, undefined);
  expect(nodeArgs(AGENT)).toEqual(['--import', expect.stringContaining('/tsx/'), path.join(root, AGENT)]);
  expect(() => nodeArgs('test/kernel/harness/guard.ts')).toThrow(/none of CHILDREN/);
});
