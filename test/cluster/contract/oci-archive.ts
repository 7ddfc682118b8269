/** Reads an OCI archive of one image, for assertions about its configuration and its files. */
import { execFileSync } from 'node:child_process';
import path from 'node:path';

export interface ArchivedFile {
  /** As `ls -l` prints it. */
  readonly mode: string;
  readonly owner: string;
  readonly bytes: number;
  /** Date and time, UTC. */
  readonly time: string;
  readonly name: string;
}

export interface ArchivedImage {
  readonly digest: string;
  readonly user: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly created: string;
  /** Of all layers, lowest first. */
  readonly files: readonly ArchivedFile[];
}

interface Descriptor {
  digest: string;
}

/** By digest: images share layers, and listing a large one takes a second. */
const listed = new Map<string, readonly ArchivedFile[]>();
const MAX_OUTPUT_BYTES = 256 * 1024 * 1024;
const LINE = /^(\S+) (\S+) +(\d+) (\S+ \S+) (.+?)(?: -> .*| link to .*)?$/;

export function readArchive(archive: string): ArchivedImage {
  const member = (name: string): Buffer =>
    execFileSync('tar', ['-xOf', path.resolve(archive), name], { maxBuffer: MAX_OUTPUT_BYTES });
  const json = (name: string): unknown => JSON.parse(member(name).toString());
  const blob = ({ digest }: Descriptor) => `blobs/${digest.replace(':', '/')}`;
  const { manifests } = json('index.json') as { manifests: [Descriptor] };
  const { config, layers } = json(blob(manifests[0])) as { config: Descriptor; layers: Descriptor[] };
  const { created, config: settings } = json(blob(config)) as {
    created: string;
    config: { User: string; Labels: Record<string, string> };
  };
  return {
    digest: manifests[0].digest,
    user: settings.User,
    labels: settings.Labels,
    created,
    files: layers.flatMap((layer) => {
      const files = listed.get(layer.digest) ?? filesOf(member(blob(layer)));
      listed.set(layer.digest, files);
      return files;
    }),
  };
}

function filesOf(layer: Buffer): ArchivedFile[] {
  const listing = execFileSync('tar', ['-tvzf', '-', '--numeric-owner', '--full-time', '--utc'], {
    input: layer,
    encoding: 'utf8',
    maxBuffer: MAX_OUTPUT_BYTES,
  });
  return listing
    .trim()
    .split('\n')
    .map((line) => {
      const [, mode = '', owner = '', bytes = '', time = '', name = ''] = LINE.exec(line) ?? [];
      if (name === '') throw new Error(`not a line of a listing: ${line}`);
      return { mode, owner, bytes: Number(bytes), time, name };
    });
}
