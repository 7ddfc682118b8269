/**
 * An image of a few static programs, as an OCI archive. It is the image of sandboxes too: its
 * default command waits.
 */
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { copyFileSync, linkSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';

const MEDIA = 'application/vnd.oci.image';
export const PAUSE = '/pause';
/** Its name in the runtime: of sandboxes, and of containers that name no other. */
export const POD_IMAGE = 'localhost/bailiff-cri/pod:1';

interface Descriptor {
  mediaType: string;
  digest: string;
  size: number;
}

/**
 * Writes `dir`/image.tar. @param files path in the image → file of this machine
 * @returns path of the archive
 */
export function writeImage(dir: string, files: Readonly<Record<string, string>>): string {
  const [tree, layout] = [path.join(dir, 'image-tree'), path.join(dir, 'image-layout')];
  const blobs = path.join(layout, 'blobs/sha256');
  mkdirSync(blobs, { recursive: true });
  /** A file with several names is stored once. */
  const stored = new Map<string, string>();
  for (const [name, file] of Object.entries(files)) {
    const target = path.join(tree, name);
    mkdirSync(path.dirname(target), { recursive: true });
    const same = stored.get(file);
    if (same === undefined) copyFileSync(file, target);
    else linkSync(same, target);
    stored.set(file, target);
  }
  const add = (mediaType: string, file: string): Descriptor => {
    const content = readFileSync(file);
    const digest = createHash('sha256').update(content).digest('hex');
    renameSync(file, path.join(blobs, digest));
    return { mediaType, digest: `sha256:${digest}`, size: content.length };
  };
  const addJson = (mediaType: string, value: object): Descriptor => {
    const file = path.join(dir, 'blob.json');
    writeFileSync(file, JSON.stringify(value));
    return add(mediaType, file);
  };
  const layerFile = path.join(dir, 'layer.tar');
  execFileSync('tar', ['-cf', layerFile, '--owner=0', '--group=0', '--numeric-owner', '-C', tree, '.']);
  const layer = add(`${MEDIA}.layer.v1.tar`, layerFile);
  const config = addJson(`${MEDIA}.config.v1+json`, {
    architecture: process.arch === 'x64' ? 'amd64' : process.arch,
    os: 'linux',
    config: { Entrypoint: [PAUSE], Env: ['PATH=/bin'] },
    rootfs: { type: 'layers', diff_ids: [layer.digest] },
  });
  const manifest = { schemaVersion: 2, mediaType: `${MEDIA}.manifest.v1+json`, config, layers: [layer] };
  const index = { schemaVersion: 2, manifests: [addJson(manifest.mediaType, manifest)] };
  writeFileSync(path.join(layout, 'index.json'), JSON.stringify(index));
  writeFileSync(path.join(layout, 'oci-layout'), JSON.stringify({ imageLayoutVersion: '1.0.0' }));
  const archive = path.join(dir, 'image.tar');
  execFileSync('tar', ['-cf', archive, '-C', layout, '.']);
  for (const part of [tree, layout]) rmSync(part, { recursive: true });
  return archive;
}
