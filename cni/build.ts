/**
 * Builds two static programs of src/*.c: the CNI plugin, which runs on the node, whose libraries are
 * unknown, and bailiff-pod-ends. nx runs this (`build`); tests also build a variant of the plugin with
 * AddressSanitizer.
 *
 * Needs gcc and the static library of jansson (Debian: libjansson-dev). A program appears whole or
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
export const POD_ENDS = path.join(root, 'build/bailiff-pod-ends');
const POD_ENDS_MAIN = 'pod_ends.c';
/** Sources of bailiff-pod-ends, which needs no library. */
const POD_ENDS_SOURCES = ['netns.c', 'pod_end.c', POD_ENDS_MAIN];

const COMMON = ['-std=gnu11', '-D_GNU_SOURCE', '-Wall', '-Wextra', '-Werror'];
const RELEASE = ['-O2', '-static', '-s', '-ffunction-sections', '-Wl,--gc-sections'];
const CHECKED = ['-O1', '-g', '-fsanitize=address,undefined', '-fno-sanitize-recover=all'];

/** @throws Error with the compiler's exit status; its messages are on stderr */
export function buildProgram(output: string): void {
  mkdirSync(path.dirname(output), { recursive: true });
  const fresh = `${output}.${process.pid}`;
  const flags = output === CHECKED_PLUGIN ? CHECKED : RELEASE;
  const ofPlugin = readdirSync(SOURCES).filter((name) => name.endsWith('.c') && name !== POD_ENDS_MAIN);
  const files = (output === POD_ENDS ? POD_ENDS_SOURCES : ofPlugin).map((name) => path.join(SOURCES, name));
  const args = [...COMMON, ...flags, '-o', fresh, ...files, ...(output === POD_ENDS ? [] : ['-ljansson'])];
  const { status, error } = spawnSync('gcc', args, { stdio: 'inherit' });
  if (status !== 0) throw new Error(`gcc failed on ${SOURCES}: ${error?.message ?? `exit status ${status}`}`);
  renameSync(fresh, output);
}

/** Builds a program if it is missing or older than a source. */
export function ensureProgram(output = PLUGIN): string {
  const built = statSync(output, { throwIfNoEntry: false })?.mtimeMs ?? 0;
  const sources = [...readdirSync(SOURCES).map((name) => path.join(SOURCES, name)), fileURLToPath(import.meta.url)];
  if (sources.some((source) => statSync(source).mtimeMs > built)) buildProgram(output);
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
  buildProgram(PLUGIN);
  buildProgram(POD_ENDS);
  writePackages();
}
