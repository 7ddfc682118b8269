/**
 * Reads facts of one process from /proc. The process may end at any moment and its pid may be
 * reused: the caller keeps only processes that are still in the pod's cgroup afterwards.
 *
 * Since Linux 4.17, reading `cmdline` touches only anonymous memory, so a pod cannot block it with
 * a mapping. A process can overwrite its arguments. Limits: MAX_ARGS, MAX_ARGS_BYTES,
 * MAX_DESCRIPTORS.
 */
import { closeSync, opendirSync, openSync, readlinkSync, readSync } from 'node:fs';

const MAX_ARGS = 64;
const MAX_ARGS_BYTES = 2048;
/** Limit of descriptors of one process that are checked for sockets. */
const MAX_DESCRIPTORS = 512;
const MAX_PATH = 4096;

export interface ProcessFacts {
  pid: number;
  parentPid: number;
  /** Start since boot, in ticks of 10 ms. */
  startTicks: number;
  uid: number;
  comm: string;
  executable: string;
  args: string[];
  argsCut: boolean;
  /** Name of its network namespace; empty: not readable. */
  netns: string;
  /** Inodes of its sockets. */
  sockets: number[];
}

/** Errors of a process that ended or denies access. */
const GONE = ['ENOENT', 'ESRCH', 'EACCES', 'EPERM'];

function orNull<T>(read: () => T): T | null {
  try {
    return read();
  } catch (error) {
    if (GONE.includes((error as NodeJS.ErrnoException).code ?? '')) return null;
    throw error;
  }
}

/** The first bytes of a file of /proc; null: not readable. */
export function readSome(file: string, bytes: number): Buffer | null {
  return orNull(() => {
    const fd = openSync(file, 'r');
    try {
      const buffer = Buffer.alloc(bytes);
      let length = 0;
      for (let read = -1; read !== 0 && length < bytes; length += read)
        read = readSync(fd, buffer, length, bytes - length, null);
      return buffer.subarray(0, length);
    } finally {
      closeSync(fd);
    }
  });
}

function argsOf(pid: number): Pick<ProcessFacts, 'args' | 'argsCut'> {
  const bytes = readSome(`/proc/${pid}/cmdline`, MAX_ARGS_BYTES + 1) ?? Buffer.alloc(0);
  const text = bytes.subarray(0, MAX_ARGS_BYTES).toString('utf8').replace(/\0+$/, '');
  const args = text === '' ? [] : text.split('\0');
  return { args: args.slice(0, MAX_ARGS), argsCut: bytes.length > MAX_ARGS_BYTES || args.length > MAX_ARGS };
}

/** The first names in a directory. A process can have millions of descriptors: the others are not read. */
export function namesIn(dir: string, most: number): string[] {
  const names: string[] = [];
  orNull(() => {
    const open = opendirSync(dir);
    try {
      while (names.length < most) {
        const entry = open.readSync();
        if (entry === null) break;
        names.push(entry.name);
      }
    } finally {
      open.closeSync();
    }
  });
  return names;
}

function socketsOf(pid: number): number[] {
  const dir = `/proc/${pid}/fd`;
  return namesIn(dir, MAX_DESCRIPTORS).flatMap((name) => {
    const match = /^socket:\[(\d+)\]$/.exec(orNull(() => readlinkSync(`${dir}/${name}`)) ?? '');
    return match ? [Number(match[1])] : [];
  });
}

/** null: the process ended. */
export function readProcess(pid: number, wantsArgs: boolean): ProcessFacts | null {
  const stat = readSome(`/proc/${pid}/stat`, MAX_PATH)?.toString('utf8');
  const status = readSome(`/proc/${pid}/status`, MAX_PATH)?.toString('utf8');
  if (!stat || !status) return null;
  // comm may contain blanks and parentheses, so fields are counted from the last closing one.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return {
    pid,
    parentPid: Number(fields[1]),
    startTicks: Number(fields[19]),
    uid: Number(/^Uid:\s+\d+\s+(\d+)/m.exec(status)?.[1] ?? 0),
    comm: stat.slice(stat.indexOf('(') + 1, stat.lastIndexOf(')')),
    executable: orNull(() => readlinkSync(`/proc/${pid}/exe`)) ?? '',
    ...(wantsArgs ? argsOf(pid) : { args: [], argsCut: false }),
    netns: orNull(() => readlinkSync(`/proc/${pid}/ns/net`)) ?? '',
    sockets: socketsOf(pid),
  };
}
