import { describe, expect, it } from 'vitest';
import { debianPackages, type ImageContent, sbomOf } from './sbom.ts';

const image: ImageContent = {
  app: 'cli',
  reference: 'r.example:5000/b/cli:1',
  tag: '1',
  arch: 'amd64',
  digest: 'sha256:ab',
  epoch: 86_400,
  node: '24.21.0',
  debian: [
    { name: 'libbpf1', version: '1:1.5.0-3', arch: 'amd64', source: 'libbpf' },
    { name: 'libstdc++6', version: '14.2.0-19', arch: 'amd64', source: 'gcc-14' },
  ],
  bundled: [
    { name: '@nats-io/nkeys', version: '2.0.3', license: 'Apache-2.0', integrity: 'sha512-AQID' },
    { name: 'plain', version: '1.0.0' },
  ],
};
type Json = Record<string, unknown>;

describe('SBOM', () => {
  const sbom = sbomOf(image);
  const components = sbom['components'] as Json[];

  it('describes the image, at the time of its source', () => {
    expect(sbom).toMatchObject({ bomFormat: 'CycloneDX', specVersion: '1.6', version: 1 });
    expect(sbom['metadata']).toMatchObject({
      timestamp: '1970-01-02T00:00:00.000Z',
      component: {
        type: 'container',
        name: 'bailiff-cli',
        version: '1',
        purl: 'pkg:oci/cli@sha256%3Aab?arch=amd64&repository_url=r.example%3A5000%2Fb%2Fcli&tag=1',
      },
    });
  });

  it('lists Node.js, Debian packages and npm packages by package URL', () => {
    expect(components.map(({ purl }) => purl)).toEqual([
      'pkg:generic/node@24.21.0',
      'pkg:deb/debian/libbpf1@1%3A1.5.0-3?arch=amd64&distro=debian-13&upstream=libbpf',
      'pkg:deb/debian/libstdc%2B%2B6@14.2.0-19?arch=amd64&distro=debian-13&upstream=gcc-14',
      'pkg:npm/%40nats-io/nkeys@2.0.3',
      'pkg:npm/plain@1.0.0',
    ]);
    expect(components[3]).toMatchObject({
      licenses: [{ expression: 'Apache-2.0' }],
      hashes: [{ alg: 'SHA-512', content: '010203' }],
    });
    expect(components[4]).not.toHaveProperty('licenses');
  });

  it('every component is a dependency of the image', () => {
    const [first, ...rest] = sbom['dependencies'] as { ref: string; dependsOn?: string[] }[];
    expect(first?.dependsOn).toEqual(rest.map(({ ref }) => ref));
    expect(rest.map(({ ref }) => ref)).toEqual(components.map((one) => one['bom-ref']));
  });

  it('serial number - the same for the same content, and another for another', () => {
    expect(sbomOf(image)).toEqual(sbom);
    expect(sbom['serialNumber']).toMatch(/^urn:uuid:[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-a[0-9a-f]{3}-[0-9a-f]{12}$/);
    expect(sbomOf({ ...image, digest: 'sha256:cd' })['serialNumber']).not.toBe(sbom['serialNumber']);
  });

  it('package list - a line of four words; any other line is an error', () => {
    expect(debianPackages('libbpf1 1:1.5.0-3 amd64 libbpf\n')).toEqual([image.debian[0]]);
    expect(() => debianPackages('libbpf1 1:1.5.0-3 amd64\n')).toThrow('libbpf1');
    expect(() => debianPackages('')).toThrow('package list');
  });
});
