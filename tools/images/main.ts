/**
 * scripts/images: builds the images with docker, podman or buildah, delivers them, and prints the
 * list of images. Options, command lines, lists and SBOMs are pure functions of their own files.
 *
 * Progress is on stderr, the list on stdout. Exit codes: 0, 1 a command failed, 2 wrong options,
 * 3 a machine that --from-packages cannot use.
 */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import type { BundledPackage } from '../bundled-packages.ts';
import { checksumsOf, checksumText, SUMS } from '../checksums.ts';
import { isOnPath } from '../programs.ts';
import {
  type BuildSettings,
  CONTAINERFILE,
  containerfileAt,
  type Destination,
  exportCommand,
  type ImageBuild,
  imageSteps,
  type Step,
  saveCommand,
} from './engine.ts';
import { prepareFiles, UnsuitableMachineError } from './from-packages.ts';
import { APPS, type App, type Listed, listText, type ThirdPartyImage, thirdPartyImages } from './image-list.ts';
import { OptionError, type Options, optionsOf, USAGE } from './options.ts';
import { debianPackages, sbomOf } from './sbom.ts';

const ROOT = path.resolve(import.meta.dirname, '../..');
const OVERLAY = path.join(ROOT, 'k8s/overlays/included/kustomization.yaml');
const read = (file: string) => readFileSync(file, 'utf8');
const progress = (text: string) => process.stderr.write(`images: ${text}\n`);

function capture(argv: readonly string[]): string {
  const [command = '', ...args] = argv;
  return execFileSync(command, args, { cwd: ROOT, encoding: 'utf8', stdio: ['ignore', 'pipe', 'inherit'] }).trim();
}

function perform(argv: readonly string[]): void {
  const [command = '', ...args] = argv;
  execFileSync(command, args, { cwd: ROOT, stdio: ['ignore', process.stderr, 'inherit'] });
}

/** Commit and its time; neither is known outside a git checkout. */
function sourceOf(): { revision: string | null; epoch: number } {
  const wanted = process.env['SOURCE_DATE_EPOCH'];
  try {
    const [revision = '', time = ''] = capture(['git', 'log', '-1', '--format=%H %ct']).split(' ');
    const changed = capture(['git', 'status', '--porcelain', '--untracked-files=no']) === '' ? '' : '-dirty';
    return { revision: revision + changed, epoch: Number(wanted ?? time) };
  } catch {
    return { revision: null, epoch: Number(wanted ?? 0) };
  }
}

function settingsOf(options: Options, work: string): BuildSettings {
  const { revision, epoch } = sourceOf();
  const prepared = path.join(work, 'prepared');
  mkdirSync(prepared);
  const containerfile = path.join(work, 'Containerfile');
  writeFileSync(containerfile, containerfileAt(read(path.join(ROOT, CONTAINERFILE)), epoch));
  if (options.fromPackages) {
    progress('building from packages on this machine');
    prepareFiles({ root: ROOT, directory: prepared, epoch, isBuilt: options.isBuilt });
  }
  const label = 'org.opencontainers.image';
  return {
    engine: options.engine,
    containerfile,
    epoch,
    args: options.fromPackages
      ? { BUILD: 'prepared', ROOT: 'prepared' }
      : { ...(options.base === undefined ? {} : { NODE_IMAGE: options.base }) },
    labels: {
      [`${label}.version`]: options.tag,
      ...(revision === null ? {} : { [`${label}.revision`]: revision }),
    },
    contexts: options.fromPackages ? { 'prepared-files': prepared } : {},
  };
}

/** The digest after the last step, which is the one of the registry if the image was pushed. */
function deliver(steps: readonly Step[], digestFile: string): string {
  let digest = '';
  writeFileSync(digestFile, '');
  for (const { argv, digest: place } of steps) {
    if (place === 'stdout') digest = capture(argv);
    else perform(argv);
    if (place === 'digest-file') digest = writtenDigest(argv, digestFile);
    if (place === 'metadata-file')
      digest = (JSON.parse(read(digestFile)) as Record<string, string>)['containerimage.digest'] ?? '';
  }
  return digest;
}

/** buildah exits with 0 after a failed push of a list of platforms, and leaves the file empty. */
function writtenDigest(argv: readonly string[], file: string): string {
  const digest = read(file).trim();
  if (!/^sha256:[0-9a-f]{64}$/.test(digest)) throw new Error(`wrote no digest, so it failed: ${argv.join(' ')}`);
  return digest;
}

