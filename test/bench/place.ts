/** Two namespaces joined by veths, and a bpffs, for benches without a collector. Removed on dispose. */
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { createNetns, deleteNetns, exec, ipBatch } from '@bailiff/lab/node';
import { POD } from './in-netns.ts';

/** MAC of every host side. */
const HOST_MAC = '02:00:00:00:00:01';
/** The node's own address, reached over any of the veths. */
export const NODE_ADDRESS = '10.244.0.1';

export interface Place extends AsyncDisposable {
  dir: string;
  node: string;
  pod: string;
}

/** @param veths names of the host sides; the pod sides are `pod-<name>` and have the pod's MAC */
export async function makePlace(veths: readonly string[] = []): Promise<Place> {
  const node = `bbench-${process.pid}`;
  const pod = `${node}-p`;
  const dir = mkdtempSync(path.join(tmpdir(), 'bailiff-bench-'));
  mkdirSync(path.join(dir, 'bpf'));
  await exec('mount', ['-t', 'bpf', 'bpf', path.join(dir, 'bpf')]);
  await createNetns(node);
  await createNetns(pod);
  await ipBatch(node, [
    `addr add ${NODE_ADDRESS}/32 dev lo`,
    ...veths.flatMap((name) => [
      `link add ${name} address ${HOST_MAC} type veth peer name pod-${name} netns ${pod} address ${POD.mac}`,
      `link set ${name} up`,
    ]),
  ]);
  await ipBatch(
    pod,
    veths.map((name) => `link set pod-${name} up`),
  );
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
