/** A namespace with one veth into another, and a bpffs of its own, for benches that need no collector. Removed on dispose. */
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { createNetns, deleteNetns } from '../lab/src/net/netns.ts';
import { exec } from '../lab/src/process/exec.ts';
import { POD } from './in-netns.ts';

export interface Place extends AsyncDisposable {
  dir: string;
  node: string;
  pod: string;
}

export async function makePlace(): Promise<Place> {
  const node = `bbench-${process.pid}`;
  const pod = `${node}-p`;
  const dir = mkdtempSync(path.join(tmpdir(), 'bailiff-bench-'));
  mkdirSync(path.join(dir, 'bpf'));
  await exec('mount', ['-t', 'bpf', 'bpf', path.join(dir, 'bpf')]);
  await createNetns(node);
  await createNetns(pod);
  await exec('ip', [
    '-n',
    node,
    'link',
    'add',
    'veth1',
    'address',
    '02:00:00:00:00:01',
    'type',
    'veth',
    'peer',
    'name',
    'eth0',
    'netns',
    pod,
    'address',
    POD.mac,
  ]);
  await exec('ip', ['-n', pod, '-batch', '-'], { input: `addr add ${POD.ipv4}/24 dev eth0\nlink set eth0 up\n` });
  await exec('ip', ['-n', node, '-batch', '-'], { input: 'addr add 10.244.0.1/24 dev veth1\nlink set veth1 up\n' });
  return {
    dir,
    node,
    pod,
    async [Symbol.asyncDispose]() {
      await deleteNetns(pod);
      await deleteNetns(node);
      await exec('umount', [path.join(dir, 'bpf')]);
      rmSync(dir, { recursive: true, force: true });
    },
  };
}
