/**
 * The collector's sign of life for the CNI plugin: the seconds since boot at which it ran, in a file
 * beside the socket. While the file is young, the plugin waits longer for a collector that does not
 * answer, because the kubelet is restarting it.
 */
import { rmSync } from 'node:fs';
import path from 'node:path';
import { boottimeNs } from '@bailiff/bpf';
import { replaceFile } from '@bailiff/service';

const fileOf = (socket: string) => path.join(path.dirname(socket), 'cni-collector-seen');

/** @throws Error of the file system */
export function markSeen(socket: string): void {
  replaceFile(fileOf(socket), `${boottimeNs() / 1_000_000_000n}\n`);
}

/** No collector that serves the plugin is expected back. @throws Error of the file system */
export function unmarkSeen(socket: string): void {
  rmSync(fileOf(socket), { force: true });
}
