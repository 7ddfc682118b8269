/**
 * The first root of a kernel that has virtio-fs as modules (Debian's up to 6.1): an archive of
 * those modules and of first.c, which loads them and switches to the shared root. Kernels with
 * built-in virtio-fs need none.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { compileProgram } from './compile.ts';
import type { Kernel } from './kernels.ts';

/** Modules for the root and the ports to the host. */
const NEEDED = ['virtio_pci', 'virtiofs', 'virtio_console'];

export interface ArchiveFile {
  readonly name: string;
  readonly data: Buffer;
}

/** An archive of executable files as the kernel unpacks it (cpio, "newc"). */
export function archive(files: readonly ArchiveFile[]): Buffer {
  const padded = (part: Buffer) => Buffer.concat([part, Buffer.alloc(-part.length & 3)]);
  const record = (name: string, data: Buffer, mode: number, inode: number) => {
    const links = 1;
    const fields = [inode, mode, 0, 0, links, 0, data.length, 0, 0, 0, 0, name.length + 1, 0];
    const header = `070701${fields.map((field) => field.toString(16).padStart(8, '0')).join('')}${name}\0`;
    return Buffer.concat([padded(Buffer.from(header)), padded(data)]);
  };
  const records = files.map(({ name, data }, index) => record(name, data, 0o100755, index + 1));
  return Buffer.concat([...records, record('TRAILER!!!', Buffer.alloc(0), 0, 0)]);
}

/** Files of these modules and their dependencies, in load order. */
export function inLoadOrder(needed: readonly string[], modulesDep: string): string[] {
  const depends = new Map(
    modulesDep
      .split('\n')
      .filter(Boolean)
      .map((line) => {
        const [file = '', rest = ''] = line.split(':');
        return [file, rest.split(' ').filter(Boolean)] as const;
      }),
  );
  const ordered = new Set<string>();
  for (const name of needed) {
    const file = [...depends.keys()].find((one) => path.basename(one).replace(/\.ko(\..*)?$/, '') === name);
    if (file === undefined) continue;
    // depmod lists the direct dependency first.
    for (const one of (depends.get(file) ?? []).toReversed()) ordered.add(one);
    ordered.add(file);
  }
  return [...ordered];
}

/** @returns the path of the archive; undefined if this kernel needs none */
export function writeInitrd({ dir, release }: Kernel, target: string): string | undefined {
  const modules = path.join(dir, 'usr/lib/modules', release);
  const files = inLoadOrder(NEEDED, readFileSync(path.join(modules, 'modules.dep'), 'utf8'));
  if (!files.some((file) => file.includes('virtiofs'))) return undefined;
  const init = compileProgram(path.join(import.meta.dirname, 'first.c'), { flags: ['-static'] });
  const initrd = path.join(target, 'initrd');
  const numbered = files.map((file, index) => ({
    name: `${String(index).padStart(2, '0')}.ko`,
    data: readFileSync(path.join(modules, file)),
  }));
  writeFileSync(initrd, archive([{ name: 'init', data: readFileSync(init) }, ...numbered]));
  return initrd;
}
