/**
 * Fills the build context `prepared-files` on this machine, so that a build pulls no image: what
 * `compile` builds, from this checkout, and what `unpack` unpacks, from Debian's archive and the
 * npm package that carries the binary of Node.js.
 *
 * Needs Debian 13, because the native binding is linked with the libraries of this machine, and the
 * packages of scripts/setup.
 */
import { execFileSync } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, readFileSync, rmSync } from 'node:fs';
import path from 'node:path';
import { npmArchive } from '../distribution.ts';
import { APPS } from './image-list.ts';
import { OptionError } from './options.ts';

/** The version is the one in NODE_IMAGE; the hashes are those of the npm packages' archives. */
export const NODE_VERSION = '24.21.0';
const NODE_INTEGRITY: Readonly<Record<string, string>> = {
  x64: 'sha512-3nULszZ5X0fciYpG0t6TrdApJzAn8+FlINP6OiMX7V8HrvpATPN936U1LlReOJriLRa4e8yEqQBYCnLyPNAs7Q==',
  arm64: 'sha512-FpJRPEz2OvvTLfjIOlNGFY9JLPMKgl5m+d4oGYBLg24kJ1mmvN1Zl/HPJgF4HDaJ51ISev1l1cRZ/DM+keXW5g==',
};

const BPF_OUTPUTS = ['Release/bailiff_bpf.node', 'bpf/spoof.bpf.o', 'bpf/spoof-no-offload.bpf.o', 'bpf/runtime.bpf.o'];
const COMMAND_TIMEOUT_MS = 900_000;

/** The machine cannot build without an image. */
export class UnsuitableMachineError extends Error {
  override readonly name = 'UnsuitableMachineError';
  readonly code = 'unsuitable-machine';
}

function run(command: string, args: readonly string[], cwd: string, env: Readonly<Record<string, string>> = {}): void {
  // stdout is for the list of images.
  execFileSync(command, args, {
    cwd,
    timeout: COMMAND_TIMEOUT_MS,
    env: { ...process.env, ...env },
    stdio: ['ignore', process.stderr, 'inherit'],
  });
}

export interface PrepareOptions {
  /** The checkout. */
  root: string;
  /** Exists; gets `src` and `rootfs`. */
  directory: string;
  /** Time of files, in seconds. */
  epoch: number;
  /** The outputs of the checkout are up to date. */
  isBuilt: boolean;
}

/** @throws UnsuitableMachineError, OptionError if an output is missing */
export function prepareFiles({ root, directory, epoch, isBuilt }: PrepareOptions): void {
  checkMachine();
  const node = nodeBinary(path.join(root, '.cache/images'), directory);
  if (!isBuilt) run('npx', ['nx', 'run-many', '-t', 'build', '--output-style=static'], root);
  const unpackRoot = path.join(root, 'k8s/images/unpack-root');
  run(unpackRoot, [path.join(directory, 'rootfs'), node], root, { SOURCE_DATE_EPOCH: String(epoch) });
  rmSync(node);
  const copy = (file: string) => {
    const from = path.join(root, file);
    if (!existsSync(from)) throw new OptionError(`--no-build: ${file} is missing, run \`npm run build\``);
    cpSync(from, path.join(directory, 'src', file), { recursive: true, preserveTimestamps: true });
  };
  for (const app of APPS) for (const file of ['main.mjs', 'packages.json']) copy(`apps/${app}/dist/${file}`);
  copy('apps/collector/dist/parts');
  for (const file of BPF_OUTPUTS) copy(`libs/bpf/build/${file}`);
  for (const file of ['bailiff-cni', 'bailiff-pod-ends', 'packages']) copy(`cni/build/${file}`);
  run('chmod', ['-R', 'a+rX,go-w', path.join(directory, 'src')], root);
}

function checkMachine(): void {
  const release = existsSync('/etc/os-release') ? readFileSync('/etc/os-release', 'utf8') : '';
  if (!/^VERSION_CODENAME=trixie$/m.test(release))
    throw new UnsuitableMachineError('--from-packages needs Debian 13: the images get its libraries');
  if (NODE_INTEGRITY[process.arch] === undefined)
    throw new UnsuitableMachineError(`--from-packages knows no Node.js package for ${process.arch}`);
}

/** Unpacks the binary into `directory`. Its archive is downloaded once and verified every time. */
function nodeBinary(cache: string, directory: string): string {
  const name = `node-linux-${process.arch}`;
  const archive = path.join(cache, `${name}-${NODE_VERSION}.tgz`);
  mkdirSync(cache, { recursive: true });
  npmArchive(`${name}@${NODE_VERSION}`, NODE_INTEGRITY[process.arch] as string, archive);
  run('tar', ['-xzf', archive, '-C', directory, 'package/bin/node'], cache);
  return path.join(directory, 'package/bin/node');
}
