/**
 * scripts/release: writes the files of a release from a tag, and verifies them. What may be released,
 * the provenance and the VEX document are pure functions of their own files.
 *
 * Progress is on stderr. Exit codes: 0; 1 a command failed, or a file is not the released one;
 * 2 wrong options; 3 the source cannot be released.
 */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { hostname } from 'node:os';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { parse } from 'yaml';
import { checksumsOf, checksumText, readChecksums, SUMS, sha256Of } from '../checksums.ts';
import { CHART } from '../helm.ts';
import { changelogSection, readImageList, type Source, whyNotReleasable } from './contents.ts';
import { isOwn, writeFiles } from './files.ts';
import { type Subject, signedEnvelope, statementOf } from './provenance.ts';
import { PROVENANCE, publicText, readPrivateKey, signFiles, verifyRelease, writeNewKey } from './signatures.ts';

const ROOT = path.resolve(import.meta.dirname, '../..');
const PUBLIC_KEY = 'bailiff.pub';

const USAGE = `Usage: scripts/release VERSION --images DIR --url URL --out DIR [--key FILE] [--builder URI] [--archives]
       scripts/release --verify DIR [--public-key FILE]
       scripts/release --new-key FILE

Writes the files of the release of the tag vVERSION, which must be checked out: Helm chart, command,
manifests, source, values that pin the images, image list, SBOMs, VEX, release notes, provenance,
checksums, and a signature of each file.

  --images DIR       output of scripts/images --tag VERSION --save DIR
  --url URL          where the files will be downloaded from, for the krew manifest
  --out DIR          empty or new directory for the files
  --key FILE         private key in PEM, Ed25519 or ECDSA P-256 (default: $BAILIFF_RELEASE_KEY). Its
                     public key must be ${PUBLIC_KEY} of the tag
  --builder URI      who built it, for the provenance (default: this machine's name)
  --archives         include the archives of the images
  --verify DIR       check signatures, checksums and provenance of a release
  --public-key FILE  public key in PEM (default: ${PUBLIC_KEY} of this checkout)
  --new-key FILE     make a key: FILE gets the private one, ${PUBLIC_KEY} of this checkout the public one
  --help             print this text
`;

class OptionError extends Error {
  override readonly name = 'OptionError';
}
class NotReleasableError extends Error {
  override readonly name = 'NotReleasableError';
}

const read = (file: string) => readFileSync(file, 'utf8');
const progress = (text: string) => process.stderr.write(`release: ${text}\n`);
const git = (...args: string[]) => execFileSync('git', args, { cwd: ROOT, encoding: 'utf8' }).trim();

function commitOf(tag: string): string | null {
  try {
    return git('rev-parse', '--verify', '--quiet', `refs/tags/${tag}^{commit}`);
  } catch {
    return null;
  }
}

const isSbom = (file: string) => file.endsWith('.cdx.json');

/** List, SBOMs and wanted archives of the images, checked against their checksums. */
function imageFiles(dir: string, withArchives: boolean): string[] {
  const isWanted = (file: string) => isSbom(file) || file === 'images.txt' || (withArchives && file.endsWith('.tar'));
  const files = readdirSync(dir).filter(isWanted);
  const sums = readChecksums(read(path.join(dir, SUMS)));
  if (!files.includes('images.txt') || !files.some(isSbom))
    throw new OptionError(`--images ${dir}: it has no images.txt and SBOMs: run scripts/images --save`);
  if (withArchives && !files.some((file) => file.endsWith('.tar')))
    throw new OptionError(`--archives: ${dir} has none: run scripts/images --save`);
  for (const file of files)
    if (sums.get(file) !== sha256Of(path.join(dir, file)))
      throw new NotReleasableError(`${path.join(dir, file)} differs from ${SUMS}: build the images again`);
  return files;
}

function sourceOf(version: string, dir: string, files: readonly string[], signer: string): Source {
  const sboms = files.filter(isSbom).map((file) => JSON.parse(read(path.join(dir, file))) as Sbom);
  const base = parse(read(path.join(ROOT, 'k8s/base/kustomization.yaml'))) as { images: { newTag: string }[] };
  const publicKey = path.join(ROOT, PUBLIC_KEY);
  return {
    version,
    workspace: (JSON.parse(read(path.join(ROOT, 'package.json'))) as { version: string }).version,
    chart: parse(read(path.join(CHART, 'Chart.yaml'))) as Source['chart'],
    changelog: read(path.join(ROOT, 'CHANGELOG.md')),
    baseTags: [...new Set(base.images.map(({ newTag }) => newTag))],
    head: git('rev-parse', 'HEAD'),
    tagged: commitOf(`v${version}`),
    changes: git('status', '--porcelain', '--untracked-files=no'),
    imageVersions: [...new Set(sboms.map((sbom) => sbom.metadata.component.version))],
    recorded: readdirSync(path.join(ROOT, 'test/versions')),
    publicKey: existsSync(publicKey) ? read(publicKey) : null,
    signer,
  };
}
interface Sbom {
  metadata: { component: { version: string } };
}