function destinationsOf({ save, push }: Options, app: App): Destination[] {
  const wanted: Destination[] = [
    ...(save === undefined ? [] : [{ kind: 'archive', file: path.join(save, `${app}.tar`) } as const]),
    ...(push ? [{ kind: 'registry' } as const] : []),
  ];
  return wanted.length > 0 ? wanted : [{ kind: 'engine' }];
}

function buildApps(options: Options, settings: BuildSettings, work: string): (Listed & { app: App })[] {
  return APPS.map((app) => {
    progress(app);
    const reference = `${options.registry}/${app}:${options.tag}`;
    const build: ImageBuild = { target: app, reference, platforms: options.platforms };
    for (const destination of destinationsOf(options, app))
      if (destination.kind === 'archive') rmSync(destination.file, { force: true });
    const file = path.join(work, 'digest');
    const digest = deliver(imageSteps(settings, build, destinationsOf(options, app), file), file);
    return { app, name: `bailiff/${app}`, reference, digest };
  });
}

function writeSboms(
  options: Options,
  settings: BuildSettings,
  images: readonly (Listed & { app: App })[],
  work: string,
): string {
  const folder = options.save ?? path.join(ROOT, '.cache/images/sbom');
  mkdirSync(folder, { recursive: true });
  for (const platform of options.platforms) {
    const arch = platform.slice('linux/'.length);
    const lists = path.join(work, `lists-${arch}`);
    mkdirSync(lists);
    perform(exportCommand(settings, 'lists', platform, lists));
    const debian = debianPackages(read(path.join(lists, 'app')));
    const node = read(path.join(lists, 'node')).trim();
    for (const { app, reference, digest } of images) {
      const bundled = JSON.parse(read(path.join(lists, `${app}.json`))) as BundledPackage[];
      const own = [app, `${app}-linked`].map((name) => path.join(lists, name)).filter((file) => existsSync(file));
      const packages = [...debian, ...own.flatMap((file) => debianPackages(read(file)))];
      const { tag } = options;
      const { epoch } = settings;
      const sbom = sbomOf({ app, reference, tag, arch, digest, epoch, node, debian: packages, bundled });
      writeFileSync(path.join(folder, `${app}-${arch}.cdx.json`), `${JSON.stringify(sbom, null, 2)}\n`);
    }
  }
  return folder;
}

function saveThirdParty({ fromPackages }: Options, save: string, images: readonly ThirdPartyImage[]): void {
  for (const { reference, short } of images) {
    if (fromPackages) {
      progress(`not saved, because --from-packages pulls nothing: ${reference}`);
      continue;
    }
    progress(short);
    const file = path.join(save, `${short}.tar`);
    rmSync(file, { force: true });
    perform(saveCommand(reference, file));
  }
}

function build(options: Options): void {
  if (options.save !== undefined) mkdirSync(options.save, { recursive: true });
  const cache = path.join(ROOT, '.cache/images');
  mkdirSync(cache, { recursive: true });
  const work = mkdtempSync(path.join(cache, 'work-'));
  try {
    const settings = settingsOf(options, work);
    const own = buildApps(options, settings, work);
    progress(`SBOMs: ${writeSboms(options, settings, own, work)}`);
    const thirdParty = thirdPartyImages(read(OVERLAY));
    const list = listText([...own, ...thirdParty]);
    if (options.save !== undefined) {
      saveThirdParty(options, options.save, thirdParty);
      writeFileSync(path.join(options.save, 'images.txt'), list);
      writeFileSync(path.join(options.save, SUMS), checksumText(checksumsOf(options.save)));
    }
    process.stdout.write(list);
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

function main(args: readonly string[]): number {
  const { version } = JSON.parse(read(path.join(ROOT, 'package.json'))) as { version: string };
  try {
    const options = optionsOf(args, { version, arch: process.arch, cwd: process.cwd(), isOnPath });
    if (options === null) process.stdout.write(USAGE);
    else build(options);
    return 0;
  } catch (error) {
    if (error instanceof OptionError || error instanceof UnsuitableMachineError) {
      process.stderr.write(`images: ${error.message}\n`);
      return error instanceof OptionError ? 2 : 3;
    }
    process.stderr.write(`images: ${(error as Error).message}\n`);
    return 1;
  }
}

process.exitCode = main(process.argv.slice(2));
