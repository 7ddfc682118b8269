/**
 * How a test starts a TypeScript file of this workspace as a process of its own. Loading an app from its sources takes seconds of a processor,
 * a bundle of it a fifth of a second. So vitest's set-up (bundle-children.ts) bundles the files below once a run, from the sources as they are.
 * Where it did not run, as in the virtual machine, the sources are loaded. Bundles have no minified names: a stack trace says what it means.
 */
import path from 'node:path';

const ROOT = path.resolve(import.meta.dirname, '..');

/** Where the bundles are, each under the path of its source. */
export const CHILDREN_VARIABLE = 'BAILIFF_TEST_CHILDREN';

export const CHILDREN: readonly string[] = [
  ...['cli', 'collector', 'correlator', 'ipam-sync', 'responder', 'siem-relay'].map((app) => `apps/${app}/src/main.ts`),
  ...['attach', 'lifecycle', 'loading', 'netlink', 'pins', 'worker'].map(
    (file) => `libs/bpf/test/scenarios/${file}.ts`,
  ),
  'test/chaos/responder/child.ts',
  'test/support/status-child.ts',
  'test/kernel/harness/agent.ts',
  ...['apiserver/main', 'demo/main', 'main'].map((file) => `test/lab/src/${file}.ts`),
];

/** What Node is told to run it; flags of Node's come before. @param source relative to the workspace, one of CHILDREN */
export function nodeArgs(source: string): string[] {
  if (!CHILDREN.includes(source)) throw new Error(`${source} is none of CHILDREN in tools/children.ts`);
  const bundles = process.env[CHILDREN_VARIABLE];
  if (bundles) return [path.join(bundles, source.replace(/\.ts$/, '.mjs'))];
  return ['--import', path.join(ROOT, 'node_modules/tsx/dist/esm/index.mjs'), path.join(ROOT, source)];
}
