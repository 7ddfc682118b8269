/**
 * Syslog messages: RFC 5424 in the octet-counting frame of RFC 6587 (TCP) and RFC 5425 (TLS). Pure.
 * Header fields are ASCII without spaces, the message is the event as stored on the bus, and the
 * length counts bytes.
 */
import { rfc3339Micros } from '@bailiff/bus';

/** RFC 5424, table 1. */
const FACILITY = {
  user: 1,
  daemon: 3,
  auth: 4,
  syslog: 5,
  authpriv: 10,
  audit: 13,
  alert: 14,
  local0: 16,
  local1: 17,
  local2: 18,
  local3: 19,
  local4: 20,
  local5: 21,
  local6: 22,
  local7: 23,
} as const;
export type Facility = keyof typeof FACILITY;
export const FACILITIES = Object.keys(FACILITY) as Facility[];
/**
 * By OCSF severity, 0 unknown to 5 critical: notice, informational, notice, warning, error,
 * critical.
 */
const SEVERITY = [5, 6, 5, 4, 3, 2];

export interface SyslogMessage {
  facility: Facility;
  /** OCSF severity, 0 to 5. */
  severity: number;
  timeMicros: number;
  /** Name of the node. */
  host: string;
  /** Process id of the relay. */
  procId: string;
  /** Class of the event. */
  messageId: string;
  version: string;
  text: Uint8Array;
}

/**
 * A header field: printable ASCII without spaces, truncated to its RFC 5424 length; `-` if empty.
 */
function field(text: string, max: number): string {
  return text.replaceAll(/[^\x21-\x7e]/g, '').slice(0, max) || '-';
}

/** Escapes the value of a structured-data parameter. */
const parameter = (text: string): string => text.replaceAll(/[\\"\]]/g, '\\$&').replaceAll(/[^\x20-\x7e]/g, '');

/** The message with its length as prefix. */
export function syslogFrame(message: SyslogMessage): Buffer {
  const { facility, severity, timeMicros, host, procId, messageId, version, text } = message;
  const priority = FACILITY[facility] * 8 + (SEVERITY[severity] ?? 5);
  const head = [
    `<${priority}>1`,
    rfc3339Micros(timeMicros),
    field(host, 255),
    'bailiff',
    field(procId, 128),
    field(messageId, 32),
    `[origin software="bailiff" swVersion="${parameter(version)}"]`,
    '',
  ].join(' ');
  const body = Buffer.concat([Buffer.from(head, 'ascii'), text]);
  return Buffer.concat([Buffer.from(`${body.length} `, 'ascii'), body]);
}
