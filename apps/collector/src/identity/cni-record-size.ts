/**
 * Cuts what a tenant can add to a CNI record. libcni stores the arguments of capabilities in it, and
 * runtimes pass all annotations of the pod and its host ports there: megabytes of JSON, although the
 * result has some kilobytes. Pure.
 */

/**
 * Limit of a file. Annotations have 256 KiB, or 1.5 MiB when each character is escaped; ten thousands
 * of host ports have about 8 MiB.
 */
export const MAX_RECORD_BYTES = 16 * 1024 * 1024;
/** Limit of what is parsed; real records have 2-8 KiB. */
export const MAX_PARSED_BYTES = 4 * 1024 * 1024;
/** Larger records are cut before they are parsed. */
const ORDINARY_BYTES = 64 * 1024;

const KEY = Buffer.from('"capabilityArgs"');
const [QUOTE, BACKSLASH, COLON, COMMA] = [0x22, 0x5c, 0x3a, 0x2c];
const OPENING = new Set([0x7b, 0x5b]);
const CLOSING = new Set([0x7d, 0x5d]);
const BLANKS = new Set([0x20, 0x0a, 0x0d, 0x09]);

/** The record, with `null` as arguments of capabilities if it is large. */
export function withoutCapabilityArgs(json: Buffer): Buffer {
  if (json.length <= ORDINARY_BYTES) return json;
  let depth = 0;
  let from = -1;
  for (let at = 0; at < json.length; at += 1) {
    const byte = json[at] as number;
    if (depth === 1 && from !== -1 && (byte === COMMA || CLOSING.has(byte)))
      return Buffer.concat([json.subarray(0, from), Buffer.from('null'), json.subarray(at)]);
    if (byte === QUOTE) {
      const end = stringEnd(json, at);
      const colon = afterBlanks(json, end);
      if (depth === 1 && json[colon] === COLON && json.subarray(at, end).equals(KEY)) from = colon + 1;
      at = end - 1;
    } else if (OPENING.has(byte)) depth += 1;
    else if (CLOSING.has(byte)) depth -= 1;
  }
  return json;
}

/** Index behind the closing quote of the string that begins at `at`. */
function stringEnd(json: Buffer, at: number): number {
  for (let end = json.indexOf(QUOTE, at + 1); end !== -1; end = json.indexOf(QUOTE, end + 1)) {
    let backslashes = 0;
    while (json[end - 1 - backslashes] === BACKSLASH) backslashes += 1;
    if (backslashes % 2 === 0) return end + 1;
  }
  return json.length;
}

function afterBlanks(json: Buffer, at: number): number {
  let next = at;
  while (BLANKS.has(json[next] as number)) next += 1;
  return next;
}
