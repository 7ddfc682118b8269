/**
 * Turns observed paths into the paths and directories of a policy. Pure.
 *
 * Policies have no wildcards, so variable names (process ids, temporary files) are replaced by
 * their directory, with a note for the reviewer. Invariants: every observed path is covered;
 * nothing is widened to `/` or to a directory in PROTECTED; executed programs are never widened.
 */

export interface SeenPath {
  path: string;
  /** Sorted. */
  operations: readonly string[];
  times: number;
  /** Programs that used it. */
  programs: ReadonlySet<string>;
}

export interface PathGroup {
  /** Exactly one of path, directory and suffix is set. */
  path?: string;
  directory?: string;
  recursive?: boolean;
  suffix?: string;
  operations: readonly string[];
  times: number;
  programs: ReadonlySet<string>;
  /** Why it is wider than what was observed; empty if it is not. */
  note: string;
}

/** Directories that are never allowed as a whole, because every file in them matters. */
const PROTECTED: ReadonlySet<string> = new Set([
  '/',
  '/bin',
  '/boot',
  '/dev',
  '/etc',
  '/home',
  '/lib',
  '/lib64',
  '/opt',
  '/proc',
  '/proc/sys',
  '/root',
  '/run',
  '/run/secrets',
  '/sbin',
  '/srv',
  '/sys',
  '/usr',
  '/usr/bin',
  '/usr/local/bin',
  '/usr/sbin',
  '/var',
  '/var/run',
]);
/** From this many read files on, their directory is named instead. */
const MANY_READ = 12;
/** Directories with generated file names. */
const TEMPORARY = /^(\/tmp|\/var\/tmp|\/dev\/shm|\/run\/user\/\d+|\/var\/cache\/[^/]+|\/var\/log\/[^/]+)(\/|$)/;

const UUID = /[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}/i;
const HEX = /(^|[-_.])(?=[0-9a-f]*\d)(?=[0-9a-f]*[a-f])[0-9a-f]{8,}([-_.]|$)/i;
/** More digits than a version has: a process id or a time. */
const NUMBER = /(^|[-_.])\d{3,}([-_.]|$)/;
/** mkstemp and mkdtemp: six or more mixed characters at the end or before the extension. */
const MKSTEMP = /(^|[-_.]|tmp)(?=[A-Za-z0-9]*[a-z])(?=[A-Za-z0-9]*[A-Z0-9])[A-Za-z0-9]{6,12}(\.[a-z]{1,5})?$/;

/** `python3`, `node18.js`: a word with a version. */
const VERSIONED = /^[a-z]+\d{1,2}(\.[a-z]+)?$/;

/**
 * Whether a name probably differs in the next run. Outside temporary directories, only unambiguous
 * patterns count.
 */
export function isRandomName(name: string, temporary: boolean): boolean {
  if (UUID.test(name) || HEX.test(name)) return true;
  return temporary && (NUMBER.test(name) || (MKSTEMP.test(name) && !VERSIONED.test(name)));
}

const joined = (parts: readonly string[]) => `/${parts.join('/')}`;

interface Widened {
  directory: string;
  recursive: boolean;
  note: string;
}

/**
 * The directory that covers a path with a random component; null if there is none, or if it must
 * not be widened.
 */
export function widened(path: string): Widened | null {
  const parts = path.slice(1).split('/');
  const temporary = TEMPORARY.test(path);
  const at = parts.findIndex((part, index) => index > 0 && isRandomName(part, temporary));
  if (at < 0) return null;
  const directory = joined(parts.slice(0, at));
  if (PROTECTED.has(directory)) return null;
  const recursive = at < parts.length - 1;
  return { directory, recursive, note: `${parts[at]} looks like a random name` };
}

/** Longest suffix in a policy. */
const MAX_SUFFIX_BYTES = 63;
const PROCESS = /^\/proc\/\d+(\/.*)?$/;

/**
 * Files in /proc/<pid>, which differ in each run. Reads are widened to /proc; writes only to a
 * suffix.
 */
function ofProcess(seen: SeenPath): PathGroup | null {
  if (!PROCESS.test(seen.path)) return null;
  const { operations, times, programs } = seen;
  const reads = operations.every((operation) => operation === 'read');
  if (reads) {
    const note = 'files of processes: the pid differs in each run, and a policy cannot name a part of /proc';
    return { directory: '/proc', recursive: true, operations, times, programs, note };
  }
  const suffix = seen.path.slice(seen.path.lastIndexOf('/') + 1);
  if (/^\d+$/.test(suffix) || Buffer.byteLength(suffix) > MAX_SUFFIX_BYTES) return null;
  const note = `${seen.path}: the pid differs in each run; REVIEW: all files with this suffix are allowed`;
  return { suffix, operations, times, programs, note };
}

const parentOf = (path: string) => path.slice(0, Math.max(1, path.lastIndexOf('/')));

function merge(groups: readonly PathGroup[]): PathGroup[] {
  const merged = new Map<string, PathGroup>();
  for (const group of groups) {
    const { path, directory, suffix } = group;
    const key = [path ?? '', directory ?? '', suffix ?? '', group.operations.join(',')].join('\n');
    const known = merged.get(key);
    if (!known) {
      merged.set(key, group);
      continue;
    }
    merged.set(key, {
      ...known,
      ...(known.recursive || group.recursive ? { recursive: true } : {}),
      times: known.times + group.times,
      programs: new Set([...known.programs, ...group.programs]),
    });
  }
  return [...merged.values()];
}

/** Replaces many read files of one directory by the directory. */
function gather(groups: readonly PathGroup[]): PathGroup[] {
  const byParent = new Map<string, PathGroup[]>();
  for (const group of groups) {
    if (group.path === undefined || group.operations.join() !== 'read') continue;
    const parent = parentOf(group.path);
    byParent.set(parent, [...(byParent.get(parent) ?? []), group]);
  }
  const taken = new Set<PathGroup>();
  const directories: PathGroup[] = [];
  for (const [directory, files] of byParent) {
    if (files.length < MANY_READ || PROTECTED.has(directory)) continue;
    for (const file of files) taken.add(file);
    directories.push({
      directory,
      operations: ['read'],
      times: files.reduce((sum, { times }) => sum + times, 0),
      programs: new Set(files.flatMap(({ programs }) => [...programs])),
      note: `${files.length} files in it were read`,
    });
  }
  return [...groups.filter((group) => !taken.has(group)), ...directories];
}

/** @param widen false for executed programs, which are all named */
export function generalise(seen: readonly SeenPath[], widen: boolean): PathGroup[] {
  const exact = ({ path, operations, times, programs }: SeenPath): PathGroup => ({
    path,
    operations,
    times,
    programs,
    note: '',
  });
  if (!widen) return merge(seen.map(exact));
  const groups = seen.map((one): PathGroup => {
    const process = ofProcess(one);
    if (process) return process;
    const wide = widened(one.path);
    if (!wide) return exact(one);
    const { operations, times, programs } = one;
    const { directory, recursive, note } = wide;
    return { directory, ...(recursive ? { recursive } : {}), operations, times, programs, note };
  });
  return gather(merge(groups));
}
