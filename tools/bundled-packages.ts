/**
 * The packages whose code is in a bundle, from esbuild's metafile: the source of an image's SBOM.
 * A package of which nothing remains after tree shaking is not listed.
 */
import type { Metafile } from 'esbuild';

export interface BundledPackage {
  readonly name: string;
  readonly version: string;
  /** SPDX expression; absent if the package names none. */
  readonly license?: string;
  /** Hash of the package's archive in the lock file, such as `sha512-…`. */
  readonly integrity?: string;
}

/** The part of package-lock.json that is read here. */
export interface LockFile {
  readonly packages: Readonly<
    Record<string, { readonly version?: string; readonly license?: string; readonly integrity?: string }>
  >;
}

/** `…/node_modules/@scope/name/lib/file.js` → `…/node_modules/@scope/name` */
const PACKAGE_FOLDER = /^(?:.*\/)?node_modules\/(?:@[^/]+\/)?[^/]+/;

/**
 * Sorted by name and version.
 * @param statically Packages that are compiled into other files of the image.
 * @throws Error for a package that the lock file does not list
 */
export function bundledPackages(
  { outputs }: Pick<Metafile, 'outputs'>,
  { packages }: LockFile,
  statically: readonly string[] = [],
): BundledPackage[] {
  const inputs = Object.values(outputs).flatMap((output) => Object.entries(output.inputs));
  const folders = new Set(statically.map((name) => `node_modules/${name}`));
  for (const [file, { bytesInOutput }] of inputs) {
    const folder = PACKAGE_FOLDER.exec(file)?.[0];
    if (folder !== undefined && bytesInOutput > 0) folders.add(folder);
  }
  return [...folders].map((folder) => packageAt(folder, packages)).sort(byName);
}

function packageAt(folder: string, packages: LockFile['packages']): BundledPackage {
  // The directory with all packages may be a link to one elsewhere.
  const { version, license, integrity } =
    packages[folder] ?? packages[folder.replace(/^.*?(?=node_modules\/)/, '')] ?? {};
  if (version === undefined) throw new Error(`package-lock.json does not list ${folder}`);
  const name = folder.slice(folder.lastIndexOf('node_modules/') + 'node_modules/'.length);
  return { name, version, ...(license ? { license } : {}), ...(integrity ? { integrity } : {}) };
}

const byName = (a: BundledPackage, b: BundledPackage): number => {
  const [left, right] = [`${a.name}@${a.version}`, `${b.name}@${b.version}`];
  return left < right ? -1 : Number(left > right);
};
