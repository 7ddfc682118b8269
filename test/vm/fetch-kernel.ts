/**
 * Fetches one kernel of the distribution and unpacks it into `.cache/kernels/<name>`. Needs apt-get, dpkg-deb and depmod.
 *
 * A kernel of other suites comes from the mirrors that the machine's apt has for its own release, by package lists that are made and
 * thrown away here: neither the machine's lists nor its sources change, and apt checks signatures with the same keys.
 * An unpacked kernel appears whole or not at all.
 */
import { execFileSync } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import path from 'node:path';
import { DEFAULT_KERNEL, findKernel, KERNELS, type KernelEntry, kernelsDir } from './kernels.ts';

/** Of one command: 90 MB from a slow mirror. apt itself gives up on one that says nothing. */
const FETCH_TIMEOUT_MS = 900_000;
/** Of a kernel that comes in parts, those that a boot takes: meta package, image, modules. */
const PART = /^\s*Depends: (linux-(?:image|binary|modules|base)-\d\S*)$/gm;
const SECURITY = '-security';

function run(command: string, args: readonly string[], cwd = kernelsDir): string {
  return execFileSync(command, args, {
    cwd,
    encoding: 'utf8',
    timeout: FETCH_TIMEOUT_MS,
    stdio: ['ignore', 'pipe', 'inherit'],
  });
}

/** A package list of the machine's apt: where it comes from, and whose key signs it. */
interface Source {
  readonly uri: string;
  readonly codename: string;
  readonly signedBy: string;
}

/** Lines of a sources.list for these suites, from the mirrors that `sources` has for the release `own`. */
export function sourceLines(suites: readonly string[], sources: readonly Source[], own: string): string[] {
  return suites.map((suite) => {
    const like = suite.endsWith(SECURITY) ? `${own}${SECURITY}` : own;
    const source = sources.find(({ codename }) => codename === like);
    if (source === undefined) throw new Error(`apt has no source for ${like}, whose mirror would have ${suite}`);
    const options = source.signedBy.startsWith('/') ? `[signed-by=${source.signedBy}] ` : '';
    return `deb ${options}${source.uri} ${suite} main`;
  });
}

function machineSources(): Source[] {
  const format = '$(REPO_URI) $(CODENAME) $(SIGNED_BY)';
  const lines = run('apt-get', ['indextargets', '--format', format, 'Created-By: Packages']).trim().split('\n');
  return lines.map((line) => {
    const [uri = '', codename = '', signedBy = ''] = line.split(' ');
    return { uri, codename, signedBy };
  });
}

/** Options of apt with which it knows these suites and nothing else; all that it writes is below `dir`. */
function aptOf(suites: readonly string[], dir: string): string[] {
  const own = /^VERSION_CODENAME=(\S+)$/m.exec(readFileSync('/etc/os-release', 'utf8'))?.[1] ?? '';
  for (const name of ['lists/partial', 'cache/archives/partial']) mkdirSync(path.join(dir, name), { recursive: true });
  const list = path.join(dir, 'sources.list');
  writeFileSync(
    list,
    sourceLines(suites, machineSources(), own)
      .map((line) => `${line}\n`)
      .join(''),
  );
  const settings = {
    'Dir::Etc::SourceList': list,
    'Dir::Etc::SourceParts': '/dev/null',
    'Dir::Etc::PreferencesParts': '/dev/null',
    'Dir::State::Lists': path.join(dir, 'lists'),
    'Dir::Cache': path.join(dir, 'cache'),
    'Acquire::Languages': 'none',
  };
  return Object.entries(settings).flatMap(([name, value]) => ['-o', `${name}=${value}`]);
}

/** The parts of the kernel that the package is, or depends on. */
function parts(name: string, apt: readonly string[]): string[] {
  const found = new Set([name]);
  for (const one of found)
    for (const [, part = ''] of run('apt-cache', [...apt, 'depends', '--important', one]).matchAll(PART))
      found.add(part);
  // A meta package has nothing to unpack.
  return [...found].filter((one) => one !== name || found.size === 1 || /-\d/.test(name));
}

/** Fetches and unpacks; which package of an image it was. */
export function fetchKernel(entry: KernelEntry): string {
  mkdirSync(kernelsDir, { recursive: true });
  const dir = mkdtempSync(path.join(kernelsDir, 'partial-'));
  try {
    const user = ['-o', 'APT::Sandbox::User=root'];
    const apt = entry.suites === undefined ? user : [...user, ...aptOf(entry.suites, path.join(dir, 'apt'))];
    if (entry.suites !== undefined) run('apt-get', [...apt, 'update', '-qq']);
    const names = parts(entry.package, apt);
    const debs = path.join(dir, 'debs');
    mkdirSync(debs);
    run('apt-get', [...apt, 'download', '-qq', ...names], debs);
    const root = path.join(dir, 'root');
    for (const deb of readdirSync(debs)) run('dpkg-deb', ['-x', path.join(debs, deb), root]);
    const usr = path.join(root, 'usr');
    // Up to 6.1 the modules are in /lib.
    const lib = path.join(root, 'lib/modules');
    if (existsSync(lib)) {
      mkdirSync(path.join(usr, 'lib'), { recursive: true });
      renameSync(lib, path.join(usr, 'lib/modules'));
    }
    for (const release of readdirSync(path.join(usr, 'lib/modules'))) run('depmod', ['-b', usr, release]);
    renameSync(root, path.join(kernelsDir, entry.name));
    return names.find((name) => /^linux-image-\d/.test(name)) ?? entry.package;
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
}

/** For a kernel of other suites, which scripts/setup leaves alone. What cannot be fetched is told on stderr, and missing afterwards. */
export function fetchMissing(name = DEFAULT_KERNEL): void {
  const entry = KERNELS.find((one) => one.name === name);
  if (entry?.suites === undefined || entry.arch !== process.arch || findKernel(entry.name) !== null) return;
  tryToFetch(entry);
}

/** False, and said on stderr, when it cannot be fetched. */
export function tryToFetch(entry: KernelEntry): boolean {
  try {
    process.stderr.write(`setup: kernel ${entry.name}: ${fetchKernel(entry)}\n`);
    return true;
  } catch (error) {
    process.stderr.write(`setup: kernel ${entry.name} (${entry.package}) could not be fetched: ${String(error)}\n`);
    return false;
  }
}
