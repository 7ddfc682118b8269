/**
 * Errors of the native binding: one typed error for whatever the kernel refused, and one for a missing addon.
 *
 * Place in the path: native code throws (operation, errno, detail, verifier log) → here → whoever called the binding.
 * Invariants: `code` is stable and follows from the operation alone; `errnoName` is the kernel's own word for the
 * reason; `hint` says what an operator can do and is null when that is not known. Wrong argument types are TypeErrors.
 */
import { constants } from 'node:os';

export type BpfErrorCode =
  /** An object file could not be opened or prepared. */
  | 'BPF_OPEN'
  /** The kernel or its verifier refused a program or a map of an object; `verifierLog` may say why. */
  | 'BPF_LOAD'
  /** A map operation, or making or opening a map. */
  | 'BPF_MAP'
  /** A program: opening, info, test run. */
  | 'BPF_PROGRAM'
  /** Attaching to tcx or clsact, asking what is attached, detaching. */
  | 'BPF_ATTACH'
  | 'BPF_LINK'
  /** Pinning, or opening a pin. */
  | 'BPF_PIN'
  | 'BPF_RING'
  | 'NETLINK'
  /** A system call that is none of the above. */
  | 'SYSTEM'
  /** The object was closed before. */
  | 'BPF_CLOSED';

/** First match wins; an operation is `<area>.<verb>`. */
const CODE_OF: readonly (readonly [RegExp, BpfErrorCode])[] = [
  [/^closed$/, 'BPF_CLOSED'],
  [/\.(pin|openPinned)$/, 'BPF_PIN'],
  [/^object\.load$/, 'BPF_LOAD'],
  [/^object\./, 'BPF_OPEN'],
  [/^map\./, 'BPF_MAP'],
  [/^program\./, 'BPF_PROGRAM'],
  [/^(tcx|clsact)\./, 'BPF_ATTACH'],
  [/^link\./, 'BPF_LINK'],
  [/^ring\./, 'BPF_RING'],
  [/^netlink\./, 'NETLINK'],
];

/** Linux gives this to user space although no libc names it. */
const ENOTSUPP = 524;

const ERRNO_NAMES: ReadonlyMap<number, string> = new Map([
  [ENOTSUPP, 'ENOTSUPP'],
  ...Object.entries(constants.errno)
    .filter(([name]) => name !== 'EWOULDBLOCK' && name !== 'ENOTSUP')
    .map(([name, value]): [number, string] => [value, name]),
]);

/** `EPERM` for 1; `E<number>` for one that has no name. */
export function errnoName(errno: number): string {
  return ERRNO_NAMES.get(errno) ?? `E${errno}`;
}

function codeOf(operation: string): BpfErrorCode {
  return CODE_OF.find(([pattern]) => pattern.test(operation))?.[1] ?? 'SYSTEM';
}

function permissionHint(code: BpfErrorCode): string {
  if (code === 'NETLINK') return 'needs CAP_NET_ADMIN';
  if (code === 'SYSTEM') return 'needs CAP_SYS_ADMIN';
  if (code === 'BPF_LINK')
    return 'needs CAP_BPF and CAP_NET_ADMIN, or the link no longer runs the program that was expected';
  if (code === 'BPF_PIN') return 'needs CAP_BPF (a pin: also CAP_SYS_ADMIN), and the path must lie in a bpffs';
  return 'needs CAP_BPF and CAP_NET_ADMIN (LSM and tracing programs: also CAP_PERFMON), or the kernel is locked down';
}

/** What an operator can do about it; null when that is not known. */
export function hintFor(code: BpfErrorCode, errno: string): string | null {
  if (code === 'BPF_CLOSED') return null;
  switch (errno) {
    case 'EPERM':
    case 'EACCES':
      return code === 'BPF_LOAD' && errno === 'EACCES' ? 'the verifier refused the program' : permissionHint(code);
    case 'ENOSPC':
      return code === 'BPF_LOAD' ? 'the verifier log did not fit' : 'the map has no room for another entry';
    case 'E2BIG':
      return code === 'BPF_MAP' ? 'the map is full' : 'the program or its arguments are too large for this kernel';
    case 'ENOMEM':
      return 'out of memory: lower the map sizes, or raise the memory limit of the cgroup';
    case 'ENODEV':
      return 'the interface is gone';
    case 'EEXIST':
      return code === 'BPF_PIN' ? 'the path is taken' : null;
    case 'EINVAL':
      return code === 'BPF_ATTACH' ? 'the kernel may lack tcx (6.6) or clsact' : null;
    case 'ESTALE':
      return 'somebody else changed the programs at this hook in the meantime';
    default:
      return null;
  }
}

export interface BpfErrorInit {
  readonly operation: string;
  /** Positive. */
  readonly errno: number;
  readonly detail?: string;
  readonly verifierLog?: string | null;
}

/** What the kernel refused. */
export class BpfError extends Error {
  readonly code: BpfErrorCode;
  /** For example `map.set`. */
  readonly operation: string;
  readonly errno: number;
  /** For example `EPERM`. */
  readonly errnoName: string;
  /** What was being worked on: a name, a path; may be empty. */
  readonly detail: string;
  readonly hint: string | null;
  /** The last 256 KiB of what the verifier said about the program that failed. */
  readonly verifierLog: string | null;

  constructor(init: BpfErrorInit) {
    const { operation, errno, detail = '', verifierLog = null } = init;
    const code = codeOf(operation);
    const name = errnoName(errno);
    const hint = hintFor(code, name);
    const about = detail === '' ? '' : ` (${detail})`;
    super(code === 'BPF_CLOSED' ? detail : `${operation}: ${name}${about}${hint === null ? '' : `: ${hint}`}`);
    this.name = 'BpfError';
    this.code = code;
    this.operation = operation;
    this.errno = errno;
    this.errnoName = name;
    this.detail = detail;
    this.hint = hint;
    this.verifierLog = verifierLog;
  }
}

/** The addon is not there or cannot be loaded; `cause` is the loader's error. */
export class NativeMissingError extends Error {
  readonly code = 'NATIVE_MISSING';
  readonly path: string;

  constructor(path: string, cause: unknown) {
    const reason = cause instanceof Error ? cause.message.split('\n', 1)[0] : String(cause);
    super(
      `the native addon ${path} cannot be loaded (${reason}): build it with \`npx nx run @bailiff/bpf:build:native\` ` +
        '(needs a C++ compiler, make, python3, pkg-config and libbpf-dev; scripts/setup installs them), ' +
        'or set BAILIFF_NATIVE to where it is',
      { cause },
    );
    this.name = 'NativeMissingError';
    this.path = path;
  }
}
