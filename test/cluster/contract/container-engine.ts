/**
 * Runs built images in a container engine with the permissions from their manifests. BAILIFF_IMAGES
 * is the prefix of the names of existing images (`registry.example/bailiff`), and
 * BAILIFF_CONTAINER_ENGINE the command (default `docker`). Without them `buildImages` builds the
 * images with buildah, in a storage of their own, and podman runs them.
 */
import { execFile, execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import { isOnPath } from '../../../tools/programs.ts';
import type { Workload } from '../../k8s/rendered.ts';

const ROOT = path.resolve(import.meta.dirname, '../../..');
const { version } = JSON.parse(readFileSync(path.join(ROOT, 'package.json'), 'utf8')) as { version: string };
const BUILD_TIMEOUT_MS = 900_000;

/** Commands that building and running need. */
const TOOLS = ['buildah', 'podman', 'runc', 'strip'];
export const NO_ENGINE = `${TOOLS.join(', ')} are not all installed: run scripts/setup, or set BAILIFF_IMAGES`;

export interface ContainerEngine {
  readonly command: readonly string[];
  /** Prefix of the image names. */
  readonly prefix: string;
}

export interface RunOptions {
  readonly env?: Readonly<Record<string, string>>;
  /**
   * Directories of this machine that the container mounts at the same path, with all mounts below.
   */
  readonly volumes?: readonly string[];
  /** Empty directories in memory. */
  readonly tmpfs?: readonly string[];
  /** Name of the container, for `rm`. */
  readonly name?: string;
}

/** The engine and images that the environment names. */
export function namedEngine(): ContainerEngine | null {
  const prefix = process.env['BAILIFF_IMAGES'] ?? '';
  if (prefix === '') return null;
  const command = (process.env['BAILIFF_CONTAINER_ENGINE'] ?? 'docker').split(' ').filter(Boolean);
  return { command, prefix };
}

export const canBuildImages = (): boolean => TOOLS.every(isOnPath);

/** Built images, their SBOMs and archives; disposing removes the storage. */
export interface BuiltImages extends AsyncDisposable {
  readonly engine: ContainerEngine;
  /** The directory of `--save`. */
  readonly saved: string;
  /** Printed list of images. */
  readonly list: string;
}

/** Builds every image from packages of the distribution and of npm: no image is pulled. */
export async function buildImages(): Promise<BuiltImages> {
  const dir = mkdtempSync(path.join(tmpdir(), 'bailiff-built-images-'));
  const env = { ...storageIn(dir), BUILDAH_ISOLATION: 'chroot' };
  const saved = path.join(dir, 'saved');
  const prefix = 'localhost/bailiff-built';
  // Without a build, which replaces the bundles that other tests start now.
  const flags = ['--engine', 'buildah', '--from-packages', '--no-build', '--registry', prefix, '--save', saved];
  const remove = () => {
    const all = { env: { ...process.env, ...env }, stdio: 'pipe' } as const;
    execFileSync('podman', ['rm', '--all', '--force'], all);
    // The storage driver mounts its directory over itself.
    for (const place of mountsOf(dir)) execFileSync('umount', [place], { stdio: 'pipe' });
    rmSync(dir, { recursive: true, force: true });
  };
  try {
    const { stdout } = await promisify(execFile)(path.join(ROOT, 'scripts/images'), flags, {
      env: { ...process.env, ...env },
      timeout: BUILD_TIMEOUT_MS,
    });
    return {
      engine: { command: ['env', ...Object.entries(env).map((pair) => pair.join('=')), 'podman'], prefix },
      saved,
      list: stdout,
      [Symbol.asyncDispose]: () => Promise.resolve(remove()),
    };
  } catch (error) {
    remove();
    throw error;
  }
}

/** Mounts in a directory, the innermost first. */
const mountsOf = (dir: string): string[] =>
  readFileSync('/proc/self/mountinfo', 'utf8')
    .split('\n')
    .map((line) => line.split(' ')[4] ?? '')
    .filter((place) => place.startsWith(`${dir}/`))
    .reverse();

/** Configuration of buildah and podman that leaves the machine's images and containers alone. */
function storageIn(dir: string): Record<string, string> {
  const storage = path.join(dir, 'storage.conf');
  const containers = path.join(dir, 'containers.conf');
  writeFileSync(storage, `[storage]\ndriver = "overlay"\ngraphroot = "${dir}/graph"\nrunroot = "${dir}/run"\n`);
  // The limit: raising it needs a capability that a test's machine may lack.
  writeFileSync(
    containers,
    `[containers]\ndefault_ulimits = ["nofile=1024:1024"]\n` +
      `[engine]\nruntime = "runc"\ncgroup_manager = "cgroupfs"\nevents_logger = "none"\n` +
      `static_dir = "${dir}/libpod"\ntmp_dir = "${dir}/libpod-run"\nlock_type = "file"\n`,
  );
  return {
    CONTAINERS_STORAGE_CONF: storage,
    CONTAINERS_CONF: containers,
    // The warning would be part of an app's output.
    PODMAN_IGNORE_CGROUPSV1_WARNING: '1',
  };
}

/** The command that runs an image to its end, up to the arguments of the app. */
export function runImage(
  { command, prefix }: ContainerEngine,
  app: string,
  { pod, container }: Workload,
  options: RunOptions = {},
): string[] {
  const { runAsUser, runAsGroup } = pod.securityContext;
  const { readOnlyRootFilesystem, capabilities, allowPrivilegeEscalation } = container.securityContext;
  return [
    ...[...command, 'run', '--rm', '--pull=never', '--network=host', `--user=${runAsUser}:${runAsGroup}`],
    ...(pod.hostPID ? ['--pid=host'] : []),
    ...(readOnlyRootFilesystem ? ['--read-only'] : []),
    ...(allowPrivilegeEscalation === false ? ['--security-opt=no-new-privileges'] : []),
    ...(capabilities.drop ?? []).map((name: string) => `--cap-drop=${name}`),
    ...(capabilities.add ?? []).map((name: string) => `--cap-add=${name}`),
    ...Object.entries(options.env ?? {}).map(([name, value]) => `--env=${name}=${value}`),
    ...(options.tmpfs ?? []).map((directory) => `--tmpfs=${directory}`),
    ...(options.volumes ?? []).map((directory) => `--volume=${directory}:${directory}`),
    ...(options.name === undefined ? [] : [`--name=${options.name}`]),
    `${prefix}/${app}:${version}`,
  ];
}

/** The command that stops and removes a container, if it exists. */
export const removeContainer = ({ command }: ContainerEngine, name: string): string[] => [
  ...command,
  'rm',
  '--force',
  name,
];
