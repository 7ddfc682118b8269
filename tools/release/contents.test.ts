import { expect, it } from 'vitest';
import { changelogSection, imageValues, readImageList, type Source, whyNotReleasable } from './contents.ts';

const CHANGELOG =
  '# Changelog\n\n## Unreleased\n\n- new\n\n## 1.2.0 (2026-11-28)\n\n### Packets\n\n- a\n\n## 1.1.0\n\n- old\n';
const SOURCE: Source = {
  version: '1.2.0',
  workspace: '1.2.0',
  chart: { version: '1.2.0', appVersion: '1.2.0' },
  changelog: CHANGELOG,
  baseTags: ['1.2.0'],
  head: 'c1',
  tagged: 'c1',
  changes: '',
  imageVersions: ['1.2.0'],
  recorded: ['1.2.0'],
  publicKey: 'KEY\n',
  signer: 'KEY',
};

it('a checkout of the tag with equal versions and a section of the changelog can be released', () => {
  expect(whyNotReleasable(SOURCE)).toEqual([]);
});

it.each<[string, Partial<Source>, RegExp]>([
  ['local changes', { changes: ' M a' }, /local changes/],
  ['no tag', { tagged: null }, /no tag v1\.2\.0/],
  ['another commit', { head: 'c2' }, /git checkout v1\.2\.0/],
  ['another version of the workspace', { workspace: '1.1.0' }, /package\.json is 1\.1\.0, not 1\.2\.0/],
  ['another version of the chart', { chart: { version: '1.1.0', appVersion: '1.2.0' } }, /Chart\.yaml is 1\.1\.0/],
  ['another tag in the base', { baseTags: ['1.1.0'] }, /k8s\/base\/kustomization\.yaml is 1\.1\.0/],
  ['another appVersion', { chart: { version: '1.2.0', appVersion: '1' } }, /appVersion of .* is 1,/],
  ['no recording', { recorded: ['1.1.0'] }, /test\/versions has no 1\.2\.0: npm run record/],
  ['no public key', { publicKey: null }, /no bailiff\.pub: scripts\/release --new-key/],
  ['the public key of another', { publicKey: 'OTHER' }, /not of the key that signs/],
  ['no section', { changelog: CHANGELOG.replace('1.2.0', '1.2') }, /no section "## 1\.2\.0"/],
  ['an empty section', { changelog: '## 1.2.0\n\n## 1.1.0\n- old' }, /no section "## 1\.2\.0"/],
  [
    'images of another version',
    { imageVersions: ['1.1.0', '1.2.0'] },
    /version 1\.1\.0.*scripts\/images --tag 1\.2\.0/,
  ],
])('%s is refused with a remedy', (_, change, reason) => {
  expect(whyNotReleasable({ ...SOURCE, ...change })).toEqual([expect.stringMatching(reason)]);
});

it('the section of a version ends at the next one', () => {
  expect(changelogSection(CHANGELOG, '1.2.0')).toBe('### Packets\n\n- a');
  expect(changelogSection(CHANGELOG, '1.1.0')).toBe('- old');
});

it('values pin every image of the chart: by digest, or by tag where the list has none', () => {
  const values = {
    collector: { image: { repository: 'bailiff/collector', tag: '' }, replicas: 1 },
    nats: { image: { repository: 'nats' } },
    redis: { image: { repository: 'valkey/valkey' } },
    bus: { url: '' },
    clusterDomain: 'a',
  };
  const list = readImageList(
    'bailiff/collector  r.example:5000/bailiff/collector:1.2.0  sha256:aa\nnats  docker.io/library/nats@sha256:bb  sha256:bb\nvalkey/valkey  docker.io/valkey/valkey:8.1.4  -\n',
  );
  expect(imageValues(values, list)).toEqual({
    collector: {
      image: { registry: 'r.example:5000', repository: 'bailiff/collector', tag: '', digest: 'sha256:aa' },
    },
    nats: { image: { registry: 'docker.io', repository: 'library/nats', tag: '', digest: 'sha256:bb' } },
    redis: { image: { registry: 'docker.io', repository: 'valkey/valkey', tag: '8.1.4', digest: '' } },
  });
  expect(() => imageValues(values, list.slice(1))).toThrow('no image bailiff/collector');
  expect(() => readImageList('bailiff/collector sha256:aa')).toThrow('not an image');
});
