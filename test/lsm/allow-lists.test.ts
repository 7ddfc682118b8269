// The table "Names under an allow-list" of docs/runtime-paths.md: programs that a blocking posture
// runs under each name that a container can give to a written file. Each attempt lands without a
// policy. Attempts that slip by an allow-list of paths are refused by an additional drift rule.
import { readFileSync } from 'node:fs';
import path from 'node:path';
import type { RuntimePolicyInput } from '@bailiff/policy';
import { beforeEach, describe, expect, it } from 'vitest';
import { rowsOf } from './alias-rows.ts';
import { acts, type Container, type Pod } from './harness/rig.ts';
import { useRig } from './harness/use-rig.ts';

const POLICY: RuntimePolicyInput = {
  defaultPosture: { execute: 'block' },
  rules: [{ name: 'tools', action: 'allow', execute: { directories: ['/bin', '/opt/tools'], recursive: true } }],
};
const WITH_DRIFT: RuntimePolicyInput = {
  ...POLICY,
  rules: [...(POLICY.rules ?? []), { name: 'drift', action: 'block', drift: {} }],
};

/** The acts of harness/acts.c; the row is about the last of them. */
const ATTEMPTS: Readonly<Record<string, readonly string[]>> = {
  'allowed-program': ['run', '/bin/tool'],
  'copied-out': ['run', '/tmp/evil/tool'],
  'bind-over': ['bind', '/tmp/evil', '/opt/tools', 'run', '/opt/tools/tool'],
  'bind-file-over': ['bind', '/tmp/evil/tool', '/bin/tool', 'run', '/bin/tool'],
  'map-bind-over': ['bind', '/tmp/evil', '/opt/tools', 'map', '/opt/tools/tool'],
  'bind-on-itself': ['bind', '/bin', '/bin', 'run', '/bin/tool'],
  'bind-within': ['bind', '/bin', '/opt/tools', 'run', '/opt/tools/tool'],
  'bind-out': ['bind', '/bin', '/tmp/other', 'run', '/tmp/other/tool'],
  'tmpfs-over': ['tmpfs', '/opt/tools', 'copy', '/bin/acts', '/opt/tools/tool', 'run', '/opt/tools/tool'],
  'volume-over': ['bind', '/disk', '/opt/tools', 'copy', '/bin/acts', '/opt/tools/tool', 'run', '/opt/tools/tool'],
  'rename-over': ['rename', '/tmp/evil', '/opt/tools/evil', 'run', '/opt/tools/evil/tool'],
  'write-over': ['copy', '/bin/acts', '/bin/tool', 'run', '/bin/tool'],
};
/** Files that the container wrote: it may write there, and nothing may run there. */
const WRITTEN = ['mkdir', '/tmp/evil', 'mkdir', '/tmp/other', 'copy', '/bin/acts', '/tmp/evil/tool'];

const doc = readFileSync(path.join(import.meta.dirname, '../../docs/runtime-paths.md'), 'utf8');
const rows = rowsOf(doc, 'Names under an allow-list');
const ALLOWED = ['allowed-program', 'bind-on-itself', 'bind-within'];
const SLIPS = ['tmpfs-over', 'volume-over', 'rename-over', 'write-over'];

describe('allow-lists', () => {
  const rig = useRig();
  let pod: Pod;
  let container: Container;
  const fresh = () => {
    pod = rig.pod();
    container = pod.container();
    container.install(acts(), '/bin/tool');
    container.install(acts(), '/opt/tools/shipped');
  };
  beforeEach(fresh);

  /** Result of the last act, after all acts before it succeeded. */
  async function attempt(name: string): Promise<string> {
    const lines = await container.acts(...WRITTEN, ...(ATTEMPTS[name] as string[]));
    expect(lines.slice(0, -1).filter((line) => !line.endsWith(': ok'))).toEqual([]);
    return lines.at(-1)?.split(': ').at(-1) as string;
  }

  it('table - names every attempt, and no other', () => {
    expect(rows.map(({ name }) => name).sort()).toEqual(Object.keys(ATTEMPTS).sort());
  });

  it.each(rows)('$name - lands without a policy, and ends under an allow-list as in the table', async (row) => {
    const { name, outcome } = row;
    expect(await attempt(name)).toBe('ok');
    fresh();
    pod.apply(POLICY);
    const lands = ALLOWED.includes(name) || SLIPS.includes(name);
    expect(outcome).toMatch(SLIPS.includes(name) ? /^\*\*slips by/ : lands ? /^allowed/ : /^refused/);
    expect(await attempt(name)).toBe(lands ? 'ok' : 'EPERM');
    expect(pod.counts()).toEqual(lands ? {} : { 'extra-3': 1 });
  });

  it.each(SLIPS)('%s - a drift rule refuses it', async (name) => {
    pod.apply(WITH_DRIFT);
    expect(await attempt(name)).toBe('EPERM');
    expect(pod.counts()).toEqual({ drift: 1 });
  });

  it('first program - is judged by both places, as a program that runs in the container is', async () => {
    container.install(acts(), '/tmp/evil/tool');
    pod.apply(POLICY);
    expect(await container.run(['/opt/tools/shipped'])).toEqual(['exit 0']);
    expect(await container.run(['/tmp/evil/tool'])).toContain('exit 121');
    container.mount('/opt/tools', '--bind', path.join(container.root, 'tmp/evil'));
    expect(await container.run(['/opt/tools/tool'])).toContain('exit 121');
    expect(pod.counts()).toEqual({ 'extra-3': 2 });
  });
});
