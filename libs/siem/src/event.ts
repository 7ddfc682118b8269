/**
 * One thing to tell a SIEM, before it has a format: a violation, a verdict or a response, with where it stands on the bus.
 *
 * Invariants: `uid` follows from the stream (its name and when it was made), the sequence and the index in the message alone, so that
 * whoever relays the message again, after whatever crash, gives the same one. Pure.
 */
import type { Response, Verdict, Violation, ViolationFrame } from '@bailiff/schemas';

/** Where a message stands. */
export interface Place {
  stream: string;
  /** When the stream was made, milliseconds since 1970: a stream made anew counts its sequences from 1 again. */
  createdMs: number;
  sequence: number;
  /** When the bus stored it, microseconds since 1970. */
  storedMicros: number;
}

export interface Origin extends Place {
  /** In the message. */
  index: number;
  uid: string;
  /** Of a violation by its subject, which the bus lets no other node write; else as the message says. Empty when there is none. */
  node: string;
}

export type SiemEvent =
  | { kind: 'violation'; origin: Origin; value: Violation }
  | {
      kind: 'verdict';
      origin: Origin;
      value: Verdict /** Names the violations that are its evidence. */;
      evidence: Place;
    }
  | { kind: 'response'; origin: Origin; value: Response };
export type ViolationEvent = Extract<SiemEvent, { kind: 'violation' }>;
export type VerdictEvent = Extract<SiemEvent, { kind: 'verdict' }>;
export type ResponseEvent = Extract<SiemEvent, { kind: 'response' }>;

/** `violations-<when the stream was made, base 36>-<sequence>-<index>` */
export function uidOf({ stream, createdMs, sequence }: Omit<Place, 'storedMicros'>, index: number): string {
  return `${stream.toLowerCase()}-${createdMs.toString(36)}-${sequence}-${index}`;
}

export function originOf(place: Place, index: number, node: string): Origin {
  return { ...place, index, node, uid: uidOf(place, index) };
}

/** Of each violation of a frame, in order; coverage gaps are no violations and become none. @param node by the frame's subject */
export function violationEvents(frame: ViolationFrame, node: string, place: Place): ViolationEvent[] {
  return frame.violations.map((value, index) => ({
    kind: 'violation',
    origin: originOf(place, index, node),
    value,
  }));
}

/** When it happened, microseconds since 1970. */
export function timeMicrosOf(event: SiemEvent): number {
  if (event.kind === 'violation') return event.value.lastSeenAt;
  return event.kind === 'verdict' ? event.value.triggeredAt : event.value.recordedAt;
}

/** Longest text of a field. Paths are longer only in attacks; arguments are joined before they are cut. */
export const MAX_TEXT = 1_024;

/** A text that is cut when it is too long, without control characters but for what JSON and CEF escape. */
export function clip(text: string, max = MAX_TEXT): string {
  if (text.length <= max) return text;
  // Not in the midst of a surrogate pair.
  const end = /[\ud800-\udbff]/.test(text[max - 2] ?? '') ? max - 2 : max - 1;
  return `${text.slice(0, end)}…`;
}

/** Command line of an operation, as a person would type it more or less. */
export function commandLine(words: readonly string[]): string {
  return clip(words.map((word) => (/^[\w@%+=:,./-]+$/.test(word) ? word : JSON.stringify(word))).join(' '));
}

/** Techniques of MITRE ATT&CK in tags: `attack.t1611`, `attack.t1552.001`. */
export function techniquesOf(tags: readonly string[]): string[] {
  const found = tags.map((tag) => /^attack\.(t\d{4}(?:\.\d{3})?)$/i.exec(tag)?.[1]?.toUpperCase());
  return found.filter((technique) => technique !== undefined);
}

export function baseName(path: string): string {
  return path.slice(path.lastIndexOf('/') + 1) || path;
}

/** What is left when absent and empty values are taken out, at any depth: SIEMs take an empty string for a value. */
export function compact<T>(value: T): T {
  if (Array.isArray(value)) return value.map(compact).filter((entry) => !isNothing(entry)) as T;
  if (value === null || typeof value !== 'object') return value;
  const entries = Object.entries(value)
    .map(([key, entry]) => [key, compact(entry)] as const)
    .filter(([, entry]) => !isNothing(entry));
  return Object.fromEntries(entries) as T;
}

function isNothing(value: unknown): boolean {
  if (value === undefined || value === null || value === '') return true;
  if (Array.isArray(value)) return value.length === 0;
  return typeof value === 'object' && Object.keys(value).length === 0;
}
