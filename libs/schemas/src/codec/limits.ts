/**
 * Maximum length of each string and list of every message. The decoder rejects a longer one, and the
 * encoder never writes it. JSON documents use the same classes. docs/reference/limits.md lists them.
 *
 * Invariant: no limit is below MIN_TEXT_BYTES, so that a string whose length has one byte needs no
 * check. In Avro a limit counts bytes of UTF-8. In JSON documents it counts UTF-16 units, which are
 * never more than the bytes.
 */
import { SchemaError } from './errors.ts';

/** Avro encodes the length of a shorter string in one byte. */
export const MIN_TEXT_BYTES = 64;

/** Classes of strings, with their maximum number of bytes. */
export const TEXT_LIMITS = {
  word: { bytes: 64, why: 'a keyword, an address, a MAC, a decimal number, an interface or the 16 bytes of a comm' },
  uid: { bytes: 128, why: 'a UID of Kubernetes (36 bytes), a boot id, the id of a verdict or a response, with room' },
  name: { bytes: 253, why: 'a Kubernetes name (RFC 1123 subdomain); owner references are cut to it by ipam-sync' },
  vector: {
    bytes: 384,
    why: 'a vector, or `<policy>/<rule>`: 253 + 1 + 63 bytes; the group of a verdict: 253 + 1 + 128 bytes',
  },
  path: {
    bytes: 384,
    why: 'a path of a sample: 256 bytes in the kernel, a mark that it was cut, and the value before it',
  },
  epoch: { bytes: 512, why: 'a counter epoch: boot id, three numbers, a vector, two keywords' },
  key: { bytes: 640, why: 'a configuration key: `runtime.namespace.<253 bytes>.<253 bytes>`' },
  sentence: { bytes: 1_536, why: 'the message of a policy (512 characters), a detail, a text of a capture' },
  request: { bytes: 1_024, why: 'path of a request to the API server: two names and what is around them' },
  reason: { bytes: 4_096, why: 'a sentence for a person, which may quote an error of the API server' },
  label: { bytes: 317, why: 'key of a label: 253 + 1 + 63 bytes; its value is shorter' },
  tag: { bytes: 192, why: 'a tag: 64 characters' },
  head: { bytes: 128, why: 'first bytes of a packet: 64 are sampled' },
} as const satisfies Record<string, { bytes: number; why: string }>;
export type TextClass = keyof typeof TEXT_LIMITS;

/** Classes of lists, with their maximum number of items. */
export const LIST_LIMITS = {
  violations: { items: 64, why: 'violations of one flush: MAX_FRAME_VIOLATIONS of the collector' },
  coverage: { items: 512, why: 'interfaces of a node: max_entries of the kernel map' },
  tags: { items: 32, why: 'tags of a policy or a rule' },
  arguments: { items: 128, why: 'the kernel samples 128 bytes of argv' },
  evidence: { items: 32, why: 'MAX_EVIDENCE of the correlator' },
  captured: { items: 256, why: 'processes, sockets, arguments of a capture: MAX_CAPTURE_PROCESSES' },
  pods: { items: 2_048, why: 'pods of a node: 512 with an interface (the kernel map), the others on the host network' },
  nodes: { items: 16_384, why: 'nodes of the largest cluster, three times over' },
  services: { items: 4_096, why: 'MAX_TUNNEL_SERVICES of ipam-sync' },
  labels: { items: 256, why: 'labels of a pod; ipam-sync keeps 8 KiB of them' },
  containers: { items: 64, why: 'containers of a pod; ipam-sync leaves out more' },
  addresses: { items: 128, why: 'addresses and prefixes of an interface or a node: the kernel maps hold 66' },
  owners: { items: 16, why: 'a chain of owners; ipam-sync cuts it at 4' },
  interfaces: { items: 4_096, why: 'interfaces of a status, which is bounded by bytes' },
  listed: { items: 1_024, why: 'policies, hooks, features, maps, refused keys of a status; writers name 64 to 512' },
  quarantined: { items: 512, why: 'MAX_QUARANTINED_PODS_PER_NODE, MAX_RELEASES_PER_NODE of the responder' },
} as const satisfies Record<string, { items: number; why: string }>;
export type ListClass = keyof typeof LIST_LIMITS;

