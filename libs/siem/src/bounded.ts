/** JSON of an event within a bound. Pure. */
import type { Json } from './ocsf/base.ts';
import { inOcsfVersion, type OcsfVersion } from './ocsf/version.ts';

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
export function boundedJson(event: Json, finished: (event: Json) => Json = (same) => same): string {
  const whole = asciiJson(finished(event));
  return whole.length <= MAX_EVENT_BYTES ? whole : asciiJson(finished(shortened(event) as Json));
}

/** @param event OCSF in any version */
export const boundedOcsf = (event: Json, version: OcsfVersion): string =>
  boundedJson(event, (one) => inOcsfVersion(one, version));
