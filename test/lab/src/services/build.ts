/**
 * Builds what a lab runs: labtool, the apps' bundles, the kernel object and the native binding
 * (through nx), and a bundle of the API server stand-in. Skipped if the outputs are newer than the
 * sources.
 */
import { existsSync, readdirSync } from 'node:fs';
import { rename, utimes } from 'node:fs/promises';
import path from 'node:path';
import { build } from 'esbuild';
import { NODE_BUNDLE } from '../../../../tools/node-bundle.ts';
import { CHECKOUT } from '../names.ts';
import { ensureLabtool, isStale } from '../native-tool.ts';
import { exec } from '../process/exec.ts';
import { alone } from '../process/lock.ts';

export const APPS = ['collector', 'correlator', 'responder', 'ipam-sync', 'siem-relay', 'bus-auth'] as const;
export type AppName = (typeof APPS)[number];
export const appBundle = (app: AppName) => path.join(CHECKOUT, 'apps', app, 'dist', 'main.mjs');
export const API_SERVER_BUNDLE = path.join(CHECKOUT, 'test/lab/build/kube-api.mjs');

/** Projects that a lab needs. */
const PROJECTS = [...APPS, 'bpf', 'cni'].map((name) => `@bailiff/${name}`);
export const POD_ENDS = path.join(CHECKOUT, 'cni/build/bailiff-pod-ends');
export const NATIVE_ADDON = path.join(CHECKOUT, 'libs/bpf/build/Release/bailiff_bpf.node');
const BPF_OBJECTS = ['spoof', 'spoof-no-offload', 'runtime'].map((name) =>
  path.join(CHECKOUT, `libs/bpf/build/bpf/${name}.bpf.o`),
);
/** A cold build compiles the addon and five bundles: two minutes on a slow machine. */
const BUILD_TIMEOUT_MS = 300_000;
/** Held during a build in this checkout. */
const BUILD_LOCK = path.join(CHECKOUT, 'test/lab/build/lock');

function filesBelow(dir: string, matching: RegExp): string[] {
  if (!existsSync(dir)) return [];
  const entries = readdirSync(dir, { withFileTypes: true, recursive: true });
  const files = entries.filter(
    (entry) => entry.isFile() && matching.test(entry.name) && !/\.test\.ts$/.test(entry.name),
  );
  return files.map((entry) => path.join(entry.parentPath, entry.name));
}

/** Build outputs that are absent or older than their sources. */
export function staleOutputs(): string[] {
  const libs = readdirSync(path.join(CHECKOUT, 'libs')).map((lib) => path.join(CHECKOUT, 'libs', lib, 'src'));
  const shared = [...libs.flatMap((dir) => filesBelow(dir, /\.ts$/)), path.join(CHECKOUT, 'tools/bundle.ts')];
  const stale: string[] = APPS.filter((app) =>
    isStale(appBundle(app), [...shared, ...filesBelow(path.join(CHECKOUT, 'apps', app, 'src'), /\.ts$/)]),
  ).map(appBundle);
  const bpf = path.join(CHECKOUT, 'libs/bpf');
  if (isStale(NATIVE_ADDON, filesBelow(path.join(bpf, 'native'), /\.(cc|h)$/))) stale.push(NATIVE_ADDON);
  const sources = filesBelow(path.join(bpf, 'bpf'), /\.(c|h)$/);
  stale.push(...BPF_OBJECTS.filter((object) => isStale(object, sources)));
  if (isStale(POD_ENDS, filesBelow(path.join(CHECKOUT, 'cni/src'), /\.(c|h)$/))) stale.push(POD_ENDS);
  return stale;
}

async function bundleApiServer(): Promise<void> {
  const sources = [...filesBelow(path.join(CHECKOUT, 'test/lab/src/apiserver'), /\.ts$/)];
  if (!isStale(API_SERVER_BUNDLE, sources)) return;
  const fresh = `${API_SERVER_BUNDLE}.${process.pid}`;
  await build({
    ...NODE_BUNDLE,
    entryPoints: [path.join(CHECKOUT, 'test/lab/src/apiserver/main.ts')],
    outfile: fresh,
  });
  await rename(fresh, API_SERVER_BUNDLE);
}

export interface BuildOptions {
  withApps: boolean;
  /** Text before the build starts. */
  onBuild: (text: string) => void;
  signal?: AbortSignal;
}

/** `building 3 parts, up to two minutes the first time`: apps and parts of libs/bpf. Pure. */
export function buildingText(outputs: readonly string[]): string {
  const parts = new Set(outputs.map((file) => file.split('/')[1])).size;
  return `building ${parts} ${parts === 1 ? 'part' : 'parts'}, up to two minutes the first time`;
}

/**
 * Builds stale outputs; returns the path of labtool. @throws LabError LAB_COMMAND_FAILED with the
 * output of the build
 */
export async function buildLab(options: BuildOptions): Promise<string> {
  const labtool = await ensureLabtool();
  await bundleApiServer();
  if (options.withApps && staleOutputs().length > 0) {
    // Concurrent builds break each other's addon and replace bundles under a running lab.
    await alone(BUILD_LOCK, options.signal, () => buildStale(options));
  }
  return labtool;
}

async function buildStale({ onBuild, signal }: BuildOptions): Promise<void> {
  const stale = staleOutputs();
  if (stale.length === 0) return;
  onBuild(buildingText(stale.map((file) => path.relative(CHECKOUT, file))));
  const nx = path.join(CHECKOUT, 'node_modules/.bin/nx');
  const flags = ['-t', 'build', '-p', PROJECTS.join(','), '--output-style=static'];
  await exec(process.execPath, [nx, 'run-many', ...flags], {
    cwd: CHECKOUT,
    timeoutMs: BUILD_TIMEOUT_MS,
    signal,
    env: { NX_TUI: 'false' },
  });
  // nx keeps the time of unchanged outputs; touching them marks them as checked.
  const now = new Date();
  for (const output of stale) await utimes(output, now, now);
}
