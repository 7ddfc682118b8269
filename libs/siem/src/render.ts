/**
 * Renders an event for publishing: one message per format, with its subject, its bytes and a
 * deterministic id. Used by the siem-relay and `bailiff replay`. Pure.
 */
import { type SiemFormat, siemSubject } from '@bailiff/bus';
import { toCef } from './cef.ts';
import { activityOf, namespaceOf, severityOf } from './classes.ts';
import { toEcs } from './ecs.ts';
import { type SiemEvent, timeMicrosOf } from './event.ts';
import type { Json } from './ocsf/base.ts';
import { toOcsf } from './ocsf/index.ts';

export interface Rendered {
  format: SiemFormat;
  subject: string;
  payload: Buffer;
  /** The bus drops duplicates of it within its window. */
  msgId: string;
  headers: Readonly<Record<string, string>>;
}

/**
 * Largest event in JSON. A receiver of syslog cuts a longer message, and rsyslog takes the rest for
 * another message: its sender would choose the node of that one. Events of what a collector samples
 * are far smaller; a node's own frame can fill every field, and its escapes take six bytes each.
 */
export const MAX_EVENT_BYTES = 32 * 1024;
/** Of each text and list of an event that would exceed it. */
const SHORT_TEXT_BYTES = 256;
const SHORT_LIST = 8;

/** ASCII only, so that syslog needs no byte-order mark and readers cannot mistake the encoding. */
export function asciiJson(value: unknown): string {
  return JSON.stringify(value).replaceAll(
    /[\u007f-\uffff]/g,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
}

/** The text if its JSON is short, otherwise its beginning. */
function shortText(text: string): string {
  if (asciiJson(text).length <= SHORT_TEXT_BYTES) return text;
  let kept = '';
  let left = SHORT_TEXT_BYTES - asciiJson('…').length;
  for (const character of text) {
    left -= asciiJson(character).length - 2;
    if (left < 0) break;
    kept += character;
  }
  return `${kept}…`;
}

function shortened(value: unknown): unknown {
  if (typeof value === 'string') return shortText(value);
  if (Array.isArray(value)) return value.slice(0, SHORT_LIST).map(shortened);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, entry]) => [key, shortened(entry)]));
}

/** An event that is too large keeps its fields, with the beginning of each text and list. */
function boundedJson(event: Json): string {
  const whole = asciiJson(event);
  return whole.length <= MAX_EVENT_BYTES ? whole : asciiJson(shortened(event));
}

const TEXT: Readonly<Record<SiemFormat, (event: SiemEvent, version: string) => string>> = {
  ocsf: (event, version) => boundedJson(toOcsf(event, version)),
  ecs: (event, version) => boundedJson(toEcs(event, version)),
  cef: toCef,
};

export function render(event: SiemEvent, format: SiemFormat, version: string): Rendered {
  const { className } = activityOf(event);
  return {
    format,
    subject: siemSubject({ format, className, namespace: namespaceOf(event) }),
    payload: Buffer.from(TEXT[format](event, version), 'utf8'),
    msgId: `${format}-${event.origin.uid}`,
    headers: {
      'Content-Type': format === 'cef' ? 'text/plain; charset=utf-8' : 'application/json',
      // For forwarders that do not parse the event.
      'Bailiff-Uid': event.origin.uid,
      'Bailiff-Severity': String(severityOf(event).id),
      'Bailiff-Node': event.origin.node.replaceAll(/[^\x21-\x7e]/g, ''),
      'Bailiff-Time': String(timeMicrosOf(event)),
    },
  };
}
