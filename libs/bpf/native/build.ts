/**
 * Builds the native addon: `build/Release/bailiff_bpf.node`. nx runs it (`build:native`).
 *
 * Needs a C++ compiler, make, python3, pkg-config and libbpf-dev. Uses Node's own headers if the
 * installation has them, so that node-gyp downloads nothing. Only changed files are compiled.
 * build/ is not emptied, because the kernel programs are built into it too.
 */
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const JOBS = '2';

function nodeDir(): string | undefined {
  const prefix = process.env['npm_config_nodedir'] ?? dirname(dirname(process.execPath));
  return existsSync(join(prefix, 'include', 'node', 'node_api.h')) ? prefix : undefined;
}

const nodeGyp = createRequire(import.meta.url).resolve('node-gyp/bin/node-gyp.js');
const prefix = nodeDir();
const args = [
  'configure',
  'build',
  '--loglevel=warn',
  '-j',
  JOBS,
  ...(prefix === undefined ? [] : [`--nodedir=${prefix}`]),
];
const cwd = fileURLToPath(new URL('..', import.meta.url));
const result = spawnSync(process.execPath, [nodeGyp, ...args], { cwd, stdio: 'inherit' });
process.exitCode = result.status ?? 1;
