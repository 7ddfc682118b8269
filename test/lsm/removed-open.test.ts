// Files that are removed while they are open. On NFS the kernel renames such a file instead
// (`.nfs…`), so a removal could take it out of a denial of its name. The server is this kernel.
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type { RuntimePolicyInput } from '@bailiff/policy';
import { OPERATIONS } from '@bailiff/runtime';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { compileProgram } from '../vm/compile.ts';
import type { Container, Pod } from './harness/rig.ts';
import { useRig } from './harness/use-rig.ts';

type Rules = NonNullable<RuntimePolicyInput['rules']>;

const NFSD = '/proc/fs/nfsd';
const PORT = 2049;
const OPTIONS = `addr=127.0.0.1,clientaddr=127.0.0.1,vers=4.2,port=${PORT},sec=sys,soft`;
const NEVER = 4_102_444_800;
/** The least that nfsd takes; until then, no file can be opened. */
const GRACE_S = '10\n';
/** insecure, async, no_subtree_check, fsid=0. */
const EXPORT_FLAGS = 0x2412;

const exported = mkdtempSync(path.join(tmpdir(), 'bailiff-nfs-'));

/** Exports a tmpfs as the root of NFSv4, without the tools of NFS: their part is five writes. */
function startServer(): void {
  execFileSync('modprobe', ['-a', 'nfsd', 'nfsv4']);
  execFileSync('mount', ['-t', 'tmpfs', 'nfs', exported]);
  execFileSync('mount', ['-t', 'nfsd', 'nfsd', NFSD]);
  for (const name of ['nfsv4gracetime', 'nfsv4leasetime']) writeFileSync(path.join(NFSD, name), GRACE_S);
  writeFileSync(path.join(NFSD, 'versions'), '-3 +4 +4.1 +4.2\n');
  writeFileSync(path.join(NFSD, 'portlist'), `tcp ${PORT}\n`);
  writeFileSync(path.join(NFSD, 'threads'), '2\n');
  const tell = (cache: string, line: string) => writeFileSync(`/proc/net/rpc/${cache}/channel`, `${line}\n`);
  tell('auth.unix.ip', `nfsd 127.0.0.1 ${NEVER} all`);
  tell('nfsd.export', `all ${exported} ${NEVER} ${EXPORT_FLAGS} 65534 65534 0`);
  tell('nfsd.fh', `all 1 \\x00000000 ${NEVER} ${exported}`);
}

// Before the rig's, so that the server ends after the last mount.
beforeAll(startServer);
afterAll(() => {
  writeFileSync(path.join(NFSD, 'threads'), '0\n');
  for (const dir of [NFSD, exported]) execFileSync('umount', ['--lazy', dir]);
  rmSync(exported, { recursive: true, force: true });
});

const rig = useRig();

/** A container with a directory on NFS, or on its own root, that has these files. */
function made(files: readonly string[], { on = 'nfs' }: { on?: 'nfs' | 'root' } = {}): Made {
  const pod = rig.pod();
  const container = pod.container();
  container.install(program(), '/bin/removed-open');
  const name = path.basename(mkdtempSync(path.join(exported, 'd-')));
  const dir = path.join(on === 'nfs' ? exported : container.image('volume'), name);
  mkdirSync(dir, { recursive: true });
  for (const file of files) {
    if (file.endsWith('/')) mkdirSync(path.join(dir, file));
    else writeFileSync(path.join(dir, file), '');
  }
  if (on === 'nfs') container.mount('volume', '-i', '-t', 'nfs4', '-o', OPTIONS, '127.0.0.1:/');
  const at = `/volume/${name}`;
  const removals = async (outcomes: Readonly<Record<string, string>>) => {
    const lines = await container.run(['/bin/removed-open', at, ...Object.keys(outcomes)]);
    const wanted = Object.entries(outcomes).map(([removal, outcome]) => `${removal} ${outcome}`);
    expect(lines).toEqual([...wanted, 'exit 0']);
  };
  return { pod, container, at, removals };
}

interface Made {
  readonly pod: Pod;
  readonly container: Container;
  /** The directory as the container sees it. */
  readonly at: string;
  /** Carries out the removals and compares how each ended. */
  readonly removals: (outcomes: Readonly<Record<string, string>>) => Promise<void>;
}

const program = (): string =>
  compileProgram(path.join(import.meta.dirname, 'programs/removed-open.c'), { flags: ['-static'] });
const block = (name: string, file: NonNullable<Rules[0]['file']>): Rules[0] => ({ name, action: 'block', file });

it('control - without a policy a file that is removed while open can be opened by its new name', async () => {
  const { removals } = made(['one', 'two', 'three', 'dir/', 'old/']);
  await removals({
    'unlink,one': 'kept, ok',
    'replace,two': 'kept, ok',
    'closed,three': 'gone',
    'rmdir,dir': 'gone',
    'replace-dir,old': 'gone',
  });
});

