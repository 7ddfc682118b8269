// Mounts of one file system: each pod can make as many as it likes of those that it shares with
// others (volumes, /etc/hosts), without a capability, and no other pod's operations depend on them.
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { compileProgram } from '../vm/compile.ts';
import { LOAD_TIMEOUT_MS } from './harness/rig.ts';
import { useRig } from './harness/use-rig.ts';

/** Once, 4,096 mounts of a file system were searched. */
const MOUNTS = '5000';

const manyMounts = (): string =>
  compileProgram(path.join(import.meta.dirname, 'programs/many-mounts.c'), { flags: ['-static'] });

const rig = useRig();
let shared = '';
beforeAll(() => {
  manyMounts();
  shared = mkdtempSync(path.join(tmpdir(), 'bailiff-shared-'));
  execFileSync('mount', ['-t', 'tmpfs', 'none', shared]);
}, LOAD_TIMEOUT_MS);
afterAll(() => {
  execFileSync('umount', ['--lazy', shared]);
  rmSync(shared, { recursive: true });
});

/** A pod with a part of the shared file system as its volume. */
function podWithPart(name: string) {
  const part = path.join(shared, name);
  mkdirSync(part);
  for (const file of ['open', 'sealed']) writeFileSync(path.join(part, file), '');
  const pod = rig.pod();
  const container = pod.container();
  container.install(manyMounts(), '/bin/many-mounts');
  container.mount('volume', '--bind', part);
  const set = (file: string) => container.run(['/bin/many-mounts', 'set', `/volume/${file}`]);
  return { pod, container, set };
}

describe('many mounts', () => {
  it('attributes of files are judged by their path, however often another pod mounted their file system', async () => {
    const victim = podWithPart('victim');
    const neighbour = podWithPart('neighbour');
    victim.pod.apply({
      rules: [{ name: 'sealed', action: 'block', file: { paths: ['/volume/sealed'], operations: ['setxattr'] } }],
    });
    const results = async () => [await victim.set('open'), await victim.set('sealed')];
    const expected = [
      ['landed', 'exit 0'],
      ['setxattr: EPERM', 'exit 1'],
    ];
    expect(await results()).toEqual(expected);
    await neighbour.container.start(['/bin/many-mounts', 'mount', '/volume', MOUNTS]).line('mounted');
    expect(await results()).toEqual(expected);
    expect(victim.pod.counts()).toEqual({ sealed: 2 });
  });
});
