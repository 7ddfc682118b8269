/**
 * Names ↔ numbers of the runtime ABI (bpf/runtime/layout.h) that only compiling and deciding need,
 * and functions over the operations of the vocabulary.
 *
 * Invariants: the index in a list is the enum's value (append only). names.test.ts compares the
 * lists with the BTF of the object.
 */
import {
  CAPABILITIES,
  DRIFT_VALUES,
  FAMILY_NUMBERS,
  KERNEL_VALUES,
  MOUNT_VALUES,
  OPERATIONS,
  type OperationName,
  type PostureClass,
  PROTOCOL_NUMBERS,
  TYPE_NUMBERS,
} from '@bailiff/vocabulary';

/** enum path_match */
export const PATH_MATCHES = ['exact', 'directory', 'recursive', 'ancestor'] as const;
export type PathMatch = (typeof PATH_MATCHES)[number];
/** enum path_kind */
export const PATH_KINDS = ['prefix', 'suffix', 'abstract'] as const;
export type PathKind = (typeof PATH_KINDS)[number];

/** enum path_class */
export const PATH_CLASSES = ['execute', 'read', 'change', 'unix'] as const;
export type PathClass = (typeof PATH_CLASSES)[number];

/** Number of a family, a type or a protocol that stands for any. */
export const SOCKET_ANY = 0xffff;

const NUMBER_OF: ReadonlyMap<string, number> = new Map(OPERATIONS.map((name, index) => [name, index]));

/** Number of an operation (enum op). */
export function operationNumber(name: OperationName): number {
  return NUMBER_OF.get(name) as number;
}

/** Bit mask of operations, as in `set_head.ops` and `path_rule.ops`. */
export function operationMask(names: Iterable<OperationName>): bigint {
  let mask = 0n;
  for (const name of names) mask |= 1n << BigInt(operationNumber(name));
  return mask;
}

/** Class of an operation on a path or a unix name. */
export function pathClassOf(name: OperationName): PathClass {
  const number = operationNumber(name);
  if (number <= operationNumber('map-execute')) return 'execute';
  if (name === 'read') return 'read';
  return number <= operationNumber('mount-point') ? 'change' : 'unix';
}

/** True for operations on a path or a unix name. All others are on an address or a value. */
export function isPathOperation(name: OperationName): boolean {
  return operationNumber(name) <= operationNumber('unix-bind');
}
export function isAddressOperation(name: OperationName): boolean {
  const number = operationNumber(name);
  return number >= operationNumber('connect') && number <= operationNumber('listen');
}

/** Class whose default posture applies to an operation. Null for drift. */
export function postureOf(name: OperationName): PostureClass | null {
  const number = operationNumber(name);
  if (number <= operationNumber('map-execute')) return 'execute';
  if (number <= operationNumber('unix-bind')) return 'file';
  if (number <= operationNumber('socket')) return 'network';
  if (name === 'capability') return 'capability';
  return name === 'drift' ? null : 'kernel';
}

const VALUE_LISTS: Partial<Record<OperationName, readonly string[]>> = {
  capability: CAPABILITIES,
  mount: MOUNT_VALUES,
  kernel: KERNEL_VALUES,
  drift: DRIFT_VALUES,
};

/** The value that valueName() names; null: none. */
export function valueNamed(op: OperationName, text: string): bigint | null {
  if (op !== 'socket') {
    const index = VALUE_LISTS[op]?.indexOf(text) ?? -1;
    return index < 0 ? null : BigInt(index);
  }
  const lists = [FAMILY_NUMBERS, TYPE_NUMBERS, PROTOCOL_NUMBERS];
  const words = text.split('/');
  const parts = lists.map((names, index) => {
    const word = words[index] ?? '';
    if (/^\d{1,5}$/.test(word)) return Number(word);
    return Object.hasOwn(names, word) ? (names[word] as number) : Number.NaN;
  });
  const [family = Number.NaN, type = Number.NaN, protocol = Number.NaN] = parts;
  const isKnown = words.length === 3 && parts.every((part) => part < SOCKET_ANY);
  return isKnown ? socketValue(family, type, protocol) : null;
}

/** Name of a value: `net_raw`, `bind`, `user-namespace`, `inet/raw/*`. */
export function valueName(op: OperationName, value: bigint): string {
  if (op === 'socket') {
    const part = (shift: bigint) => Number((value >> shift) & 0xffffn);
    const word = (names: Readonly<Record<string, number>>, number: number) =>
      number === SOCKET_ANY ? '*' : (Object.keys(names).find((key) => names[key] === number) ?? String(number));
    return [word(FAMILY_NUMBERS, part(32n)), word(TYPE_NUMBERS, part(16n)), word(PROTOCOL_NUMBERS, part(0n))].join('/');
  }
  return VALUE_LISTS[op]?.[Number(value)] ?? String(value);
}

/** Value of the operation `socket`. */
export function socketValue(family: number, type: number, protocol: number): bigint {
  return (BigInt(family) << 32n) | (BigInt(type) << 16n) | BigInt(protocol);
}
