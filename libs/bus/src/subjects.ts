/**
 * Every subject of the bus, written and read in one place.
 *
 * `bailiff.v1.<what>.…`; tokens match `[a-z0-9_-]+`. Kubernetes names may hold dots, which a token may not: `.` is written `_`,
 * which no Kubernetes name holds, so it is reversible. An empty name is `_` alone.
 */
import assert from 'node:assert';

export const ROOT = 'bailiff.v1';
/** Kept in the subject so that VIOLATIONS can later be split by it without any sender changing. */
export const PARTITIONS = 16;

const NAME = /^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$/;
const TOKEN = /^[a-z0-9_-]+$/;

/** Whether a text is a name of Kubernetes. */
export const isName = (text: string): boolean => NAME.test(text);

/** A name as a token: `a.b` → `a_b`, empty → `_`. Asserts that it is a Kubernetes name or empty. */
export function encodeToken(name: string): string {
  if (name === '') return '_';
  assert(NAME.test(name), `"${name}" is not a Kubernetes name`);
  return name.replaceAll('.', '_');
}

/** The name behind a token. */
export function decodeToken(token: string): string {
  return token === '_' ? '' : token.replaceAll('_', '.');
}

/** A token that is no name: a reason, a hash. */
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

export type ViolationKindToken = 'spoof' | 'lsm';

export function violationSubject(node: string, kind: ViolationKindToken): string {
  return `${ROOT}.violations.${partitionOf(node)}.${encodeToken(node)}.${kind}`;
}

/** What a verdict's subject is made of; a Verdict of libs/schemas has it. A verdict about a node has no pod. */
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

/** What a response's subject is made of; a Response of libs/schemas has it. */
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

/** Subject of the one dead letter of a message for a reason. */
export function deadLetterSubject(stream: string, reason: string, sequence: number): string {
  return `${ROOT}.deadletters.${plainToken(stream.toLowerCase())}.${plainToken(reason)}.${sequence}`;
}

/** What an event for a SIEM is addressed by. */
export interface SiemAddress {
  /** `ocsf`, `ecs`, `cef`. */
  format: string;
  /** `network-activity`, `detection-finding` and so on. */
  className: string;
  /** Of the pod that it is about; empty or no Kubernetes name: `_`, because what a node wrote must not decide about a subject. */
  namespace: string;
}

export function siemSubject({ format, className, namespace }: SiemAddress): string {
  const token = NAME.test(namespace) ? encodeToken(namespace) : '_';
  return `${ROOT}.siem.${plainToken(format)}.${plainToken(className)}.${token}`;
}

/** Where a node's collector is asked what runs in a pod: request and reply, in no stream. */
export function captureSubject(node: string): string {
  return `${ROOT}.capture.${encodeToken(node)}`;
}

/** Where a bucket's key is pushed when it changes. */
export function pushSubject(bucket: string, key: string): string {
  return `${ROOT}.push.${bucket}.${key}`;
}

/** Subject filters; what is not said matches all. */
export const filters = {
  violations: (by: { node?: string; kind?: ViolationKindToken } = {}): string =>
    by.node === undefined
      ? `${ROOT}.violations.*.*.${by.kind ?? '*'}`
      : `${ROOT}.violations.${partitionOf(by.node)}.${encodeToken(by.node)}.${by.kind ?? '*'}`,
  verdicts: (by: { level?: string; namespace?: string; pod?: string } = {}): string =>
    [ROOT, 'verdicts', by.level ?? '*', tokenOrAny(by.namespace), tokenOrAny(by.pod), '*'].join('.'),
  responses: (by: { action?: string; namespace?: string; pod?: string } = {}): string =>
    [ROOT, 'responses', by.action ?? '*', tokenOrAny(by.namespace), tokenOrAny(by.pod), '*'].join('.'),
  deadLetters: (by: { stream?: string; reason?: string } = {}): string =>
    [ROOT, 'deadletters', by.stream?.toLowerCase() ?? '*', by.reason ?? '*', '*'].join('.'),
  siem: (by: { format?: string; className?: string; namespace?: string } = {}): string =>
    [ROOT, 'siem', by.format ?? '*', by.className ?? '*', tokenOrAny(by.namespace)].join('.'),
};

const tokenOrAny = (name: string | undefined): string => (name === undefined ? '*' : encodeToken(name));

export type ParsedSubject =
  | { what: 'violations'; partition: number; node: string; kind: ViolationKindToken }
  | { what: 'verdicts'; level: string; namespace: string; pod: string; verdictId: string }
  | { what: 'responses'; action: string; namespace: string; pod: string; responseId: string }
  | { what: 'deadletters'; stream: string; reason: string; sequence: number }
  | { what: 'siem'; format: string; className: string; namespace: string }
  | { what: 'capture'; node: string }
  | { what: 'config'; key: string }
  | { what: 'push'; bucket: string; key: string };

/** Reads a subject; null when it is none of ours, or a violation's partition is not its node's. */
export function parseSubject(subject: string): ParsedSubject | null {
  const tokens = subject.split('.');
  if (tokens[0] !== 'bailiff' || tokens[1] !== 'v1' || tokens.some((token) => token === '')) return null;
  const [, , what, a = '', b = '', c = '', d = ''] = tokens;
  if (what === 'capture' && tokens.length === 4) return { what, node: decodeToken(a) };
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
