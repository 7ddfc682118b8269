/**
 * Command lines of docker, podman and buildah. Pure. podman and buildah share theirs; docker builds
 * with buildx, where each destination is an output of a build.
 */
import type { Engine, Platform } from './options.ts';

export const CONTAINERFILE = 'k8s/images/Containerfile';

/** What all images of one run have in common. */
export interface BuildSettings {
  readonly engine: Engine;
  /** Path of the text that `containerfileAt` returns. */
  readonly containerfile: string;
  /** Seconds since 1970: the time of every file and image. */
  readonly epoch: number;
  readonly args: Readonly<Record<string, string>>;
  readonly labels: Readonly<Record<string, string>>;
  /** Additional build contexts: name and directory. */
  readonly contexts: Readonly<Record<string, string>>;
}

export type Destination =
  | { readonly kind: 'engine' }
  | { readonly kind: 'registry' }
  | { readonly kind: 'archive'; readonly file: string };

export interface ImageBuild {
  readonly target: string;
  readonly reference: string;
  readonly platforms: readonly Platform[];
}

/** A command, and where the digest of the image is after it. */
export interface Step {
  readonly argv: readonly string[];
  readonly digest: 'none' | 'stdout' | 'digest-file' | 'metadata-file';
}

/**
 * The Containerfile with the time as a label of the images. podman and buildah reuse a layer if its
 * instructions and contents are equal, even if `--timestamp` is not. Their cache does not expand
 * arguments either, so the time has to be part of the text.
 */
export function containerfileAt(text: string, epoch: number): string {
  const first = /^FROM scratch AS app$/m;
  if (!first.test(text)) throw new Error(`${CONTAINERFILE} has no stage "app" from scratch`);
  const time = new Date(epoch * 1_000).toISOString();
  return text.replace(first, (line) => `${line}\nLABEL org.opencontainers.image.created="${time}"`);
}

const pairs = (flag: string, entries: Readonly<Record<string, string>>): string[] =>
  Object.entries(entries).map(([name, value]) => `${flag}=${name}=${value}`);

const common = (
  { args, labels, contexts, containerfile }: BuildSettings,
  target: string,
  platforms: readonly Platform[],
) => [
  `--platform=${platforms.join(',')}`,
  `--target=${target}`,
  ...pairs('--build-arg', args),
  ...pairs('--label', labels),
  ...pairs('--build-context', contexts),
  `--file=${containerfile}`,
];

/** Builds an image and delivers it; the last step's digest is the one to publish. */
export function imageSteps(
  settings: BuildSettings,
  image: ImageBuild,
  destinations: readonly Destination[],
  digestFile: string,
): Step[] {
  if (settings.engine === 'docker')
    return destinations.map((destination) => ({
      argv: [...buildx(settings, image, outputOf(image, destination)), `--metadata-file=${digestFile}`, '.'],
      digest: 'metadata-file',
    }));
  const { engine } = settings;
  const isList = image.platforms.length > 1;
  const build: Step = {
    argv: [
      ...containersBuild(settings, image.target, image.platforms),
      `--${isList ? 'manifest' : 'tag'}=${image.reference}`,
      '.',
    ],
    digest: 'none',
  };
  const push = isList ? [engine, 'manifest', 'push', '--all'] : [engine, 'push'];
  return [
    build,
    ...destinations.map((destination): Step => {
      if (destination.kind === 'engine') return { argv: localDigest(engine, image.reference), digest: 'stdout' };
      const to =
        destination.kind === 'registry'
          ? `docker://${image.reference}`
          : `oci-archive:${destination.file}:${image.reference}`;
      return {
        argv: [...push, '--quiet', `--digestfile=${digestFile}`, image.reference, to],
        digest: 'digest-file',
      };
    }),
  ];
}

/** Writes the files of a stage to a directory. */
export function exportCommand(
  settings: BuildSettings,
  target: string,
  platform: Platform,
  directory: string,
): string[] {
  const output = `type=local,dest=${directory}`;
  if (settings.engine === 'docker') return [...buildx(settings, { target, platforms: [platform] }, output), '.'];
  return [...containersBuild(settings, target, [platform]), `--output=${output}`, '.'];
}

/**
 * Copies an image of a registry to an archive, for all its platforms: the manifests may name the
 * digest of the list of platforms, which no engine keeps.
 */
export const saveCommand = (reference: string, file: string): string[] => [
  ...['skopeo', 'copy', '--quiet', '--all', '--preserve-digests'],
  `docker://${reference}`,
  `oci-archive:${file}:${reference}`,
];

function containersBuild(settings: BuildSettings, target: string, platforms: readonly Platform[]): string[] {
  const { engine, epoch } = settings;
  // Without --force-rm, buildah leaves a mounted container of each stage that has no instruction.
  const build = [engine, 'build', '--layers', '--force-rm', '--format=oci', `--timestamp=${epoch}`];
  return [...build, ...common(settings, target, platforms)];
}

function buildx(settings: BuildSettings, image: Omit<ImageBuild, 'reference'>, output: string): string[] {
  return [
    ...['docker', 'buildx', 'build', '--provenance=false', `--build-arg=SOURCE_DATE_EPOCH=${settings.epoch}`],
    ...common(settings, image.target, image.platforms),
    `--output=${output}`,
  ];
}

function outputOf({ reference }: ImageBuild, destination: Destination): string {
  const rewritten = `name=${reference},rewrite-timestamp=true`;
  if (destination.kind === 'registry') return `type=image,push=true,${rewritten}`;
  if (destination.kind === 'archive') return `type=oci,dest=${destination.file},${rewritten}`;
  return `type=docker,${rewritten}`;
}

const localDigest = (engine: Engine, reference: string): string[] =>
  engine === 'buildah'
    ? ['buildah', 'inspect', '--type=image', '--format={{.FromImageDigest}}', reference]
    : [engine, 'image', 'inspect', '--format={{.Digest}}', reference];
