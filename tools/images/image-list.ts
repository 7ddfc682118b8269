/**
 * The images of an installation: one for each app, and those of other projects that the overlay
 * `included` names. Pure.
 */
import { parse } from 'yaml';

export const APPS = [
  'bus-auth',
  'cli',
  'collector',
  'correlator',
  'evidence-log',
  'ipam-sync',
  'responder',
  'siem-relay',
] as const;
export type App = (typeof APPS)[number];

/** An image of another project. */
export interface ThirdPartyImage {
  /** As the manifests name it. */
  readonly name: string;
  /** With registry and path in full, and tag or digest. */
  readonly reference: string;
  /** Empty if the overlay names a tag. */
  readonly digest: string;
  /** For file names. */
  readonly short: string;
}

export interface Listed {
  readonly name: string;
  readonly reference: string;
  readonly digest: string;
}

/** Completes a name as container runtimes do. */
function complete(name: string): string {
  const [first = '', ...rest] = name.split('/');
  if (rest.length === 0) return `docker.io/library/${name}`;
  return /[.:]|^localhost$/.test(first) ? name : `docker.io/${name}`;
}

/** @param kustomization text of k8s/overlays/included/kustomization.yaml */
export function thirdPartyImages(kustomization: string): ThirdPartyImage[] {
  const { images } = parse(kustomization) as {
    images: { name: string; newName?: string; newTag?: string; digest?: string }[];
  };
  return images
    .filter(({ name }) => !name.startsWith('bailiff/'))
    .map(({ name, newName = name, newTag, digest }) => {
      if (newTag === undefined && digest === undefined) throw new Error(`the overlay names no version of ${name}`);
      const reference = complete(newName) + (digest === undefined ? `:${newTag}` : `@${digest}`);
      return { name, reference, digest: digest ?? '', short: name.slice(name.lastIndexOf('/') + 1) };
    });
}

/** One line for each image, in columns: name in the manifests, reference, digest or "-". */
export function listText(images: readonly Listed[]): string {
  const rows = images.map(({ name, reference, digest }) => [name, reference, digest || '-']);
  const widths = [0, 1].map((column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)));
  return rows
    .map(([name = '', reference = '', digest = '']) =>
      [name.padEnd(widths[0] ?? 0), reference.padEnd(widths[1] ?? 0), digest].join('  '),
    )
    .map((line) => `${line}\n`)
    .join('');
}
