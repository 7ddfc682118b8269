import { readFileSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { listText, thirdPartyImages } from './image-list.ts';

const OVERLAY = path.resolve(import.meta.dirname, '../../k8s/overlays/included/kustomization.yaml');

describe('image list', () => {
  it('images of other projects - those of the overlay, NATS by digest, with names in full', () => {
    const [nats, valkey, ...others] = thirdPartyImages(readFileSync(OVERLAY, 'utf8'));
    expect(others).toEqual([]);
    expect(nats).toMatchObject({ name: 'nats', short: 'nats' });
    expect(nats?.reference).toBe(`docker.io/library/nats@${nats?.digest}`);
    expect(nats?.digest).toMatch(/^sha256:[0-9a-f]{64}$/);
    expect(valkey).toMatchObject({ name: 'valkey/valkey', short: 'valkey' });
    expect(valkey?.reference).toMatch(/^docker\.io\/valkey\/valkey[:@]/);
  });

  it.each([
    ['{ name: nats, newName: r.example/nats, newTag: "2" }', 'r.example/nats:2'],
    ['{ name: nats, newName: "localhost/nats", digest: "sha256:1" }', 'localhost/nats@sha256:1'],
    ['{ name: a/b, newTag: "1" }', 'docker.io/a/b:1'],
  ])('%s', (entry, reference) => {
    expect(thirdPartyImages(`images: [${entry}]`).map((one) => one.reference)).toEqual([reference]);
  });

  it('images of this project are not among them; one without a version is an error', () => {
    expect(thirdPartyImages('images: [{ name: bailiff/cli, newTag: "1" }]')).toEqual([]);
    expect(() => thirdPartyImages('images: [{ name: nats }]')).toThrow('no version of nats');
  });

  it('text - columns of equal width, a line for each image', () => {
    const images = [
      { name: 'bailiff/cli', reference: 'r/cli:1', digest: 'sha256:1' },
      { name: 'nats', reference: 'docker.io/library/nats:2', digest: '' },
    ];
    expect(listText(images)).toBe(
      'bailiff/cli  r/cli:1                   sha256:1\nnats         docker.io/library/nats:2  -\n',
    );
  });
});
