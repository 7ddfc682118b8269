/**
 * Errors of the native binding: one typed error for everything that the kernel refuses, and one for
 * a missing addon.
 *
 * Place in the data path: native code throws (operation, errno, detail, verifier log) → here →
 * caller of the binding.
 * Invariants: `code` is stable and follows from the operation alone. `errnoName` is the kernel's
 * reason. `hint` says what an operator can do, and is null if that is unknown. Wrong argument types
 * are TypeErrors.
 */
import { constants } from 'node:os';

export type BpfErrorCode =
  /** An object file could not be opened or prepared. */
  | 'BPF_OPEN'
  /**
   * The kernel or its verifier refused a program or a map of an object; `verifierLog` may give the
   * reason.
   */
  | 'BPF_LOAD'
  /** A map operation, or creating or opening a map. */
  | 'BPF_MAP'
  /** A program: opening, info, test run. */
  | 'BPF_PROGRAM'
  /** Attaching to tcx or clsact, querying attached programs, detaching. */
  | 'BPF_ATTACH'
  /** Updating, detaching or querying a link. */
  | 'BPF_LINK'
  /** Pinning, or opening a pin. */
  | 'BPF_PIN'
  /** The ring buffer. */
  | 'BPF_RING'
  /** A netlink request, or its socket. */
  | 'NETLINK'
  /** Another system call. */
  | 'SYSTEM'
  /** The object is closed. */
  | 'BPF_CLOSED';

/** The first match applies; an operation is `<area>.<verb>`. */
const CODE_OF: readonly (readonly [RegExp, BpfErrorCode])[] = [
  [/^closed$/, 'BPF_CLOSED'],
  [/\.(pin|openPinned)$/, 'BPF_PIN'],
  [/^object\.load$/, 'BPF_LOAD'],
  [/^object\./, 'BPF_OPEN'],
  [/^map\./, 'BPF_MAP'],
  [/^program\./, 'BPF_PROGRAM'],
  [/^(tcx|clsact|hook)\./, 'BPF_ATTACH'],
  [/^link\./, 'BPF_LINK'],
  [/^ring\./, 'BPF_RING'],
  [/^netlink\./, 'NETLINK'],
];

/** Linux returns this to user space, although no libc has a name for it. */
const ENOTSUPP = 524;

const ERRNO_NAMES: ReadonlyMap<number, string> = new Map([
  [ENOTSUPP, 'ENOTSUPP'],
  ...Object.entries(constants.errno)
    .filter(([name]) => name !== 'EWOULDBLOCK' && name !== 'ENOTSUP')
    .map(([name, value]): [number, string] => [value, name]),
]);

/** `EPERM` for 1; `E<number>` for one without a name. */
export function errnoName(errno: number): string {
  return ERRNO_NAMES.get(errno) ?? `E${errno}`;
}

function codeOf(operation: string): BpfErrorCode {
  return CODE_OF.find(([pattern]) => pattern.test(operation))?.[1] ?? 'SYSTEM';
}

const PERMISSION_HINT: Readonly<Partial<Record<BpfErrorCode, string>>> = {
  NETLINK: 'needs CAP_NET_ADMIN',
  SYSTEM: 'needs CAP_SYS_ADMIN',
  BPF_LINK: 'needs CAP_BPF and CAP_NET_ADMIN; on an update with an expected program: another one runs',
  BPF_PIN: 'needs CAP_BPF, and a path in a bpffs that this process may write to',
};
const PERMISSION_HINT_ELSE =
  'needs CAP_BPF and CAP_NET_ADMIN (LSM and tracing programs: also CAP_PERFMON), and a kernel that permits it';

/** By code and errno; `*` is any code. */
const HINTS: Readonly<Record<string, string>> = {
  'BPF_LOAD EACCES': 'the verifier refused the program: see verifierLog',
  'BPF_LOAD EINVAL': 'the verifier refused the program, or a pinned map has another shape: see verifierLog',
  'BPF_LOAD E2BIG': 'the program is too complex for the verifier of this kernel',
  'BPF_LOAD ENOSPC': 'the verifier log did not fit its buffer',
  'BPF_MAP E2BIG': 'the map is full',
  'BPF_MAP ENOSPC': 'the map is full',
  'BPF_PIN EEXIST': 'the path is taken',
  'BPF_ATTACH EEXIST': 'the program or its filter is attached there already',
  'BPF_ATTACH EINVAL': 'the kernel may lack tcx (6.6), or the program is not made for this hook',
  'BPF_ATTACH EOPNOTSUPP':
    'an ingress qdisc, as of the CNI plugin bandwidth, has no egress side: use a clsact qdisc, or Linux 6.6',
  'BPF_ATTACH ESTALE': 'another process changed the programs at this hook in the meantime',
  'BPF_LINK EEXIST': 'the program is attached at this hook already',
  'BPF_LINK ENOLINK': 'the interface is gone',
  '* ENODEV': 'the interface is gone',
  '* ENOMEM': 'out of memory: lower the map sizes, or raise the memory limit of the cgroup',
};

/** What an operator can do about it; null if unknown. */
export function hintFor(code: BpfErrorCode, errno: string): string | null {
  const known = HINTS[`${code} ${errno}`] ?? HINTS[`* ${errno}`];
  if (known !== undefined) return known;
  if (errno === 'EPERM' || errno === 'EACCES') return PERMISSION_HINT[code] ?? PERMISSION_HINT_ELSE;
  return null;
}

const LSM_REFUSED =
  'the kernel refuses it to root (CAP_BPF and CAP_PERFMON): is bpf in the lsm= list that it was booted with, or is it locked down?';

/**
 * The hint for the probe of LSM programs. A process that can load other programs has the
 * capabilities, so the kernel's configuration is the cause.
 */
export function lsmHintFor(errno: string): string | null {
  return errno === 'EPERM' || errno === 'EACCES' ? LSM_REFUSED : hintFor('BPF_LOAD', errno);
}

const REASON_CHARACTERS = 200;

/** Last line of the verifier log, which has the reason; empty without a log. */
export function verifierReason(log: string): string {
  const lines = log
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line !== '' && !line.startsWith('processed '));
  return (lines.at(-1) ?? '').slice(0, REASON_CHARACTERS);
}

export interface BpfErrorInit {
  readonly operation: string;
  /** Positive. */
  readonly errno: number;
  readonly detail?: string;
  readonly verifierLog?: string | null;
}

/** An operation that the kernel refused. */
export class BpfError extends Error {
  readonly code: BpfErrorCode;
  /** For example `map.set`. */
  readonly operation: string;
  readonly errno: number;
  /** For example `EPERM`. */
  readonly errnoName: string;
  /** Object of the operation: a name, a path; may be empty. */
  readonly detail: string;
  readonly hint: string | null;
  /** Last 256 KiB of the verifier log of the failed program. */
  readonly verifierLog: string | null;

  constructor(init: BpfErrorInit) {
    const { operation, errno, detail = '', verifierLog = null } = init;
    const code = codeOf(operation);
    const name = errnoName(errno);
    const hint = hintFor(code, name);
    const about = detail === '' ? '' : ` (${detail})`;
    const reason = verifierReason(verifierLog ?? '');
    const rest = [hint ?? '', reason && `the verifier: ${reason}`].filter(Boolean).map((text) => `: ${text}`);
    super(code === 'BPF_CLOSED' ? detail : `${operation}: ${name}${about}${rest.join('')}`);
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

/** The addon is missing or cannot be loaded; `cause` is the loader's error. */
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
