/**
 * scripts/release: writes the files of a release from a tag, and verifies them. What may be released
 * and the provenance are pure functions of their own files.
 *
 * Progress is on stderr. Exit codes: 0; 1 a command failed, or a file is not the released one;
 * 2 wrong options; 3 the source cannot be released.
 */
import { execFileSync } from 'node:child_process';
import { createPrivateKey, createPublicKey, sign, verify } from 'node:crypto';
import { copyFileSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { hostname } from 'node:os';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { parse, stringify } from 'yaml';
import { checksumsOf, checksumText, readChecksums, SUMS, sha256Of } from '../checksums.ts';
import { CHART, helm, helmProgram, NO_HELM } from '../helm.ts';
import { changelogSection, imageValues, readImageList, type Source, whyNotReleasable } from './contents.ts';
import { type Envelope, hashOf, type Subject, signedEnvelope, statementOf, verifiedStatement } from './provenance.ts';

const ROOT = path.resolve(import.meta.dirname, '../..');
const SIGNATURE = `${SUMS}.sig`;
const PROVENANCE = 'provenance.intoto.json';

const USAGE = `Usage: scripts/release VERSION --images DIR --key FILE --out DIR [--builder URI]
       scripts/release --verify DIR --public-key FILE

Writes the files of the release of the tag vVERSION, which must be checked out: Helm chart,
manifests, values that pin the images, image list, SBOMs, release notes, provenance, checksums and
their signature.

  --images DIR       output of scripts/images --tag VERSION --save DIR
  --key FILE         private key in PEM, Ed25519 or ECDSA P-256: it signs checksums and provenance
  --out DIR          empty or new directory for the files
  --builder URI      who built it, for the provenance (default: this machine's name)
  --verify DIR       check signature, checksums and provenance of a release
  --public-key FILE  public key in PEM
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

/** List and SBOMs of the images, checked against their checksums. */
function imageFiles(dir: string): string[] {
  const files = readdirSync(dir).filter((file) => isSbom(file) || file === 'images.txt');
  const sums = readChecksums(read(path.join(dir, SUMS)));
  if (!files.includes('images.txt') || !files.some(isSbom))
    throw new OptionError(`--images ${dir}: it has no images.txt and SBOMs: run scripts/images --save`);
  for (const file of files)
    if (sums.get(file) !== sha256Of(path.join(dir, file)))
      throw new NotReleasableError(`${path.join(dir, file)} differs from ${SUMS}: build the images again`);
  return files;
}

function sourceOf(version: string, dir: string, files: readonly string[]): Source {
  const sboms = files.filter(isSbom).map((file) => JSON.parse(read(path.join(dir, file))) as Sbom);
  const base = parse(read(path.join(ROOT, 'k8s/base/kustomization.yaml'))) as { images: { newTag: string }[] };
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
  };
}
interface Sbom {
  metadata: { component: { version: string } };
}

interface Request {
  version: string;
  images: string;
  key: string;
  out: string;
  builder: string;
}

function release({ version, images, key, out, builder }: Request): void {
  const startedOn = new Date();
  const program = helmProgram();
  if (program === null) throw new Error(NO_HELM);
  const copied = imageFiles(images);
  const source = sourceOf(version, images, copied);
  const reasons = whyNotReleasable(source);
  if (reasons.length > 0) throw new NotReleasableError(reasons.join('\n'));
  mkdirSync(out, { recursive: true });
  if (readdirSync(out).length > 0) throw new OptionError(`--out ${out}: it is not empty`);
  const privateKey = createPrivateKey(read(key));
  const write = (name: string, text: string | Buffer) => writeFileSync(path.join(out, name), text);

  progress('chart and manifests');
  helm(program, ['package', CHART, '--destination', out]);
  const archive = ['archive', '--format=tar.gz', `--prefix=bailiff-${version}/`];
  git(...archive, `--output=${path.join(out, `bailiff-${version}-manifests.tar.gz`)}`, 'HEAD', 'k8s', 'policies');
  const list = readImageList(read(path.join(images, 'images.txt')));
  const values = parse(read(path.join(CHART, 'values.yaml'))) as Record<string, unknown>;
  write(`bailiff-${version}-images.yaml`, stringify(imageValues(values, list)));
  for (const file of copied) copyFileSync(path.join(images, file), path.join(out, file));
  write('NOTES.md', `${changelogSection(source.changelog, version)}\n`);

  progress('provenance');
  const sums = checksumsOf(out);
  const files = [...sums].map(([name, sha256]): Subject => ({ name, digest: { sha256 } }));
  const built = list
    .filter(({ name, digest }) => name.startsWith('bailiff/') && digest !== '')
    .map(({ reference, digest }): Subject => ({ name: reference, digest: { sha256: digest.replace('sha256:', '') } }));
  const statement = statementOf({
    subjects: [...files, ...built],
    tag: `v${version}`,
    repository: repository(),
    commit: source.head,
    materials: [{ uri: 'file:package-lock.json', digest: { sha256: sha256Of(path.join(ROOT, 'package-lock.json')) } }],
    builder,
    startedOn,
    finishedOn: new Date(),
  });
  write(PROVENANCE, `${JSON.stringify(signedEnvelope(statement, privateKey))}\n`);
  sums.set(PROVENANCE, sha256Of(path.join(out, PROVENANCE)));
  const text = checksumText(sums);
  write(SUMS, text);
  write(SIGNATURE, sign(hashOf(privateKey), Buffer.from(text), privateKey));
  progress(`${sums.size + 2} files in ${out}`);
}

/** Address of the remote repository without user and password; empty if there is none. */
function repository(): string {
  try {
    return git('remote', 'get-url', 'origin').replace(/\/\/[^/@]*@/, '//');
  } catch {
    return '';
  }
}

/** @throws Error that names the file which is not the released one */
function verifyRelease(dir: string, publicKey: string): void {
  const key = createPublicKey(read(publicKey));
  const text = readFileSync(path.join(dir, SUMS));
  if (!verify(hashOf(key), text, key, readFileSync(path.join(dir, SIGNATURE))))
    throw new Error(`${SIGNATURE} is no signature of ${SUMS} by this key`);
  const sums = readChecksums(text.toString('utf8'));
  for (const name of readdirSync(dir).filter((file) => file !== SUMS && file !== SIGNATURE))
    if (!sums.has(name)) throw new Error(`${name} is not part of the release`);
  for (const [name, sum] of sums)
    if (sha256Of(path.join(dir, name)) !== sum) throw new Error(`${name} is not the released file`);
  const envelope = JSON.parse(read(path.join(dir, PROVENANCE))) as Envelope;
  if (verifiedStatement(envelope, key) === null) throw new Error(`${PROVENANCE} is not signed by this key`);
  process.stdout.write(`${sums.size} files verified\n`);
}

function main(args: string[]): number {
  const text = { type: 'string' } as const;
  const options = {
    ...{ images: text, key: text, out: text, builder: text, verify: text, 'public-key': text },
    help: { type: 'boolean' },
  } as const;
  try {
    const { values, positionals } = optionsOf(args, options);
    if (values.help) process.stdout.write(USAGE);
    else if (values.verify !== undefined) verifyRelease(values.verify, required(values['public-key'], '--public-key'));
    else
      release({
        version: required(positionals[0], 'VERSION'),
        images: required(values.images, '--images'),
        key: required(values.key, '--key'),
        out: path.resolve(required(values.out, '--out')),
        builder: values.builder ?? `host:${hostname()}`,
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
