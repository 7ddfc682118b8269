/**
 * The SBOM of an image, or of the npm package of the command, in CycloneDX 1.6, from the lists that the
 * build writes: packages in the bundle, Debian packages, and Node.js. Pure: equal lists give equal
 * SBOMs.
 */
import { createHash } from 'node:crypto';
import type { BundledPackage } from '../bundled-packages.ts';

export interface DebianPackage {
  readonly name: string;
  readonly version: string;
  readonly arch: string;
  readonly source: string;
}

export interface ImageContent {
  readonly app: string;
  readonly reference: string;
  readonly tag: string;
  readonly arch: string;
  /** `sha256:…` of the image, or of the list of images if it has several platforms. */
  readonly digest: string;
  readonly epoch: number;
  readonly node: string;
  readonly debian: readonly DebianPackage[];
  readonly bundled: readonly BundledPackage[];
}

interface Component {
  readonly 'bom-ref': string;
  readonly [field: string]: unknown;
}

/** Lines `name version architecture source` of k8s/images/unpack-root. */
export const debianPackages = (list: string): DebianPackage[] =>
  list
    .trim()
    .split('\n')
    .map((line) => {
      const [name = '', version = '', arch = '', source = '', ...others] = line.split(' ');
      if (source === '' || others.length > 0) throw new Error(`not a line of a package list: ${line}`);
      return { name, version, arch, source };
    });

export function sbomOf(image: ImageContent): Record<string, unknown> {
  return documentOf(image.epoch, imageComponent(image), [
    nodeComponent(image.node),
    ...image.debian.map(debianComponent),
    ...image.bundled.map(npmComponent),
  ]);
}

/** An npm package that is one bundle. */
export interface PackageContent {
  readonly name: string;
  readonly version: string;
  /** Of its archive, in hexadecimal. */
  readonly sha256: string;
  readonly epoch: number;
  readonly bundled: readonly BundledPackage[];
}

export function packageSbomOf({ name, version, sha256, epoch, bundled }: PackageContent): Record<string, unknown> {
  const purl = purlOf(name, version);
  const own: Component = {
    'bom-ref': purl,
    type: 'application',
    name,
    version,
    purl,
    licenses: [{ license: { id: 'Apache-2.0' } }],
    hashes: [{ alg: 'SHA-256', content: sha256 }],
  };
  return documentOf(epoch, own, bundled.map(npmComponent));
}

function documentOf(epoch: number, own: Component, components: readonly Component[]): Record<string, unknown> {
  const body = {
    version: 1,
    metadata: { timestamp: new Date(epoch * 1_000).toISOString(), component: own },
    components,
    dependencies: [
      { ref: own['bom-ref'], dependsOn: components.map((one) => one['bom-ref']) },
      ...components.map((one) => ({ ref: one['bom-ref'] })),
    ],
  };
  return { bomFormat: 'CycloneDX', specVersion: '1.6', serialNumber: serialOf(JSON.stringify(body)), ...body };
}

/** A UUID made of the content, so that the same image always has the same serial number. */
function serialOf(content: string): string {
  const hex = createHash('sha256').update(content).digest('hex').slice(0, 32);
  // Version 8: content of the application's choice.
  const uuid = `${hex.slice(0, 12)}8${hex.slice(13, 16)}a${hex.slice(17)}`;
  return `urn:uuid:${uuid.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5')}`;
}

function imageComponent({ app, reference, tag, arch, digest }: ImageContent): Component {
  const repository = encodeURIComponent(reference.slice(0, reference.lastIndexOf(':')));
  const purl = `pkg:oci/${app}@${encodeURIComponent(digest)}?arch=${arch}&repository_url=${repository}&tag=${tag}`;
  const licenses = [{ license: { id: 'Apache-2.0' } }];
  return { 'bom-ref': purl, type: 'container', name: `bailiff-${app}`, version: tag, licenses, purl };
}

function nodeComponent(version: string): Component {
  const purl = `pkg:generic/node@${version}`;
  return {
    'bom-ref': purl,
    type: 'application',
    name: 'node',
    version,
    purl,
    cpe: `cpe:2.3:a:nodejs:node.js:${version}:*:*:*:*:*:*:*`,
  };
}

function debianComponent({ name, version, arch, source }: DebianPackage): Component {
  const [own, at, from] = [name, version, source].map(encodeURIComponent);
  const purl = `pkg:deb/debian/${own}@${at}?arch=${arch}&distro=debian-13&upstream=${from}`;
  return { 'bom-ref': purl, type: 'library', name, version, purl };
}

export const purlOf = (name: string, version: string): string => `pkg:npm/${name.replace('@', '%40')}@${version}`;

function npmComponent({ name, version, license, integrity }: BundledPackage): Component {
  const purl = purlOf(name, version);
  const [algorithm, hash = ''] = integrity?.split('-') ?? [];
  return {
    'bom-ref': purl,
    type: 'library',
    name,
    version,
    purl,
    ...(license === undefined ? {} : { licenses: [{ expression: license }] }),
    ...(algorithm === 'sha512'
      ? { hashes: [{ alg: 'SHA-512', content: Buffer.from(hash, 'base64').toString('hex') }] }
      : {}),
  };
}
