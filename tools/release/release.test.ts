// scripts/release as a process, on two clones of a repository made of this checkout's files: the files of a
// release, byte for byte the same from both, their verification by the programs of a stranger (openssl,
// sha256sum, cosign), and what verification refuses.

import { execFileSync, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  copyFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import path from 'node:path';
import { temporaryDirectory } from '@bailiff/service/testing';
import { beforeAll, describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { COSIGN, NO_COSIGN } from '../cosign.ts';
import { CHART, helm, helmProgram, NO_HELM } from '../helm.ts';
import { APPS, listText, thirdPartyImages } from '../images/image-list.ts';
import { listed } from '../listed.ts';
import { type Statement, signedEnvelope, statementOf } from './provenance.ts';
import { PROVENANCE, publicText, readPrivateKey, signFiles, verifyRelease } from './signatures.ts';

const ROOT = path.resolve(import.meta.dirname, '../..');
const VERSION = (JSON.parse(readFileSync(path.join(ROOT, 'package.json'), 'utf8')) as { version: string }).version;
const dir = temporaryDirectory();
const images = path.join(dir, 'images');
const key = (name: string) => path.join(dir, `${name}.pem`);
const publicKey = path.join(dir, 'ec.pub');
const program = helmProgram();
const URL_OF_FILES = 'https://files.example/v0';
/** Two clones in different directories: the path must not be part of a file. */
const CLONES = ['one', 'two'] as const;
const cloneOf = (name: string) => path.join(dir, name);
const outOf = (name: string) => path.join(dir, `${name}-out`);
const out = outOf('one');
/** A bundle of the command takes seconds of processor time. */
const TIMEOUT_MS = 240_000;

const git = (clone: string, ...args: string[]) =>
  execFileSync('git', ['-c', 'user.name=a', '-c', 'user.email=a@example', ...args], {
    cwd: cloneOf(clone),
    encoding: 'utf8',
    stdio: 'pipe',
  }).trim();

function release(clone: string, args: readonly string[], env: Record<string, string> = {}) {
  const all = { PATH: process.env['PATH'] ?? '', HOME: dir, BAILIFF_HELM: program ?? '', ...env };
  // The umask must not be part of a file either.
  const umask = clone === 'one' ? '022' : '077';
  const { status, stdout, stderr } = spawnSync(
    'sh',
    ['-c', `umask ${umask}; exec scripts/release "$@"`, 'sh', ...args],
    {
      cwd: cloneOf(clone),
      env: all,
      encoding: 'utf8',
      timeout: TIMEOUT_MS,
    },
  );
  return { status, stdout, stderr };
}
const argsOf = (clone: string) => [
  ...[
    VERSION,
    '--images',
    images,
    '--url',
    URL_OF_FILES,
    '--out',
    outOf(clone),
    '--builder',
    'https://builder.example',
  ],
];
const verifyCopy = (copy: string) => release('one', ['--verify', copy, '--public-key', publicKey]);

/** The files of this checkout as a commit, with a new public key in it. */
function commit(): void {
  mkdirSync(cloneOf('one'));
  git('one', 'init', '--quiet');
  for (const name of listed().filter((file) => existsSync(path.join(ROOT, file))))
    cpSync(path.join(ROOT, name), path.join(cloneOf('one'), name));
  linkPackages('one');
  writeFileSync(path.join(cloneOf('one'), 'CHANGELOG.md'), `# Changelog\n\n## ${VERSION}\n\n- first\n`);
  expect(release('one', ['--new-key', key('ec')])).toMatchObject({ status: 0, stderr: '' });
  copyFileSync(path.join(cloneOf('one'), 'bailiff.pub'), publicKey);
  git('one', 'add', '--all', '--force', '.', ':!node_modules');
  git('one', 'commit', '--quiet', '--message', 'a');
}
const linkPackages = (clone: string) =>
  symlinkSync(path.join(ROOT, 'node_modules'), path.join(cloneOf(clone), 'node_modules'));

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
    writeImages(VERSION);
    execFileSync('openssl', ['genpkey', '-algorithm', 'ed25519', '-out', key('ed')], { stdio: 'pipe' });
    commit();
  }, TIMEOUT_MS);

  it('a new key - is for its owner alone, and none is overwritten', () => {
    expect(statSync(key('ec')).mode & 0o777).toBe(0o600);
    const before = readFileSync(key('ec'), 'utf8');
    expect(release('one', ['--new-key', key('ec')])).toMatchObject({
      status: 1,
      stderr: expect.stringMatching(/EEXIST/),
    });
    expect(readFileSync(key('ec'), 'utf8')).toBe(before);
    expect(readFileSync(publicKey, 'utf8')).toBe(readFileSync(path.join(cloneOf('one'), 'bailiff.pub'), 'utf8'));
  });

  it('without the tag, with wrong images, with missing options, with another key - refused, with the reason', () => {
    const args = [...argsOf('one'), '--key', key('ec')];
    const refused = (status: number, reason: string) => ({ status, stderr: expect.stringContaining(reason) });
    expect(release('one', args)).toMatchObject(refused(3, `there is no tag v${VERSION}`));
    expect(release('one', [VERSION])).toMatchObject(refused(2, '--images is missing'));
    expect(release('one', argsOf('one'))).toMatchObject(refused(2, '--key (or BAILIFF_RELEASE_KEY) is missing'));
    expect(release('one', [...argsOf('one'), '--key', key('ed')])).toMatchObject(
      refused(3, 'bailiff.pub is not of the key that signs'),
    );
    expect(release('one', [...args, '--archives'])).toMatchObject(refused(2, 'run scripts/images --save'));
    writeFileSync(path.join(images, 'cli-amd64.cdx.json'), '{}');
    expect(release('one', args)).toMatchObject(refused(3, 'differs from SHA256SUMS'));
    writeImages(VERSION);
  });

  it(
    'two clones of the tag - give the same bytes, but for signatures',
    (context) => {
      if (program === null) return context.skip(NO_HELM);
      git('one', 'tag', `v${VERSION}`);
      mkdirSync(cloneOf('two'));
      git('two', 'clone', '--quiet', cloneOf('one'), '.');
      git('two', 'remote', 'remove', 'origin');
      linkPackages('two');
      for (const clone of CLONES) {
        const made = release(clone, argsOf(clone), { BAILIFF_RELEASE_KEY: key('ec') });
        expect(made, made.stderr).toMatchObject({ status: 0 });
      }
      const [first, second] = CLONES.map((clone) => readdirSync(outOf(clone)).sort());
      expect(second).toEqual(first);
      const isSigned = (name: string) => name.endsWith('.sig') || name === 'provenance.intoto.json';
      const differing = first?.filter((name) => {
        const [left, right] = CLONES.map((clone) => readFileSync(path.join(outOf(clone), name)));
        return !left?.equals(right as Buffer);
      });
      expect(differing?.filter((name) => !isSigned(name))).toEqual([]);
      // The control: ECDSA signs with a random number, so the comparison sees a difference where there is one.
      expect(differing?.filter((name) => name.endsWith('.sig'))).not.toEqual([]);
      expect(statementIn('two')).toEqual(statementIn('one'));
    },
    TIMEOUT_MS,
  );

  it('the files of a release, verified by openssl, sha256sum and the script', (context) => {
    if (program === null) return context.skip(NO_HELM);
    const at = (name: string) => path.join(out, name);
    const names = readdirSync(out).filter((name) => !name.endsWith('.sig') && name !== 'provenance.intoto.json');
    expect(names).toEqual(
      expect.arrayContaining([
        ...['.tgz', '-images.yaml', '-manifests.tar.gz', '-source.tar.gz', '.openvex.json'].map(
          (end) => `bailiff-${VERSION}${end}`,
        ),
        ...[`bailiff-cli-${VERSION}.tgz`, `bailiff-cli-${VERSION}.cdx.json`, 'bailiff.yaml', 'NOTES.md', 'SHA256SUMS'],
      ]),
    );
    for (const name of names)
      execFileSync('openssl', [
        ...['dgst', '-sha256', '-verify', publicKey, '-signature', at(`${name}.sig`), at(name)],
      ]);
    execFileSync('sha256sum', ['--check', '--strict', '--quiet', 'SHA256SUMS'], { cwd: out });
    expect(verifyCopy(out)).toMatchObject({ status: 0, stdout: `${names.length - 1} files verified\n` });
    expect(readFileSync(at('NOTES.md'), 'utf8')).toBe('- first\n');
  });

  it('the provenance names every file, the images and the commit; the SBOM of the command names its archive', (context) => {
    if (program === null) return context.skip(NO_HELM);
    const { subject, predicate } = statementIn('one');
    const names = subject.map(({ name }) => name);
    expect(names).toEqual(
      expect.arrayContaining([`bailiff-${VERSION}.tgz`, 'bailiff.yaml', `r.example/bailiff/collector:${VERSION}`]),
    );
    const { buildDefinition, runDetails } = predicate;
    expect(buildDefinition.resolvedDependencies[0]?.digest.gitCommit).toBe(git('one', 'rev-parse', 'HEAD'));
    expect(buildDefinition.externalParameters).toEqual({ tag: `v${VERSION}`, url: URL_OF_FILES });
    expect(runDetails.builder.id).toBe('https://builder.example');
    const sbom = JSON.parse(readFileSync(path.join(out, `bailiff-cli-${VERSION}.cdx.json`), 'utf8')) as {
      metadata: { component: { hashes: { content: string }[] } };
      components: { name: string }[];
    };
    const archive = subject.find(({ name }) => name === `bailiff-cli-${VERSION}.tgz`);
    expect(sbom.metadata.component.hashes[0]?.content).toBe(archive?.digest.sha256);
    expect(sbom.components.map(({ name }) => name)).toContain('zod');
  });

  it.for(['ec', 'ed'])(
    'cosign verifies each file and the provenance, signed with the %s key, and refuses another file',
    { timeout: TIMEOUT_MS },
    (name, context) => {
      if (program === null) return context.skip(NO_HELM);
      if (!existsSync(COSIGN)) return context.skip(NO_COSIGN);
      const files = name === 'ec' ? out : path.join(dir, 'ed-out');
      if (name === 'ed') signAgain(files);
      const pub = name === 'ec' ? publicKey : path.join(dir, 'ed.pub');
      const cosign = (...args: string[]) =>
        spawnSync(COSIGN, args, { encoding: 'utf8', env: { HOME: dir, PATH: process.env['PATH'] ?? '' } });
      const verify = (file: string, of = file) => {
        const [at, signature] = [path.join(files, file), path.join(files, `${of}.sig`)];
        return cosign('verify-blob', '--key', pub, '--insecure-ignore-tlog=true', '--signature', signature, at);
      };
      for (const file of ['SHA256SUMS', `bailiff-${VERSION}.tgz`, `bailiff-cli-${VERSION}.tgz`])
        expect(verify(file)).toMatchObject({ status: 0, stderr: expect.stringContaining('Verified OK') });
      expect(verify('NOTES.md', 'SHA256SUMS').status).not.toBe(0);
      const attested = (file: string) =>
        cosign(
          ...['verify-blob-attestation', '--key', pub, '--insecure-ignore-tlog=true', '--type', 'slsaprovenance1'],
          ...['--signature', path.join(files, 'provenance.intoto.json'), path.join(files, file)],
        );
      expect(attested(`bailiff-${VERSION}.tgz`)).toMatchObject({ status: 0 });
      // Not a subject.
      expect(attested('SHA256SUMS').status).not.toBe(0);
    },
  );

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

  it('the guide - installs by files that a release has, and its paths are in the unpacked manifests', (context) => {
    if (program === null) return context.skip(NO_HELM);
    const page = (name: string) => readFileSync(path.join(ROOT, 'docs', name), 'utf8');
    const guide =
      page('install.md')
        .split('\n## ')
        .find((part) => part.startsWith('Install a release')) ?? '';
    const named = [...guide.matchAll(/\bbailiff-[\w<>-]+\.[\w.]+/g)].map(([file]) =>
      file.replace('<version>', VERSION),
    );
    expect(new Set(named)).toEqual(
      new Set([
        `bailiff-${VERSION}-manifests.tar.gz`,
        `bailiff-${VERSION}.tgz`,
        `bailiff-${VERSION}-images.yaml`,
        `bailiff-cli-${VERSION}.tgz`,
      ]),
    );
    expect(named.filter((file) => !existsSync(path.join(out, file)))).toEqual([]);

    execFileSync('tar', ['-xzf', path.join(out, `bailiff-${VERSION}-manifests.tar.gz`)], { cwd: dir });
    const unpacked = path.join(dir, `bailiff-${VERSION}`);
    const pages = ['install', 'operations', 'on-call', 'alerts', 'runtime-policies'].map((name) => page(`${name}.md`));
    const commands = pages.flatMap((text) =>
      [...text.matchAll(/^ *```(\w*)\n([\s\S]*?)^ *```$/gm)].flatMap(([, language, block = '']) =>
        language === '' || language === 'sh' ? [block] : [],
      ),
    );
    const isHere = (file: string) => existsSync(path.join(unpacked, file));
    const paths = commands.flatMap((block) => block.match(/(?<![\w/.-])(?:k8s|policies)\/[\w./-]+/g) ?? []);
    expect(paths).toEqual(expect.arrayContaining(['k8s/crds', 'policies/no-shell.yaml', 'k8s/chart']));
    expect(paths.filter((file) => !isHere(file))).toEqual([]);
    const render = (chart: string) => helm(program, ['template', 'bailiff', chart, '--namespace', 'bailiff-system']);
    expect(render(path.join(unpacked, 'k8s/chart'))).toBe(render(path.join(out, `bailiff-${VERSION}.tgz`)));
  });

  it.for([
    ['a changed file', 'NOTES.md', 'NOTES.md is not the released file'],
    ['a changed list of checksums', 'SHA256SUMS', 'SHA256SUMS.sig is no signature of SHA256SUMS by this key'],
    ['a changed signature', 'NOTES.md.sig', 'NOTES.md.sig is no signature of NOTES.md by this key'],
    ['an added file', 'more.txt', 'more.txt is not part of the release'],
    ['an added signature', 'more.txt.sig', 'more.txt.sig is not part of the release'],
    ['the provenance of another release', 'provenance.intoto.json', 'does not say that'],
  ])('verification refuses %s', ([, name = '', reason = ''], context) => {
    if (program === null) return context.skip(NO_HELM);
    const changed = path.join(dir, 'changed');
    cpSync(out, changed, { recursive: true });
    if (name === 'provenance.intoto.json') writeFileSync(path.join(changed, name), foreignProvenance());
    else writeFileSync(path.join(changed, name), 'changed\n');
    expect(() => verifyRelease(changed, publicKey)).toThrow(reason);
    rmSync(changed, { recursive: true });
  });
});