it('a denied path - is not removed, and counts as a rename by the rule; its neighbour is', async () => {
  const { pod, at, removals } = made(['secret', 'secret-2', 'secret-3', 'plain', 'plain-2', 'plain-3']);
  const paths = ['secret', 'secret-2', 'secret-3'].map((name) => `${at}/${name}`);
  pod.apply({ rules: [block('secret', { paths, operations: ['read'] })] });
  rig.takeSamples();
  await removals({
    'unlink,secret': 'EPERM',
    'replace,secret-2': 'EPERM',
    'closed,secret-3': 'EPERM',
    'unlink,plain': 'kept, ok',
    'replace,plain-2': 'kept, ok',
    'closed,plain-3': 'gone',
  });
  expect(pod.counts()).toEqual({ secret: 3 });
  const samples = rig.takeSamples().filter((sample) => sample.pod === pod.uid);
  const [first] = samples.map(({ op, subject }) => [OPERATIONS[op], subject]);
  expect(first).toEqual(['rename', `${at}/secret`]);
});

it('a denied suffix - the same; a directory has no new name', async () => {
  const { pod, removals } = made(['a.key', 'b.key', 'a.txt', 'dir.key/']);
  pod.apply({ rules: [block('keys', { suffixes: ['.key'], operations: ['write'] })] });
  await removals({
    'unlink,a.key': 'EPERM',
    'replace,b.key': 'EPERM',
    'unlink,a.txt': 'kept, ok',
    'replace-dir,dir.key': 'gone',
  });
  expect(pod.counts()).toEqual({ keys: 2 });
});

it.each([true, false])(
  'a denied directory, recursive %s - also denies the new name, so a file in it is removed',
  async (recursive) => {
    const { pod, at, removals } = made(['one', 'two', 'three']);
    pod.apply({ rules: [block('all', { directories: [at], recursive, operations: ['read'] })] });
    await removals({ 'unlink,one': 'kept, EPERM', 'replace,two': 'kept, EPERM', 'closed,three': 'gone' });
    expect(pod.counts()).toEqual({ all: 2 });
  },
);

it('a denied unlink - counts once, as unlink', async () => {
  const { pod, at, removals } = made(['secret', 'plain']);
  pod.apply({ rules: [block('secret', { paths: [`${at}/secret`], operations: ['read', 'unlink'] })] });
  rig.takeSamples();
  await removals({ 'unlink,secret': 'EPERM', 'unlink,plain': 'kept, ok' });
  expect(pod.counts()).toEqual({ secret: 1 });
  const samples = rig.takeSamples().filter((sample) => sample.pod === pod.uid);
  expect(samples.map(({ op }) => OPERATIONS[op])).toEqual(['unlink']);
});

it('passes - directories, execution alone, other programs, a rule that audits, and what an allow-list lets unlink', async () => {
  const files = ['dir/', 'tool', 'other', 'seen', 'listed'];
  const { pod, at, removals } = made(files);
  const paths = (...names: string[]) => names.map((name) => `${at}/${name}`);
  pod.apply({
    rules: [
      block('dir', { paths: paths('dir'), operations: ['read'] }),
      { name: 'tool', action: 'block', execute: { paths: paths('tool') } },
      { ...block('other', { paths: paths('other'), operations: ['read'] }), fromSource: [{ path: '/bin/acts' }] },
      { name: 'seen', action: 'audit', file: { paths: paths('seen'), operations: ['read'] } },
    ],
  });
  await removals({
    'rmdir,dir': 'gone',
    'unlink,tool': 'kept, ok',
    'unlink,other': 'kept, ok',
    'unlink,seen': 'kept, ok',
  });
  expect(pod.counts()).toEqual({});
  pod.apply({
    defaultPosture: { file: 'block' },
    rules: [
      { name: 'bin', action: 'allow', file: { directories: ['/bin'], recursive: true, operations: ['read'] } },
      { name: 'listed', action: 'allow', file: { paths: paths('listed'), operations: ['unlink'] } },
    ],
  });
  await removals({ 'unlink,listed': 'kept, EPERM' });
});

it('elsewhere - a denied file is removed, and has no new name', async () => {
  const { pod, at, removals } = made(['secret', 'a.key', 'b.key'], { on: 'root' });
  const rule = { operations: ['read' as const] };
  pod.apply({
    rules: [block('secret', { ...rule, paths: [`${at}/secret`] }), block('keys', { ...rule, suffixes: ['.key'] })],
  });
  await removals({ 'unlink,secret': 'gone', 'unlink,a.key': 'gone', 'replace,b.key': 'gone' });
  expect(pod.counts()).toEqual({});
});
