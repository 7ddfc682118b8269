/**
 * Builds and parses every subject of the bus.
 *
 * `bailiff.v1.<what>.…`; tokens match `[a-z0-9_-]+`. A Kubernetes name may contain dots, which a
 * token may not: `.` is encoded as `_`, which no Kubernetes name contains. An empty name is `_`.
 */
import assert from 'node:assert';

export const ROOT = 'bailiff.v1';
/** Part of the subject, so that VIOLATIONS can be split later without changing publishers. */
export const PARTITIONS = 16;

const NAME = /^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$/;
const TOKEN = /^[a-z0-9_-]+$/;

/** Whether a text is a Kubernetes name. */
export const isName = (text: string): boolean => NAME.test(text);

/**
 * Encodes a name as a token: `a.b` → `a_b`, empty → `_`. Asserts that it is a Kubernetes name or
 * empty.
 */
export function encodeToken(name: string): string {
  if (name === '') return '_';
  assert(NAME.test(name), `"${name}" is not a Kubernetes name`);
  return name.replaceAll('.', '_');
}

/** Decodes a token to a name. */
export function decodeToken(token: string): string {
  return token === '_' ? '' : token.replaceAll('_', '.');
}

/** A token that is not a name: a reason, a hash. */
function plainToken(text: string): string {
  assert(TOKEN.test(text), `"${text}" is not a subject token`);
  return text;
}

/** FNV-1a, 32 bits. http://www.isthe.com/chongo/tech/comp/fnv/ */
export function fnv1a32(text: string): number {
  let hash = 0x811c9dc5;
  for (const byte of Buffer.from(text, 'utf8')) hash = Math.imul(hash ^ byte, 0x01000193);
  return hash >>> 0;
}

/** Partition of a node, 0 to 15: FNV-1a-32 of its encoded name. */
export function partitionOf(node: string): number {
  return fnv1a32(encodeToken(node)) % PARTITIONS;
}

/** Whether a subject matches a filter with the wildcards `*` and `>`. */
export function isUnder(filter: string, subject: string): boolean {
  const [wanted, tokens] = [filter.split('.'), subject.split('.')];
  const isRest = wanted.at(-1) === '>';
  if (isRest ? tokens.length < wanted.length : tokens.length !== wanted.length) return false;
  return wanted.every((token, index) => token === '>' || token === '*' || token === tokens[index]);
}

export type ViolationKindToken = 'spoof' | 'lsm';

export function violationSubject(node: string, kind: ViolationKindToken): string {
  return `${ROOT}.violations.${partitionOf(node)}.${encodeToken(node)}.${kind}`;
}

/** Fields of a Verdict (libs/schemas) that its subject holds. A verdict about a node has no pod. */
export interface VerdictAddress {
  verdictId: string;
  level: string;
  pod: { namespace: string; name: string } | null;
}

export function verdictSubject(verdict: VerdictAddress): string {
  const namespace = encodeToken(verdict.pod?.namespace ?? '');
  const pod = encodeToken(verdict.pod?.name ?? '');
  return `${ROOT}.verdicts.${plainToken(verdict.level)}.${namespace}.${pod}.${plainToken(verdict.verdictId)}`;
}

/** Fields of a Response (libs/schemas) that its subject holds. */
export interface ResponseAddress {
  responseId: string;
  action: string;
  podNamespace: string;
  podName: string;
}

export function responseSubject(response: ResponseAddress): string {
  const namespace = encodeToken(response.podNamespace);
  const pod = encodeToken(response.podName);
  return `${ROOT}.responses.${plainToken(response.action)}.${namespace}.${pod}.${plainToken(response.responseId)}`;
}

/** Subject of the only dead letter of a message for a reason. */
export function deadLetterSubject(stream: string, reason: string, sequence: number): string {
  return `${ROOT}.deadletters.${plainToken(stream.toLowerCase())}.${plainToken(reason)}.${sequence}`;
}

/** Fields of a SIEM event that its subject holds. */
export interface SiemAddress {
  /** `ocsf`, `ecs`, `cef`. */
  format: string;
  /** `network-activity`, `detection-finding` and so on. */
  className: string;
  /**
   * Namespace of the pod. `_` if empty or not a Kubernetes name: text from a node must not
   * determine a subject.
   */
  namespace: string;
}

export function siemSubject({ format, className, namespace }: SiemAddress): string {
  const token = NAME.test(namespace) ? encodeToken(namespace) : '_';
  return `${ROOT}.siem.${plainToken(format)}.${plainToken(className)}.${token}`;
}

/** Subject of capture requests to a node's collector (request and reply, in no stream). */
export function captureSubject(node: string): string {
  return `${ROOT}.capture.${encodeToken(node)}`;
}

/** Streams that `reader` reads. */
export const READ_STREAMS = ['VIOLATIONS', 'VERDICTS', 'RESPONSES'] as const;
/** Queue group of the siem-relays that respond with the state of consumers and with messages. */
export const STATE_QUEUE = 'bailiff-siem-relay';