interface Read {
  subject: { name: string; digest: { sha256: string } }[];
  predicate: {
    buildDefinition: {
      externalParameters: object;
      resolvedDependencies: { digest: { gitCommit?: string } }[];
    };
    runDetails: { builder: { id: string } };
  };
}

/** The statement of a release. */
function statementIn(clone: string): Read {
  const { payload } = JSON.parse(readFileSync(path.join(outOf(clone), 'provenance.intoto.json'), 'utf8')) as {
    payload: string;
  };
  return JSON.parse(Buffer.from(payload, 'base64').toString()) as Read;
}

/** Files of the release with signatures of the Ed25519 key. */
function signAgain(files: string): void {
  cpSync(out, files, { recursive: true });
  const ed = readPrivateKey(key('ed'));
  writeFileSync(path.join(dir, 'ed.pub'), publicText(ed));
  const isFile = (name: string) => !name.endsWith('.sig') && name !== PROVENANCE;
  signFiles(files, readdirSync(files).filter(isFile), ed);
  const statement = statementIn('one') as unknown as Statement;
  writeFileSync(path.join(files, PROVENANCE), JSON.stringify(signedEnvelope(statement, ed)));
  expect(verifyRelease(files, path.join(dir, 'ed.pub'))).toBeGreaterThan(0);
}

/** Signed by the project's key, for other files. */
function foreignProvenance(): string {
  const statement = statementOf({
    subjects: [{ name: 'NOTES.md', digest: { sha256: '0' } }],
    tag: 'v0',
    url: '',
    repository: '',
    commit: '0',
    materials: [],
    builder: 'a',
  });
  return JSON.stringify(signedEnvelope(statement, readPrivateKey(key('ec'))));
}
