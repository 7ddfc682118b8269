/**
 * Starts TypeScript files of this workspace as processes in tests. Loading an app from source takes
 * seconds of CPU time, its bundle a fifth of a second. So vitest's setup (bundle-children.ts)
 * bundles the files below once per run; without it, as in the virtual machine, the sources are
 * loaded. Names are not minified, for readable stack traces.
 */
import path from 'node:path';

const ROOT = path.resolve(import.meta.dirname, '..');

/** Directory of the bundles, which have the paths of their sources. */
export const CHILDREN_VARIABLE = 'BAILIFF_TEST_CHILDREN';

export const CHILDREN: readonly string[] = [
  ...['cli', 'collector', 'correlator', 'ipam-sync', 'responder', 'siem-relay', 'evidence-log'].map(
    (app) => `apps/${app}/src/main.ts`,
  ),
  ...['attach', 'lifecycle', 'loading', 'netlink', 'pins', 'worker'].map(
    (file) => `libs/bpf/test/scenarios/${file}.ts`,
  ),
  'test/chaos/responder/child.ts',
  'test/support/status-child.ts',
  'test/kernel/harness/agent.ts',
  ...['apiserver/main', 'demo/main', 'main'].map((file) => `test/lab/src/${file}.ts`),
];

/**
 * Arguments for Node; Node's own flags precede them. @param source relative to the workspace, one
 * of CHILDREN
 */
export function nodeArgs(source: string): string[] {
  if (!CHILDREN.includes(source)) throw new Error(`${source} is none of CHILDREN in tools/children.ts`);
  const bundles = process.env[CHILDREN_VARIABLE];
  if (bundles) return [path.join(bundles, source.replace(/\.ts$/, '.mjs'))];
  return ['--import', path.join(ROOT, 'node_modules/tsx/dist/esm/index.mjs'), path.join(ROOT, source)];
}
