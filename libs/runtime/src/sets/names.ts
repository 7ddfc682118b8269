/**
 * Names ↔ numbers of the runtime ABI (bpf/runtime/layout.h): operations, values, actions, postures, socket words.
 *
 * Invariants: a list's index is the kernel's number where the ABI is ours (append only); numbers of Linux's own (families, types,
 * protocols) are written out. layout.test.ts keeps the lists equal to the header.
 */
import { CAPABILITIES, type PostureClass } from '@bailiff/policy';

/** enum op: index = number. */
export const OPERATIONS = [
  'execute',
  'map-execute',
  'read',
  'write',
  'create',
  'unlink',
  'rename',
  'link',
  'symlink',
  'mkdir',
  'rmdir',
  'mknod',
  'chmod',
  'chown',
  'truncate',
  'setxattr',
  'chroot',
  'mount-point',
  'unix-connect',
  'unix-send',
  'unix-bind',
  'connect',
  'send',
  'bind',
  'listen',
  'socket',
  'capability',
  'mount',
  'kernel',
  'drift',
] as const;
export type OperationName = (typeof OPERATIONS)[number];

/** enum mount_value */
export const MOUNT_VALUES = ['new', 'bind', 'move', 'remount', 'umount', 'pivot', 'propagation'] as const;
export type MountValue = (typeof MOUNT_VALUES)[number];

/** enum kernel_value */
export const KERNEL_VALUES = [
  'ptrace',
  'traceme',
  'user-namespace',
  'bpf',
  'module',
  'kexec',
  'firmware',
  'perf-event',
  'signal',
  'host-mounts',
  'module-request',
] as const;

/** enum drift_value */
export const DRIFT_VALUES = ['layer', 'volume'] as const;

/** enum rule_action: index = number, and strength among the denials. */
export const ACTIONS = ['allow-audit', 'allow', 'audit', 'block', 'kill'] as const;
export type RuleAction = (typeof ACTIONS)[number];
/** enum path_match */
export const PATH_MATCHES = ['exact', 'directory', 'recursive', 'ancestor'] as const;
export type PathMatch = (typeof PATH_MATCHES)[number];
/** enum path_kind */
export const PATH_KINDS = ['prefix', 'suffix', 'abstract'] as const;
export type PathKind = (typeof PATH_KINDS)[number];

/** The AF_ numbers of socket.h. */
export const FAMILY_NUMBERS: Readonly<Record<string, number>> = {
  unix: 1,
  inet: 2,
  inet6: 10,
  netlink: 16,
  packet: 17,
  can: 29,
  tipc: 30,
  bluetooth: 31,
  alg: 38,
  nfc: 39,
  vsock: 40,
  kcm: 41,
  qipcrtr: 42,
  smc: 43,
  xdp: 44,
  mctp: 45,
};
/** The SOCK_ numbers (net.h). */
export const TYPE_NUMBERS: Readonly<Record<string, number>> = {
  stream: 1,
  dgram: 2,
  raw: 3,
  rdm: 4,
  seqpacket: 5,
  packet: 10,
};
/** The IPPROTO_ numbers (in.h). */
export const PROTOCOL_NUMBERS: Readonly<Record<string, number>> = {
  icmp: 1,
  tcp: 6,
  udp: 17,
  icmpv6: 58,
  sctp: 132,
  udplite: 136,
};
/** In place of a family, a type or a protocol: any. */
export const SOCKET_ANY = 0xffff;

const NUMBER_OF: ReadonlyMap<string, number> = new Map(OPERATIONS.map((name, index) => [name, index]));

/** The number of an operation. */
export function operationNumber(name: OperationName): number {
  return NUMBER_OF.get(name) as number;
}

/** The mask of operations as `set_head.ops` and `path_rule.ops` hold it. */
export function operationMask(names: Iterable<OperationName>): bigint {
  let mask = 0n;
  for (const name of names) mask |= 1n << BigInt(operationNumber(name));
  return mask;
}

/** On a path or a unix name; the rest is on an address or a value. */
export function isPathOperation(name: OperationName): boolean {
  return operationNumber(name) <= operationNumber('unix-bind');
}
export function isAddressOperation(name: OperationName): boolean {
  const number = operationNumber(name);
  return number >= operationNumber('connect') && number <= operationNumber('listen');
}

/** The class whose posture an operation falls under; null for drift. */
export function postureOf(name: OperationName): PostureClass | null {
  const number = operationNumber(name);
  if (number <= operationNumber('map-execute')) return 'execute';
  if (number <= operationNumber('unix-bind')) return 'file';
  if (number <= operationNumber('socket')) return 'network';
  if (name === 'capability') return 'capability';
  return name === 'drift' ? null : 'kernel';
}

/** What stands behind the number of a value, in words: `net_raw`, `bind`, `user-namespace`, `2/3/*`. */
export function valueName(op: OperationName, value: bigint): string {
  if (op === 'socket') {
    const part = (shift: bigint) => Number((value >> shift) & 0xffffn);
    const word = (names: Readonly<Record<string, number>>, number: number) =>
      number === SOCKET_ANY ? '*' : (Object.keys(names).find((key) => names[key] === number) ?? String(number));
    return [word(FAMILY_NUMBERS, part(32n)), word(TYPE_NUMBERS, part(16n)), word(PROTOCOL_NUMBERS, part(0n))].join('/');
  }
  const lists: Partial<Record<OperationName, readonly string[]>> = {
    capability: CAPABILITIES,
    mount: MOUNT_VALUES,
    kernel: KERNEL_VALUES,
    drift: DRIFT_VALUES,
  };
  return lists[op]?.[Number(value)] ?? String(value);
}

/** `OP_SOCKET`'s value. */
export function socketValue(family: number, type: number, protocol: number): bigint {
  return (BigInt(family) << 32n) | (BigInt(type) << 16n) | BigInt(protocol);
}