interface Request {
  version: string;
  images: string;
  url: string;
  key: string;
  out: string;
  builder: string;
  archives: boolean;
}

function release({ version, images: imagesDirectory, url, key, out, builder, archives }: Request): void {
  const copied = imageFiles(imagesDirectory, archives);
  const privateKey = readPrivateKey(key);
  const source = sourceOf(version, imagesDirectory, copied, publicText(privateKey));
  const reasons = whyNotReleasable(source);
  if (reasons.length > 0) throw new NotReleasableError(reasons.join('\n'));
  mkdirSync(out, { recursive: true });
  if (readdirSync(out).length > 0) throw new OptionError(`--out ${out}: it is not empty`);
  const write = (name: string, text: string) => writeFileSync(path.join(out, name), text);

  const images = readImageList(read(path.join(imagesDirectory, 'images.txt')));
  const notes = changelogSection(source.changelog, version);
  const epoch = Number(git('log', '-1', '--format=%ct'));
  writeFiles({ version, out, url, epoch, notes, images, imageFiles: copied, imagesDirectory }, progress);

  progress('provenance and signatures');
  const sums = checksumsOf(out);
  const files = [...sums].map(([name, sha256]): Subject => ({ name, digest: { sha256 } }));
  const built = images
    .filter(isOwn)
    .map(({ reference, digest }): Subject => ({ name: reference, digest: { sha256: digest.replace('sha256:', '') } }));
  const statement = statementOf({
    subjects: [...files, ...built],
    tag: `v${version}`,
    url,
    repository: repository(),
    commit: source.head,
    materials: [{ uri: 'file:package-lock.json', digest: { sha256: sha256Of(path.join(ROOT, 'package-lock.json')) } }],
    builder,
  });
  // Signed by itself, and not in the checksums: they are then equal however the key signs.
  write(PROVENANCE, `${JSON.stringify(signedEnvelope(statement, privateKey))}\n`);
  write(SUMS, checksumText(sums));
  signFiles(out, [SUMS, ...sums.keys()], privateKey);
  progress(`${sums.size} files in ${out}, with ${SUMS}, ${PROVENANCE} and signatures`);
}

/** Address of the remote repository without user and password; empty if there is none. */
function repository(): string {
  try {
    return git('remote', 'get-url', 'origin').replace(/\/\/[^/@]*@/, '//');
  } catch {
    return '';
  }
}

function main(args: string[]): number {
  const text = { type: 'string' } as const;
  const flag = { type: 'boolean' } as const;
  const options = {
    images: text,
    url: text,
    key: text,
    out: text,
    builder: text,
    archives: flag,
    verify: text,
    'public-key': text,
    'new-key': text,
    help: flag,
  } as const;
  try {
    const { values, positionals } = optionsOf(args, options);
    if (values.help) process.stdout.write(USAGE);
    else if (values['new-key'] !== undefined) writeNewKey(values['new-key'], path.join(ROOT, PUBLIC_KEY));
    else if (values.verify !== undefined) {
      const count = verifyRelease(values.verify, values['public-key'] ?? path.join(ROOT, PUBLIC_KEY));
      process.stdout.write(`${count} files verified\n`);
    } else
      release({
        version: required(positionals[0], 'VERSION'),
        images: required(values.images, '--images'),
        url: required(values.url, '--url'),
        key: required(values.key ?? process.env['BAILIFF_RELEASE_KEY'], '--key (or BAILIFF_RELEASE_KEY)'),
        out: path.resolve(required(values.out, '--out')),
        builder: values.builder ?? `host:${hostname()}`,
        archives: values.archives ?? false,
      });
    return 0;
  } catch (error) {
    process.stderr.write(`${(error as Error).message.replace(/^/gm, 'release: ')}\n`);
    if (error instanceof OptionError) return 2;
    return error instanceof NotReleasableError ? 3 : 1;
  }
}

function optionsOf<const O extends NonNullable<Parameters<typeof parseArgs>[0]>['options']>(
  args: string[],
  options: O,
) {
  try {
    return parseArgs({ args, options, allowPositionals: true });
  } catch (error) {
    throw new OptionError((error as Error).message);
  }
}

function required(value: string | undefined, name: string): string {
  if (value === undefined || value === '') throw new OptionError(`${name} is missing (scripts/release --help)`);
  return value;
}

process.exitCode = main(process.argv.slice(2));
