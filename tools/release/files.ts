/**
 * Writes the files of a release: chart, command, manifests, source, values, SBOMs, notes and VEX. Equal
 * sources give equal bytes: archives are packed again without times, users and the umask of this
 * machine.
 */
import { execFileSync } from 'node:child_process';
import { copyFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { parse, stringify } from 'yaml';
import type { BundledPackage } from '../bundled-packages.ts';
import { sha256Of } from '../checksums.ts';
import { CHART, helm, helmProgram, NO_HELM } from '../helm.ts';
import type { Listed } from '../images/image-list.ts';
import { packageSbomOf, purlOf } from '../images/sbom.ts';
import { imageValues } from './contents.ts';
import { readAdvisories, vexOf } from './vex.ts';

const ROOT = path.resolve(import.meta.dirname, '../..');
const PACKAGE = '@bailiff/cli';
const read = (file: string) => readFileSync(file, 'utf8');

export interface Content {
  readonly version: string;
  readonly out: string;
  /** Where the files will be downloaded from. */
  readonly url: string;
  /** Time of the commit, in seconds. */
  readonly epoch: number;
  readonly notes: string;
  readonly images: readonly Listed[];
  /** Files of `imagesDirectory` that are part of the release. */
  readonly imageFiles: readonly string[];
  readonly imagesDirectory: string;
}

/** @throws Error if helm is missing or a program fails */
export function writeFiles(content: Content, progress: (text: string) => void): void {
  const { version, out, images } = content;
  const write = (name: string, text: string) => writeFileSync(path.join(out, name), text);
  progress('chart, manifests and source');
  writeChart(content);
  const archive = (name: string, ...paths: string[]) =>
    execFileSync(
      'git',
      [
        'archive',
        '--format=tar.gz',
        `--prefix=bailiff-${version}/`,
        `--output=${path.join(out, name)}`,
        'HEAD',
        ...paths,
      ],
      { cwd: ROOT },
    );
  archive(`bailiff-${version}-manifests.tar.gz`, 'k8s', 'policies');
  archive(`bailiff-${version}-source.tar.gz`);
  const values = parse(read(path.join(CHART, 'values.yaml'))) as Record<string, unknown>;
  write(`bailiff-${version}-images.yaml`, stringify(imageValues(values, images)));
  for (const file of content.imageFiles) copyFileSync(path.join(content.imagesDirectory, file), path.join(out, file));
  progress('command');
  writeCommand(content);
  write('NOTES.md', `${content.notes}\n`);
  const products = [purlOf(PACKAGE, version), ...images.filter(isOwn).map(({ name }) => imagePurl(name, version))];
  const advisories = readAdvisories(read(path.join(ROOT, 'docs/advisories.yaml')));
  const vex = vexOf({ version, epoch: content.epoch, products, advisories });
  write(`bailiff-${version}.openvex.json`, `${JSON.stringify(vex, null, 2)}\n`);
}

export const isOwn = ({ name, digest }: Listed): boolean => name.startsWith('bailiff/') && digest !== '';

/** Without the digest: a statement holds for the image of each platform. */
const imagePurl = (name: string, version: string) => `pkg:oci/${name.slice('bailiff/'.length)}?tag=${version}`;

/** helm writes the current time into the archive. */
function writeChart({ version, out, epoch }: Content): void {
  const program = helmProgram();
  if (program === null) throw new Error(NO_HELM);
  helm(program, ['package', CHART, '--destination', out]);
  const archive = path.join(out, `bailiff-${version}.tgz`);
  const directory = mkdtempSync(path.join(tmpdir(), 'bailiff-chart-'));
  try {
    execFileSync('tar', ['-xzf', archive, '-C', directory]);
    const plain = ['--sort=name', '--format=gnu', '--owner=0', '--group=0', '--numeric-owner', '--mode=u=rwX,go=rX'];
    const pack = [...plain, `--mtime=@${epoch}`, '--use-compress-program=gzip -9n', '-cf', archive, '-C', directory];
    execFileSync('tar', [...pack, 'bailiff']);
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

/** The npm package of the command, its krew manifest and its SBOM. */
function writeCommand({ version, out, url, epoch }: Content): void {
  const tool = ['--import', 'tsx', path.join(ROOT, 'tools/package/main.ts'), '--out', out, '--url', url];
  execFileSync(process.execPath, tool, { cwd: ROOT, stdio: ['ignore', 'ignore', 'inherit'] });
  const archive = path.join(out, `bailiff-cli-${version}.tgz`);
  const listed = execFileSync('tar', ['-xzOf', archive, 'package/dist/packages.json'], { encoding: 'utf8' });
  const bundled = JSON.parse(listed) as BundledPackage[];
  const sbom = packageSbomOf({ name: PACKAGE, version, sha256: sha256Of(archive), epoch, bundled });
  writeFileSync(path.join(out, `bailiff-cli-${version}.cdx.json`), `${JSON.stringify(sbom, null, 2)}\n`);
}