/** Every string of the Avro messages, by record. For a list of strings: the class of its items. */
const TEXTS = {
  ViolationFrame: { nodeName: 'name', bootId: 'uid', collectorVersion: 'uid' },
  Violation: {
    vector: 'vector',
    counterEpoch: 'epoch',
    interfaceName: 'word',
    detail: 'sentence',
    policy: 'key',
    severity: 'word',
    tags: 'tag',
    message: 'sentence',
  },
  PodRef: {
    uid: 'uid',
    namespace: 'name',
    name: 'name',
    serviceAccount: 'name',
    ownerKind: 'name',
    ownerName: 'name',
    ownerUid: 'uid',
  },
  PacketSample: {
    claimedMac: 'word',
    expectedMac: 'word',
    claimedAddress: 'word',
    expectedAddress: 'word',
    destinationAddress: 'word',
    cgroupId: 'word',
    socketCookie: 'word',
    head: 'head',
  },
  SocketProcess: { comm: 'word', executable: 'path', cgroupId: 'word', containerName: 'name' },
  OperationSample: {
    operation: 'word',
    subject: 'path',
    address: 'word',
    capabilities: 'word',
    comm: 'word',
    executable: 'path',
    parentExecutable: 'path',
    arguments: 'path',
    cgroupId: 'word',
    containerId: 'uid',
    containerName: 'name',
    socketCookie: 'word',
  },
  GuardGap: { interfaceName: 'word' },
  Verdict: {
    verdictId: 'uid',
    rule: 'name',
    groupKey: 'vector',
    vectors: 'vector',
    nodeName: 'name',
    reason: 'reason',
    tags: 'tag',
  },
  VerdictPod: {
    uid: 'uid',
    namespace: 'name',
    name: 'name',
    ownerKind: 'name',
    ownerName: 'name',
    ownerUid: 'uid',
  },
  Evidence: { vector: 'vector' },
  EvidenceProcess: {
    comm: 'word',
    executable: 'path',
    parentExecutable: 'path',
    containerName: 'name',
    operation: 'word',
    subject: 'path',
  },
  Response: {
    responseId: 'uid',
    verdictId: 'uid',
    policy: 'name',
    reasonCode: 'uid',
    reason: 'reason',
    level: 'word',
    rule: 'name',
    podUid: 'uid',
    podNamespace: 'name',
    podName: 'name',
    nodeName: 'name',
    ownerKind: 'name',
    ownerName: 'name',
    ownerUid: 'uid',
    claimedOwnerUid: 'uid',
    apiVerb: 'word',
    apiPath: 'request',
  },
  PodCapture: { arguments: 'word' },
  CapturedProcess: { container: 'name', comm: 'word', executable: 'sentence', args: 'sentence' },
  CapturedSocket: { protocol: 'word', local: 'sentence', remote: 'sentence', state: 'word' },
} as const satisfies Record<string, Record<string, TextClass>>;

/** Every list of the Avro messages. */
const LISTS = {
  ViolationFrame: { violations: 'violations', coverage: 'coverage' },
  Violation: { tags: 'tags' },
  OperationSample: { arguments: 'arguments' },
  Verdict: { vectors: 'evidence', evidence: 'evidence', tags: 'tags' },
  PodCapture: { processes: 'captured', sockets: 'captured' },
  CapturedProcess: { args: 'captured' },
  CapturedSocket: { pids: 'captured' },
} as const satisfies Record<string, Record<string, ListClass>>;

/** Limit of one string field. */
export interface TextLimit {
  /** `Violation.vector` */
  readonly field: string;
  readonly bytes: number;
  readonly class: TextClass;
}
/** Limit of one list field. */
export interface ListLimit {
  readonly field: string;
  readonly items: number;
  readonly class: ListClass;
}

