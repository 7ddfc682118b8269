/**
 * Paths that a program used → the paths and directories that a policy names. Pure.
 *
 * A policy has no wildcards, so what changes from run to run (process ids, temporary names) becomes its directory, with a note for whoever
 * reviews it. Invariants: every path seen is covered; nothing is widened to `/` or to a directory of PRECIOUS; what is run is never widened.
 */

export interface SeenPath {
  path: string;
  /** Operations that were done to it, sorted. */
  operations: readonly string[];
  times: number;
  /** Programs that did it. */
  programs: ReadonlySet<string>;
}

export interface PathGroup {
  /** Exactly one is said. */
  path?: string;
  directory?: string;
  recursive?: boolean;
  suffix?: string;
  operations: readonly string[];
  times: number;
  programs: ReadonlySet<string>;
  /** Why it is wider than what was seen; empty when it is not. */
  note: string;
}

/** Directories in which every file counts: never allowed as a whole because some of it was used. */
const PRECIOUS: ReadonlySet<string> = new Set([
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
/** Files of one directory that are read one by one in a policy; more are named as their directory. */
const MANY_READ = 12;
/** Directories whose files are all made anew: a file written there is one of many. */
const TEMPORARY = /^(\/tmp|\/var\/tmp|\/dev\/shm|\/run\/user\/\d+|\/var\/cache\/[^/]+|\/var\/log\/[^/]+)(\/|$)/;

const UUID = /[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}/i;
const HEX = /(^|[-_.])(?=[0-9a-f]*\d)(?=[0-9a-f]*[a-f])[0-9a-f]{8,}([-_.]|$)/i;
/** Digits that are more than a version: a process id, a time. */
const NUMBER = /(^|[-_.])\d{3,}([-_.]|$)/;
/** mkstemp and mkdtemp: six or more letters, of two kinds at least, at the end of the name or before its ending. */
const MKSTEMP = /(^|[-_.]|tmp)(?=[A-Za-z0-9]*[a-z])(?=[A-Za-z0-9]*[A-Z0-9])[A-Za-z0-9]{6,12}(\.[a-z]{1,5})?$/;

/** `python3`, `node18.js`: a word and its version. */
const VERSIONED = /^[a-z]+\d{1,2}(\.[a-z]+)?$/;

/** Whether a name would be another one at the next run. Outside of temporary directories only what cannot be chance counts. */
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

/** The directory that stands for a path with a name of chance in it; null when there is none, or none may be named. */
export function widened(path: string): Widened | null {
  const parts = path.slice(1).split('/');
  const temporary = TEMPORARY.test(path);
  const at = parts.findIndex((part, index) => index > 0 && isRandomName(part, temporary));
  if (at < 0) return null;
  const directory = joined(parts.slice(0, at));
  if (PRECIOUS.has(directory)) return null;
  const recursive = at < parts.length - 1;
  return { directory, recursive, note: `${parts[at]} looks like a name of chance` };
}

/** That a policy takes. */
const MAX_SUFFIX_BYTES = 63;
const PROCESS = /^\/proc\/\d+(\/.*)?$/;

/** Files of processes: /proc/<pid>/… has another name at each run. Reading takes the whole tree, changing only names that end so. */
function ofProcess(seen: SeenPath): PathGroup | null {
  if (!PROCESS.test(seen.path)) return null;
  const { operations, times, programs } = seen;
  const reads = operations.every((operation) => operation === 'read');
  if (reads) {
    const note = 'files of processes: the number differs each time, and a policy cannot name a part of /proc';
    return { directory: '/proc', recursive: true, operations, times, programs, note };
  }
  const suffix = seen.path.slice(seen.path.lastIndexOf('/') + 1);
  if (/^\d+$/.test(suffix) || Buffer.byteLength(suffix) > MAX_SUFFIX_BYTES) return null;
  const note = `${seen.path}: the number differs each time; REVIEW: any file whose name ends so is allowed`;
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

/** Many files that are only read, in one directory → the directory. */
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
    if (files.length < MANY_READ || PRECIOUS.has(directory)) continue;
    for (const file of files) taken.add(file);
    directories.push({
      directory,
      operations: ['read'],
      times: files.reduce((sum, { times }) => sum + times, 0),
      programs: new Set(files.flatMap(({ programs }) => [...programs])),
      note: `${files.length} files of it were read`,
    });
  }
  return [...groups.filter((group) => !taken.has(group)), ...directories];
}

/** @param widen false for what is run: each program is named */
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
