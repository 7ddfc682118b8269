/**
 * Builds the CNI plugin: src/*.c → build/bailiff-cni, one static program. It runs on the node, whose
 * libraries are unknown. nx runs this (`build`); tests also build a variant with AddressSanitizer.
 *
 * Needs gcc and the static library of jansson (Debian: libjansson-dev). The program appears whole or
 * not at all. build/packages lists the Debian packages that are linked into it, for the SBOM.
 */
import { spawnSync } from 'node:child_process';
import { mkdirSync, readdirSync, renameSync, statSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

const root = path.dirname(fileURLToPath(import.meta.url));
const SOURCES = path.join(root, 'src');
export const PLUGIN = path.join(root, 'build/bailiff-cni');
export const CHECKED_PLUGIN = path.join(root, 'build/bailiff-cni-checked');

const COMMON = ['-std=gnu11', '-D_GNU_SOURCE', '-Wall', '-Wextra', '-Werror'];
const RELEASE = ['-O2', '-static', '-s', '-ffunction-sections', '-Wl,--gc-sections'];
const CHECKED = ['-O1', '-g', '-fsanitize=address,undefined', '-fno-sanitize-recover=all'];

/** @throws Error with the compiler's exit status; its messages are on stderr */
export function buildPlugin(output = PLUGIN): void {
  const sources = readdirSync(SOURCES).map((name) => path.join(SOURCES, name));
  mkdirSync(path.dirname(output), { recursive: true });
  const fresh = `${output}.${process.pid}`;
  const flags = output === CHECKED_PLUGIN ? CHECKED : RELEASE;
  const files = sources.filter((name) => name.endsWith('.c'));
  const args = [...COMMON, ...flags, '-o', fresh, ...files, '-ljansson'];
  const { status, error } = spawnSync('gcc', args, { stdio: 'inherit' });
  if (status !== 0) throw new Error(`gcc failed on ${SOURCES}: ${error?.message ?? `exit status ${status}`}`);
  renameSync(fresh, output);
}

/** Builds the plugin if it is missing or older than a source. */
export function ensurePlugin(output = PLUGIN): string {
  const built = statSync(output, { throwIfNoEntry: false })?.mtimeMs ?? 0;
  const sources = [...readdirSync(SOURCES).map((name) => path.join(SOURCES, name)), fileURLToPath(import.meta.url)];
  if (sources.some((source) => statSync(source).mtimeMs > built)) buildPlugin(output);
  return output;
}

/** Lines `name version architecture source`. Empty on other distributions. */
function writePackages(): void {
  const fields = ['Package', 'Version', 'Architecture', 'source:Package'].map((name) => `\${${name}}`);
  const args = ['--show', `--showformat=${fields.join(' ')}\\n`, 'libc6-dev', 'libjansson-dev'];
  const { stdout } = spawnSync('dpkg-query', args, { encoding: 'utf8' });
  writeFileSync(path.join(path.dirname(PLUGIN), 'packages'), stdout ?? '');
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  buildPlugin();
  writePackages();
}
