/** Flags of scripts/images. Pure; the environment is passed in. */
import path from 'node:path';
import { parseArgs } from 'node:util';

export const ENGINES = ['docker', 'podman', 'buildah'] as const;
export type Engine = (typeof ENGINES)[number];

export const PLATFORMS = ['linux/amd64', 'linux/arm64'] as const;
export type Platform = (typeof PLATFORMS)[number];

/** The manifests name images `bailiff/<app>`; nodes complete that name to this one. */
export const DEFAULT_REGISTRY = 'docker.io/bailiff';

export const USAGE = `Usage: scripts/images [options]

Builds Bailiff's images and prints one line for each image of an installation, NATS and Valkey
included: name in the manifests, reference, digest.

  --engine NAME      docker, podman or buildah (default: the first of them on the PATH)
  --registry PREFIX  prefix of the image names, such as registry.example/bailiff
                     (default: ${DEFAULT_REGISTRY}, which the manifests name)
  --tag TAG          tag of the images (default: version of the workspace)
  --platform LIST    linux/amd64, linux/arm64, or both with a comma (default: this machine's);
                     several need --push or --save
  --base IMAGE       base image of the build instead of the one in k8s/images/Containerfile
  --from-packages    pull no image: build on this machine (Debian 13, scripts/setup), and take
                     libraries from Debian's archive and Node.js from its npm package
  --no-build         with --from-packages: take the outputs of the last \`npm run build\`
  --push             push the images to the registry
  --save DIR         write each image as an OCI archive, the list, SBOMs and checksums to DIR;
                     needs skopeo for NATS and Valkey, which --from-packages leaves out
  --help             print this text

SBOMs (CycloneDX) are written to DIR, or to .cache/images/sbom without --save.
SOURCE_DATE_EPOCH sets the time of files in the images (default: time of the last commit).
`;

export interface Options {
  readonly engine: Engine;
  /** Without a slash at the end. */
  readonly registry: string;
  readonly tag: string;
  readonly platforms: readonly Platform[];
  readonly base: string | undefined;
  readonly fromPackages: boolean;
  /** With fromPackages: the outputs of the checkout are up to date. */
  readonly isBuilt: boolean;
  readonly push: boolean;
  /** Absolute. */
  readonly save: string | undefined;
}

export interface Surroundings {
  readonly version: string;
  /** process.arch */
  readonly arch: string;
  readonly cwd: string;
  readonly isOnPath: (command: string) => boolean;
}

/** A flag that is wrong, or flags that contradict each other. */
export class OptionError extends Error {
  override readonly name = 'OptionError';
  readonly code = 'invalid-option';
}

/** @returns `null` if the help is asked for. @throws OptionError */
export function optionsOf(args: readonly string[], around: Surroundings): Options | null {
  const { values } = parsed(args);
  if (values.help) return null;
  const own = around.arch === 'x64' ? 'amd64' : around.arch;
  const platforms = (values.platform ?? `linux/${own}`).split(',').map(platformOf);
  const save = values.save === undefined ? undefined : path.resolve(around.cwd, values.save);
  const options: Options = {
    engine: engineOf(values.engine, around.isOnPath),
    registry: (values.registry ?? DEFAULT_REGISTRY).replace(/\/+$/, ''),
    tag: values.tag ?? around.version,
    platforms: [...new Set(platforms)],
    base: values.base,
    fromPackages: values['from-packages'] ?? false,
    isBuilt: values['no-build'] ?? false,
    push: values.push ?? false,
    save,
  };
  if (save !== undefined && !options.fromPackages && !around.isOnPath('skopeo'))
    throw new OptionError('--save needs skopeo, to copy NATS and Valkey: install it');
  check(options, values.registry !== undefined, `linux/${own}`);
  return options;
}

function parsed(args: readonly string[]) {
  const text = { type: 'string' } as const;
  const flag = { type: 'boolean' } as const;
  const options = {
    engine: text,
    registry: text,
    tag: text,
    platform: text,
    base: text,
    save: text,
    'from-packages': flag,
    'no-build': flag,
    push: flag,
    help: flag,
  };
  try {
    return parseArgs({ args: [...args], options, strict: true, allowPositionals: false });
  } catch (error) {
    throw new OptionError((error as Error).message, { cause: error });
  }
}

function platformOf(text: string): Platform {
  const platform = PLATFORMS.find((one) => one === text || one === `linux/${text}`);
  if (platform === undefined) throw new OptionError(`--platform ${text}: known are ${PLATFORMS.join(', ')}`);
  return platform;
}

function engineOf(name: string | undefined, isOnPath: Surroundings['isOnPath']): Engine {
  const engine = ENGINES.find((one) => (name === undefined ? isOnPath(one) : one === name));
  if (engine !== undefined) return engine;
  throw new OptionError(
    name === undefined
      ? `none of ${ENGINES.join(', ')} is on the PATH: install one of them`
      : `--engine ${name}: known are ${ENGINES.join(', ')}`,
  );
}

function check(options: Options, isRegistryNamed: boolean, ownPlatform: string): void {
  const { registry, tag, platforms, push, save, fromPackages, isBuilt, base } = options;
  if (!/^[\w][\w.:-]*(\/[\w.-]+)*$/.test(registry)) throw new OptionError(`--registry ${registry}: not a registry`);
  if (!/^\w[\w.-]{0,127}$/.test(tag)) throw new OptionError(`--tag ${tag}: not a tag`);
  if (push && !isRegistryNamed) throw new OptionError('--push needs --registry');
  if (platforms.length > 1 && !push && save === undefined)
    throw new OptionError('several platforms need --push or --save: an engine runs images of one platform');
  if (fromPackages && (platforms.length > 1 || platforms[0] !== ownPlatform))
    throw new OptionError(`--from-packages builds for this machine's platform only, ${ownPlatform}`);
  if (isBuilt && !fromPackages) throw new OptionError('--no-build needs --from-packages: a container builds otherwise');
  if (fromPackages && base !== undefined) throw new OptionError('--from-packages uses no --base');
}