/** Subject of requests for the state of a durable consumer. */
export function consumerStateSubject(consumer: string): string {
  return `${ROOT}.state.${consumer}`;
}

/** Subject of requests for messages of a stream, to which siem-relay responds (streams/read-responder.ts). */
export function readSubject(stream: string): string {
  return `${ROOT}.read.${stream.toLowerCase()}`;
}

/** Subject on which a changed key of a bucket is pushed. */
export function pushSubject(bucket: string, key: string): string {
  return `${ROOT}.push.${bucket}.${key}`;
}

/**
 * Subject filters. A field that is not set matches everything. A text that is no Kubernetes name, as the body
 * of a message can have, matches nothing.
 */
export const filters = {
  violations: ({ node, kind }: { node?: string; kind?: ViolationKindToken } = {}): string => {
    const partition = node !== undefined && isName(node) ? partitionOf(node) : '*';
    return `${ROOT}.violations.${partition}.${tokenOrAny(node)}.${kind ?? '*'}`;
  },
  verdicts: (by: { level?: string; namespace?: string; pod?: string } = {}): string =>
    [ROOT, 'verdicts', by.level ?? '*', tokenOrAny(by.namespace), tokenOrAny(by.pod), '*'].join('.'),
  responses: (by: { action?: string; namespace?: string; pod?: string } = {}): string =>
    [ROOT, 'responses', by.action ?? '*', tokenOrAny(by.namespace), tokenOrAny(by.pod), '*'].join('.'),
  deadLetters: (by: { stream?: string; reason?: string } = {}): string =>
    [ROOT, 'deadletters', by.stream?.toLowerCase() ?? '*', by.reason ?? '*', '*'].join('.'),
  siem: (by: { format?: string; className?: string; namespace?: string } = {}): string =>
    [ROOT, 'siem', by.format ?? '*', by.className ?? '*', tokenOrAny(by.namespace)].join('.'),
};

/** A token that encodes no name. */
const NO_NAME = '-';

function tokenOrAny(name: string | undefined): string {
  if (name === undefined) return '*';
  return name === '' || isName(name) ? encodeToken(name) : NO_NAME;
}

export type ParsedSubject =
  | { what: 'violations'; partition: number; node: string; kind: ViolationKindToken }
  | { what: 'verdicts'; level: string; namespace: string; pod: string; verdictId: string }
  | { what: 'responses'; action: string; namespace: string; pod: string; responseId: string }
  | { what: 'deadletters'; stream: string; reason: string; sequence: number }
  | { what: 'siem'; format: string; className: string; namespace: string }
  | { what: 'capture'; node: string }
  | { what: 'state'; consumer: string }
  | { what: 'read'; stream: string }
  | { what: 'config'; key: string }
  | { what: 'push'; bucket: string; key: string };

/**
 * Parses a subject; null if it is not a Bailiff subject, or a violation's partition does not match
 * its node.
 */
export function parseSubject(subject: string): ParsedSubject | null {
  const tokens = subject.split('.');
  if (tokens[0] !== 'bailiff' || tokens[1] !== 'v1' || tokens.some((token) => token === '')) return null;
  const [, , what, a = '', b = '', c = '', d = ''] = tokens;
  if (what === 'capture' && tokens.length === 4) return { what, node: decodeToken(a) };
  if (what === 'state' && tokens.length === 4) return { what, consumer: a };
  if (what === 'read' && tokens.length === 4) return { what, stream: a.toUpperCase() };
  if (what === 'config' && tokens.length > 3) return { what, key: tokens.slice(3).join('.') };
  if (what === 'push' && tokens.length > 4) return { what, bucket: a, key: tokens.slice(4).join('.') };
  if (what === 'violations' && tokens.length === 6) {
    const node = decodeToken(b);
    if ((c !== 'spoof' && c !== 'lsm') || !NAME.test(node) || a !== String(partitionOf(node))) return null;
    return { what, partition: Number(a), node, kind: c };
  }
  if (what === 'deadletters' && tokens.length === 6 && /^\d{1,15}$/.test(c)) {
    return { what, stream: a.toUpperCase(), reason: b, sequence: Number(c) };
  }
  if (what === 'siem' && tokens.length === 6) return { what, format: a, className: b, namespace: decodeToken(c) };
  if (tokens.length !== 7) return null;
  if (what === 'verdicts') {
    return { what, level: a, namespace: decodeToken(b), pod: decodeToken(c), verdictId: d };
  }
  if (what === 'responses') {
    return { what, action: a, namespace: decodeToken(b), pod: decodeToken(c), responseId: d };
  }
  return null;
}

/**
 * The node of a message of VIOLATIONS; null if its subject names none. Only this node may publish
 * under it, so nothing in the message decides its node.
 */
export function violationNode(subject: string): string | null {
  const parsed = parseSubject(subject);
  return parsed?.what === 'violations' ? parsed.node : null;
}
