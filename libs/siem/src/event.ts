/**
 * An event for a SIEM before it is rendered: a violation, verdict or response with its position on
 * the bus.
 *
 * `uid` depends only on the stream (name and time of creation or restore), the sequence and the index in the
 * message. A relay that repeats a message after a crash produces the same uid. Pure.
 */
import type { ClusterIdentity, Response, Verdict, Violation, ViolationFrame } from '@bailiff/schemas';

/** Position of a message on the bus. */
export interface Place {
  stream: string;
  /**
   * When the life of the stream with this message began, milliseconds since 1970. A recreated stream
   * restarts its sequences at 1, a restored one behind those of its backup.
   */
  createdMs: number;
  sequence: number;
  /** When the bus stored the message, microseconds since 1970. */
  storedMicros: number;
  /** The cluster of the bus, if it is known. */
  cluster?: ClusterIdentity | undefined;
}

export interface Origin extends Place {
  /** Index in the message. */
  index: number;
  uid: string;
  /**
   * Node of the subject of a violation, where the bus allows no other writer; otherwise as in the
   * message. Empty without a node.
   */
  node: string;
}

export type SiemEvent =
  | { kind: 'violation'; origin: Origin; value: Violation }
  | {
      kind: 'verdict';
      origin: Origin;
      value: Verdict /** `createdMs` of each violation of its evidence. */;
      evidence: readonly number[];
    }
  | { kind: 'response'; origin: Origin; value: Response }
  | { kind: 'omission'; origin: Origin; value: Omission };
export type ViolationEvent = Extract<SiemEvent, { kind: 'violation' }>;
export type VerdictEvent = Extract<SiemEvent, { kind: 'verdict' }>;
export type ResponseEvent = Extract<SiemEvent, { kind: 'response' }>;
export type OmissionEvent = Extract<SiemEvent, { kind: 'omission' }>;

/** Violations of a node without an event of their own, because the node exceeded its share. */
export interface Omission {
  events: number;
  /** Messages of VIOLATIONS that contain them. */
  firstSequence: number;
  lastSequence: number;
  /** When the bus stored these messages, microseconds since 1970. */
  sinceMicros: number;
  untilMicros: number;
}

/** `violations-<start of the life of the stream, base 36>-<sequence>-<index>` */
export function uidOf({ stream, createdMs, sequence }: Omit<Place, 'storedMicros'>, index: number): string {
  return `${stream.toLowerCase()}-${createdMs.toString(36)}-${sequence}-${index}`;
}

export function originOf(place: Place, index: number, node: string): Origin {
  return { ...place, index, node, uid: uidOf(place, index) };
}

/**
 * One event per violation of a frame, in order. Coverage gaps are not violations and produce no
 * events. @param node of the frame's subject
 */
export function violationEvents(frame: ViolationFrame, node: string, place: Place): ViolationEvent[] {
  return frame.violations.map((value, index) => ({
    kind: 'violation',
    origin: originOf(place, index, node),
    value,
  }));
}

/**
 * A relay that reads messages again after a crash may omit from the same message up to another one, so the uid names all
 * that the event says: otherwise the bus, or the SIEM, takes the second event for the first one. @param place of the
 * first message with an omitted violation
 */
export function omissionEvent(value: Omission, node: string, place: Place): OmissionEvent {
  const origin = originOf(place, 0, node);
  const uid = origin.uid.replace(/0$/, `omitted-${value.lastSequence}-${value.events}`);
  return { kind: 'omission', origin: { ...origin, uid }, value };
}

export const omissionMessage = ({ origin, value: { events, firstSequence, lastSequence } }: OmissionEvent): string =>
  `${events} violations of node ${origin.node} have no event, because the node exceeds its share: messages ${firstSequence} to ${lastSequence} of VIOLATIONS contain them`;

/** When the event happened, microseconds since 1970. */
export function timeMicrosOf(event: SiemEvent): number {
  if (event.kind === 'violation') return event.value.lastSeenAt;
  if (event.kind === 'omission') return event.value.untilMicros;
  return event.kind === 'verdict' ? event.value.triggeredAt : event.value.recordedAt;
}

/**
 * Longest text of a field. Only attacks have longer paths; arguments are joined before truncation.
 */
export const MAX_TEXT = 1_024;

/** Truncates a text. JSON and CEF escape its control characters. */
export function clip(text: string, max = MAX_TEXT): string {
  if (text.length <= max) return text;
  // Does not split a surrogate pair.
  const end = /[\ud800-\udbff]/.test(text[max - 2] ?? '') ? max - 2 : max - 1;
  return `${text.slice(0, end)}…`;
}

/** Command line of an operation, quoted roughly as a shell would. */
export function commandLine(words: readonly string[]): string {
  return clip(words.map((word) => (/^[\w@%+=:,./-]+$/.test(word) ? word : JSON.stringify(word))).join(' '));
}

/** MITRE ATT&CK techniques in tags: `attack.t1611`, `attack.t1552.001`. */
export function techniquesOf(tags: readonly string[]): string[] {
  const found = tags.map((tag) => /^attack\.(t\d{4}(?:\.\d{3})?)$/i.exec(tag)?.[1]?.toUpperCase());
  return found.filter((technique) => technique !== undefined);
}

export function baseName(path: string): string {
  return path.slice(path.lastIndexOf('/') + 1) || path;
}

/** Removes absent and empty values at any depth, because SIEMs treat an empty string as a value. */
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
