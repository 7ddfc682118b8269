// scripts/release as a process, on a repository made of this checkout's files: the files of a release,
// their verification by openssl and sha256sum, and what verification refuses.
import { execFileSync, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { CHART, helm, helmProgram, NO_HELM } from '../helm.ts';
import { APPS, listText, thirdPartyImages } from '../images/image-list.ts';

const ROOT = path.resolve(import.meta.dirname, '../..');
const VERSION = (JSON.parse(readFileSync(path.join(ROOT, 'package.json'), 'utf8')) as { version: string }).version;
const dir = mkdtempSync(path.join(tmpdir(), 'bailiff-release-'));
const repository = path.join(dir, 'repository');
const images = path.join(dir, 'images');
const out = path.join(dir, 'out');
const key = path.join(dir, 'key.pem');
const publicKey = path.join(dir, 'key.pub');
const program = helmProgram();

const git = (...args: string[]) =>
  execFileSync('git', ['-c', 'user.name=a', '-c', 'user.email=a@example', ...args], { cwd: repository, stdio: 'pipe' });

function release(...args: string[]) {
  const env = { PATH: process.env['PATH'] ?? '', HOME: dir, BAILIFF_HELM: program ?? '' };
  const { status, stdout, stderr } = spawnSync('scripts/release', args, { cwd: repository, env, encoding: 'utf8' });
  return { status, stdout, stderr };
}

/** What scripts/images --save writes, without the archives. */
function writeImages(tag: string): void {
  mkdirSync(images, { recursive: true });
  const overlay = readFileSync(path.join(ROOT, 'k8s/overlays/included/kustomization.yaml'), 'utf8');
  const digest = (app: string) => `sha256:${createHash('sha256').update(app).digest('hex')}`;
  const own = APPS.map((app) => ({
    name: `bailiff/${app}`,
    reference: `r.example/bailiff/${app}:${tag}`,
    digest: digest(app),
  }));
  const files = new Map([
    ['images.txt', listText([...own, ...thirdPartyImages(overlay)])],
    ...APPS.map(
      (app) => [`${app}-amd64.cdx.json`, JSON.stringify({ metadata: { component: { version: tag } } })] as const,
    ),
  ]);
  const sums = [...files].map(([name, text]) => `${createHash('sha256').update(text).digest('hex')}  ${name}\n`);
  for (const [name, text] of files) writeFileSync(path.join(images, name), text);
  writeFileSync(path.join(images, 'SHA256SUMS'), sums.join(''));
}

describe('release', () => {
  beforeAll(() => {
    for (const name of ['tools', 'scripts', 'k8s', 'policies', 'test/versions', 'package.json', 'package-lock.json'])
      cpSync(path.join(ROOT, name), path.join(repository, name), { recursive: true });
    symlinkSync(path.join(ROOT, 'node_modules'), path.join(repository, 'node_modules'));
    writeFileSync(path.join(repository, '.gitignore'), 'node_modules\n.cache\n');
    writeFileSync(path.join(repository, 'CHANGELOG.md'), `# Changelog\n\n## ${VERSION}\n\n- first\n`);
    git('init', '--quiet');
    git('add', '--all');
    git('commit', '--quiet', '--message', 'a');
    writeImages(VERSION);
    execFileSync('openssl', ['genpkey', '-algorithm', 'ed25519', '-out', key], { stdio: 'pipe' });
    execFileSync('openssl', ['pkey', '-in', key, '-pubout', '-out', publicKey], { stdio: 'pipe' });
  });
  afterAll(() => rmSync(dir, { recursive: true, force: true }));

  const ARGS = [VERSION, '--images', images, '--key', key, '--out', out];

  it('without the tag, with wrong images, with missing options - refused, with the reason', (context) => {
    if (program === null) return context.skip(NO_HELM);
    expect(release(...ARGS)).toMatchObject({
      status: 3,
      stderr: expect.stringContaining(`there is no tag v${VERSION}`),
    });
    expect(release(VERSION)).toMatchObject({ status: 2, stderr: expect.stringContaining('--images is missing') });
    writeFileSync(path.join(images, 'cli-amd64.cdx.json'), '{}');
    expect(release(...ARGS)).toMatchObject({ status: 3, stderr: expect.stringContaining('differs from SHA256SUMS') });
    writeImages(VERSION);
  });

  it('the files of a release, verified by openssl, sha256sum and the script', (context) => {
    if (program === null) return context.skip(NO_HELM);
    git('tag', `v${VERSION}`);
    expect(release(...ARGS)).toMatchObject({ status: 0 });
    const at = (name: string) => path.join(out, name);
    execFileSync('openssl', [
      ...['pkeyutl', '-verify', '-pubin', '-inkey', publicKey, '-rawin', '-in', at('SHA256SUMS')],
      ...['-sigfile', at('SHA256SUMS.sig')],
    ]);
    execFileSync('sha256sum', ['--check', '--strict', '--quiet', 'SHA256SUMS'], { cwd: out });
    expect(release('--verify', out, '--public-key', publicKey)).toMatchObject({ status: 0 });
    expect(readFileSync(at('NOTES.md'), 'utf8')).toBe('- first\n');
    const { payload } = JSON.parse(readFileSync(at('provenance.intoto.json'), 'utf8')) as { payload: string };
    const statement = JSON.parse(Buffer.from(payload, 'base64').toString()) as {
      subject: { name: string }[];
      predicate: { buildDefinition: { resolvedDependencies: { digest: { gitCommit?: string } }[] } };
    };
    expect(statement.subject.map(({ name }) => name)).toEqual(
      expect.arrayContaining([`bailiff-${VERSION}.tgz`, `r.example/bailiff/collector:${VERSION}`]),
    );
    expect(statement.predicate.buildDefinition.resolvedDependencies[0]?.digest.gitCommit).toBe(
      git('rev-parse', 'HEAD').toString().trim(),
    );
  });

  it('the chart of the release with its values renders no image without the digest that the list has', (context) => {
    if (program === null) return context.skip(NO_HELM);
    const chart = path.join(out, `bailiff-${VERSION}.tgz`);
    const args = ['template', 'bailiff', chart, '--namespace', 'bailiff-system'];
    const values = ['--values', path.join(out, `bailiff-${VERSION}-images.yaml`)];
    // A registry for all images has no effect on pinned ones.
    const rendered = helm(program, [...args, ...values, '--set', 'global.imageRegistry=other.example']);
    expect(rendered).not.toContain('other.example');
    const used = [...rendered.matchAll(/^\s+(?:- )?image: "?([^"\s]+)"?$/gm)].map((match) => match[1] ?? '');
    expect(used.length).toBeGreaterThan(APPS.length);
    const { redis } = parse(readFileSync(path.join(out, `bailiff-${VERSION}-images.yaml`), 'utf8')) as {
      redis: { image: { tag: string; digest: string } };
    };
    const isPinned = (image: string) => /@sha256:[0-9a-f]{64}$/.test(image);
    expect(used.filter((image) => !isPinned(image) && !image.includes('valkey'))).toEqual([]);
    expect(redis.image.tag + redis.image.digest).not.toBe('');
    // The control: the chart alone names images by tag.
    expect(helm(program, ['template', 'bailiff', CHART])).toContain(`bailiff/collector:${VERSION}`);
  });

  it.for([
    ['a changed file', 'NOTES.md', 'NOTES.md is not the released file'],
    ['a changed list of checksums', 'SHA256SUMS', 'SHA256SUMS.sig is no signature of SHA256SUMS by this key'],
    ['an added file', 'more.txt', 'more.txt is not part of the release'],
  ])('verification refuses %s', ([, name = '', reason = ''], context) => {
    if (program === null) return context.skip(NO_HELM);
    const changed = path.join(dir, 'changed');
    cpSync(out, changed, { recursive: true });
    expect(release('--verify', changed, '--public-key', publicKey)).toMatchObject({ status: 0 });
    writeFileSync(path.join(changed, name), 'changed\n');
    expect(release('--verify', changed, '--public-key', publicKey)).toMatchObject({
      status: 1,
      stderr: expect.stringContaining(reason),
    });
    rmSync(changed, { recursive: true });
  });
});