type Limits<T, L> = { readonly [R in keyof T]: { readonly [F in keyof T[R]]: L } };

function limitsOf<T extends Record<string, Record<string, string>>, L>(
  records: T,
  limit: (field: string, name: never) => L,
): Limits<T, L> {
  const fields = (record: string, of: Record<string, string>) =>
    Object.fromEntries(Object.entries(of).map(([field, name]) => [field, limit(`${record}.${field}`, name as never)]));
  return Object.fromEntries(Object.entries(records).map(([record, of]) => [record, fields(record, of)])) as Limits<
    T,
    L
  >;
}

/** Limits of strings, by record and field. */
export const MAX_TEXT = limitsOf(
  TEXTS,
  (field, name: TextClass): TextLimit => ({ field, bytes: TEXT_LIMITS[name].bytes, class: name }),
);
/** Limits of lists, by record and field. */
export const MAX_LIST = limitsOf(
  LISTS,
  (field, name: ListClass): ListLimit => ({ field, items: LIST_LIMITS[name].items, class: name }),
);

const find = <L>(limits: Readonly<Record<string, Readonly<Record<string, L>>>>, record: string, field: string) =>
  (Object.hasOwn(limits, record) ? limits[record]?.[field] : undefined) as L | undefined;

/** The limit of a field, by the names in its schema; undefined without a limit. */
export const textLimit = (record: string, field: string): TextLimit | undefined => find(MAX_TEXT, record, field);
export const listLimit = (record: string, field: string): ListLimit | undefined => find(MAX_LIST, record, field);

export function textTooLong({ field, bytes }: TextLimit, length: number): SchemaError {
  return new SchemaError('FIELD_TOO_LONG', `${field} has ${length} bytes, at most ${bytes}`);
}
export function listTooLong({ field, items }: ListLimit, length: number): SchemaError {
  return new SchemaError('FIELD_TOO_LONG', `${field} has ${length} items, at most ${items}`);
}

/** Marks the place where text was cut. */
export const CUT_MARK = '…';
const CUT_BYTES = Buffer.byteLength(CUT_MARK);

/** Maximum bytes of UTF-8 per UTF-16 unit. */
const BYTES_A_UNIT = 3;

export const isTooLong = (text: string, bytes: number): boolean =>
  text.length * BYTES_A_UNIT > bytes && Buffer.byteLength(text) > bytes;

/** Cuts a longer text to a number of bytes of UTF-8, with CUT_MARK at its end. Keeps characters whole. */
export function cutEnd(text: string, bytes: number): string {
  if (!isTooLong(text, bytes)) return text;
  const whole = Buffer.from(text.slice(0, bytes));
  let end = bytes - CUT_BYTES;
  while (end > 0 && isWithin(whole[end])) end -= 1;
  return whole.toString('utf8', 0, end) + CUT_MARK;
}

/** Cuts the beginning instead: the end of a path identifies more. */
export function cutFront(text: string, bytes: number): string {
  if (!isTooLong(text, bytes)) return text;
  const whole = Buffer.from(text.slice(-bytes));
  let start = whole.length - bytes + CUT_BYTES;
  while (start < whole.length && isWithin(whole[start])) start += 1;
  return CUT_MARK + whole.toString('utf8', start);
}

/** Cuts strings of foreign origin to their limits. Returns the same object if none is longer. */
export function cutTexts<T extends object>(record: T, limits: { readonly [K in keyof T]?: TextLimit }): T {
  let cut: T | null = null;
  for (const [field, limit] of Object.entries(limits) as [keyof T, TextLimit][]) {
    const text = record[field];
    if (typeof text !== 'string' || !isTooLong(text, limit.bytes)) continue;
    cut ??= { ...record };
    cut[field] = cutEnd(text, limit.bytes) as T[keyof T];
  }
  return cut ?? record;
}

/** Whether a byte of UTF-8 continues a character. */
const isWithin = (byte: number | undefined): boolean => ((byte ?? 0) & 0xc0) === 0x80;
