// File systems on which one object has several names: without case (ext4 with casefold, vfat), with
// short names (vfat), or by a server (FUSE). The name of a dentry is then the one that was looked
// up first. Where a rule denies a path there, everything below the mount is unresolved.
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { RUNTIME_EXTRA_CELLS } from '@bailiff/bpf';
import type { RuntimePolicyInput } from '@bailiff/policy';
import { describe, expect, it, onTestFinished } from 'vitest';
import type { Container } from './harness/rig.ts';
import { useRig } from './harness/use-rig.ts';

/** Name of the cell in Pod.counts(). */
const UNRESOLVED = { block: `extra-${RUNTIME_EXTRA_CELLS - 1}` };
const DISK_BYTES = 16 << 20;
const SECRET = 'secret-of-the-volume.txt';

type Kind = 'casefold' | 'vfat';

/** Other names of the file, and how the volume is made. */
const KINDS: readonly [kind: Kind, aliases: readonly string[]][] = [
  ['casefold', [SECRET.toUpperCase()]],
  ['vfat', [SECRET.toUpperCase(), 'SECRET~1.TXT']],
];

/** Mounts a volume of this kind at /volume, with two files, none of them in the kernel's cache. */
function mountVolume(container: Container, kind: Kind): void {
  const dir = mkdtempSync(path.join(tmpdir(), 'bailiff-names-'));
  const [disk, at] = [path.join(dir, 'disk'), path.join(dir, 'at')];
  mkdirSync(at);
  writeFileSync(disk, '');
  truncateSync(disk, DISK_BYTES);
  execFileSync('modprobe', ['-a', 'loop', kind === 'vfat' ? 'vfat' : 'ext4']);
  if (kind === 'vfat') execFileSync('mkfs.vfat', [disk]);
  else execFileSync('mkfs.ext4', ['-q', '-O', 'casefold', disk]);
  const mount = () => execFileSync('mount', ['-o', 'loop', disk, at]);
  mount();
  onTestFinished(() => {
    execFileSync('umount', ['--lazy', at]);
    rmSync(dir, { recursive: true, force: true });
  });
  mkdirSync(path.join(at, 'files'));
  if (kind === 'casefold') execFileSync('chattr', ['+F', path.join(at, 'files')]);
  for (const name of [SECRET, 'plain.txt']) writeFileSync(path.join(at, 'files', name), '');
  execFileSync('umount', [at]);
  mount();
  container.mount('volume', '--bind', at);
}

const deny = (paths: string[], mode: 'audit' | 'enforce' = 'enforce'): RuntimePolicyInput => ({
  mode,
  rules: [{ name: 'secret', action: 'block', file: { paths, operations: ['read'] } }],
});
const read = (name: string) => ['map-plain', `/volume/files/${name}`];
const outcome = (name: string, result: string) => `map-plain /volume/files/${name}: ${result}`;

describe.each(KINDS)('%s', (kind, aliases) => {
  const rig = useRig();
  const names = [...aliases, SECRET, 'plain.txt'];
  const made = () => {
    const pod = rig.pod();
    const container = pod.container();
    writeFileSync(container.image('/etc/plain'), '');
    mountVolume(container, kind);
    return { pod, container };
  };

  it('control - without a policy every name leads to the file', async () => {
    const { container } = made();
    expect(await container.acts(...names.flatMap(read))).toEqual(names.map((name) => outcome(name, 'ok')));
  });

  it('a path on the volume - no name of the object can be read; the rest of the volume is unresolved too, and nothing else', async () => {
    const { pod, container } = made();
    pod.apply(deny([`/volume/files/${SECRET}`]));
    const words = [...names.flatMap(read), 'map-plain', '/etc/plain'];
    const refused = names.map((name) => outcome(name, 'EPERM'));
    expect(await container.acts(...words)).toEqual([...refused, 'map-plain /etc/plain: ok']);
    // The exact name may be known to the kernel by another one.
    const counts = pod.counts();
    expect(Object.keys(counts)).toContain(UNRESOLVED.block);
    expect(Object.values(counts).reduce((sum, count) => sum + count, 0)).toBe(names.length);
  });

  it('a path elsewhere - nothing on the volume is refused', async () => {
    const { pod, container } = made();
    pod.apply(deny(['/etc/secret']));
    expect(await container.acts(...names.flatMap(read))).toEqual(names.map((name) => outcome(name, 'ok')));
    expect(pod.counts()).toEqual({});
  });

  it('a directory that contains the mount - every name is refused by the rule', async () => {
    const { pod, container } = made();
    pod.apply({
      rules: [
        { name: 'all', action: 'block', file: { directories: ['/volume'], recursive: true, operations: ['read'] } },
      ],
    });
    expect(await container.acts(...names.flatMap(read))).toEqual(names.map((name) => outcome(name, 'EPERM')));
    expect(pod.counts()).toEqual({ all: names.length });
  });

  it('audit - passes', async () => {
    const { pod, container } = made();
    pod.apply(deny([`/volume/files/${SECRET}`], 'audit'));
    expect(await container.acts(...names.flatMap(read))).toEqual(names.map((name) => outcome(name, 'ok')));
  });

  it('not covered - a suffix is compared with the name that was given', async () => {
    const { pod, container } = made();
    writeFileSync(container.image('/etc/x.txt'), '');
    pod.apply({ rules: [{ name: 'suffix', action: 'block', file: { suffixes: ['.txt'], operations: ['read'] } }] });
    const [alias = ''] = aliases;
    const lines = await container.acts('map-plain', '/etc/x.txt', ...read('plain.txt'), ...read(alias));
    expect(lines).toEqual(['map-plain /etc/x.txt: EPERM', outcome('plain.txt', 'EPERM'), outcome(alias, 'ok')]);
    expect(pod.counts()).toEqual({ suffix: 2 });
  });
});

describe('fuse', () => {
  const rig = useRig();

  it('a path on the volume - the server decides about names, so all are unresolved; without such a rule none', async () => {
    const pod = rig.pod();
    const container = pod.container();
    writeFileSync(path.join(container.root, 'disk/any'), '');
    pod.apply(deny(['/etc/secret']));
    expect(await container.acts('map-plain', '/disk/any')).toEqual(['map-plain /disk/any: ok']);
    pod.apply(deny(['/disk/secret']));
    expect(await container.acts('map-plain', '/disk/any')).toEqual(['map-plain /disk/any: EPERM']);
    expect(pod.counts()).toEqual({ [UNRESOLVED.block]: 1 });
  });
});
