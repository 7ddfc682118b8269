/**
 * Runs built images in a container engine with the rights from their manifests, for tests that
 * otherwise run the files of the images. BAILIFF_IMAGES is the prefix of the image names
 * (`registry.example/bailiff`), BAILIFF_CONTAINER_ENGINE the command (default `docker`). The tag is
 * the version of the workspace; the images must exist.
 */
import { readFileSync } from 'node:fs';
import path from 'node:path';
import type { Workload } from '../../k8s/rendered.ts';

const PREFIX = process.env['BAILIFF_IMAGES'] ?? '';
const ENGINE = (process.env['BAILIFF_CONTAINER_ENGINE'] ?? 'docker').split(' ').filter(Boolean);
const manifest = readFileSync(path.resolve(import.meta.dirname, '../../../package.json'), 'utf8');
const { version } = JSON.parse(manifest) as { version: string };

export const NO_IMAGES = 'optional: none are named; set BAILIFF_IMAGES';
export const areImagesNamed = PREFIX !== '';

export interface RunOptions {
  readonly env?: Readonly<Record<string, string>>;
  /**
   * Directories of this machine that the container mounts at the same path, with all mounts below.
   */
  readonly volumes?: readonly string[];
  /** Name of the container, for `rm`. */
  readonly name?: string;
}

/** The command that runs an image to its end, up to the arguments of the app. */
export function runImage(app: string, { pod, container }: Workload, options: RunOptions = {}): string[] {
  const { runAsUser, runAsGroup } = pod.securityContext;
  const { readOnlyRootFilesystem, capabilities, allowPrivilegeEscalation } = container.securityContext;
  return [
    ...[...ENGINE, 'run', '--rm', '--pull=never', '--network=host', `--user=${runAsUser}:${runAsGroup}`],
    ...(pod.hostPID ? ['--pid=host'] : []),
    ...(readOnlyRootFilesystem ? ['--read-only'] : []),
    ...(allowPrivilegeEscalation === false ? ['--security-opt=no-new-privileges'] : []),
    ...(capabilities.drop ?? []).map((name: string) => `--cap-drop=${name}`),
    ...(capabilities.add ?? []).map((name: string) => `--cap-add=${name}`),
    ...Object.entries(options.env ?? {}).map(([name, value]) => `--env=${name}=${value}`),
    ...(options.volumes ?? []).map((directory) => `--volume=${directory}:${directory}`),
    ...(options.name === undefined ? [] : [`--name=${options.name}`]),
    `${PREFIX}/${app}:${version}`,
  ];
}

/** The command that stops and removes a container, if it exists. */
export const removeContainer = (name: string): string[] => [...ENGINE, 'rm', '--force', name];
