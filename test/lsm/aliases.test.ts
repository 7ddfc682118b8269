// The table of docs/runtime-paths.md: every other name for a protected object, tried in one
// container. Without a policy each attempt must land; with a policy it must end as in the table.
import { readFileSync } from 'node:fs';
import path from 'node:path';
import type { RuntimePolicyInput } from '@bailiff/policy';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { rowsOf } from './alias-rows.ts';
import {
  type Container,
  FilesRig,
  FUSE_PASSTHROUGH,
  LOAD_TIMEOUT_MS,
  staticProgram,
  TMPFILE_ON_OVERLAY,
  whyLacking,
} from './files-rig.ts';

const POLICY: RuntimePolicyInput = {
  mode: 'enforce',
  rules: [
    {
      name: 'protected',
      action: 'block',
      file: {
        directories: ['/protected', '/volume', '/above/parent/deep', '/over/parent/deep'],
        recursive: true,
        operations: ['read'],
      },
    },
    { name: 'suffix', action: 'block', file: { suffixes: ['.hidden'], operations: ['read'] } },
    { name: 'programs', action: 'block', execute: { directories: ['/protected'], recursive: true } },
    { name: 'sealed', action: 'block', file: { directories: ['/sealed'], recursive: true, readOnly: true } },
  ],
};

/** Attempts that no rule or guard refuses, and those known to slip by; all others are refused. */
const ALLOWED = [
  ...['neighbour', 'link-neighbour', 'rename-neighbour', 'tmpfs-neighbour', 'tmpfs-new-api', 'exec-neighbour'],
  ...['shallow', 'memfd-name', 'scm-rights-neighbour'],
];
const SLIPS = ['early-read', 'early-mmap', 'bind-volume-before'];

/** Attempts that need more than the oldest kernel has. */
const SINCE = new Map([
  ['tmpfile-link', TMPFILE_ON_OVERLAY],
  ['fuse-passthrough', FUSE_PASSTHROUGH],
]);

const doc = readFileSync(path.join(import.meta.dirname, '../../docs/runtime-paths.md'), 'utf8');
const rows = rowsOf(doc, 'Other ways to the same name', 'Descriptors from before', 'Names that are made');

const outcomes = (lines: readonly string[]): Map<string, string> =>
  new Map(
    lines
      .filter((line) => / (landed|refused|failed)/.test(line))
      .map((line) => line.split(/ (.*)/, 2) as [string, string]),
  );

async function attempts(container: Container, between: () => void): Promise<Map<string, string>> {
  const running = container.run(container.install(staticProgram('aliases.c'), 'aliases'));
  await running.line('ready');
  between();
  running.go();
  await running.line('done');
  return outcomes(running.lines);
}

describe('aliases', () => {
  let rig: FilesRig;
  let control: Map<string, string>;
  let guarded: Map<string, string>;
  let container: Container;
  beforeAll(async () => {
    rig = new FilesRig();
    control = await attempts(rig.container('ext4'), () => {});
    container = rig.container('ext4');
    guarded = await attempts(container, () => rig.apply(container, POLICY));
  }, LOAD_TIMEOUT_MS);
  afterAll(() => rig?.[Symbol.dispose]());

  it('table - names every attempt, and no other', () => {
    expect(rows.map(({ name }) => name).sort()).toEqual([...control.keys()].sort());
  });

  it.for(rows)('$name - lands without policy, and with policy ends as in the table', ({ name, outcome }, context) => {
    const feature = SINCE.get(name);
    const why = feature === undefined ? null : whyLacking(feature);
    if (why !== null) context.skip(why);
    const expected = ALLOWED.includes(name) || SLIPS.includes(name) ? 'landed' : 'refused';
    expect(outcome).toMatch(SLIPS.includes(name) ? /^\*\*slips by/ : expected === 'landed' ? /^allowed/ : /refused/);
    expect({ control: control.get(name), guarded: guarded.get(name) }).toEqual({
      control: 'landed',
      guarded: expected,
    });
  });

  it('counts - each refusal is counted once', () => {
    const counts = rig.counts(container);
    const total = Object.values(counts).reduce((sum, count) => sum + count, 0);
    expect({ total, counts }).toEqual({
      total: [...guarded.values()].filter((outcome) => outcome === 'refused').length,
      counts,
    });
  });
});
