/**
 * Renders an event for publishing: one message per format, with its subject, its bytes and a
 * deterministic id. Used by the siem-relay and `bailiff replay`. Pure.
 */
import { type SiemFormat, siemSubject } from '@bailiff/bus';
import { toCef } from './cef.ts';
import { activityOf, namespaceOf, severityOf } from './classes.ts';
import { toEcs } from './ecs.ts';
import { type SiemEvent, timeMicrosOf } from './event.ts';
import { toOcsf } from './ocsf/index.ts';

export interface Rendered {
  format: SiemFormat;
  subject: string;
  payload: Buffer;
  /** The bus drops duplicates of it within its window. */
  msgId: string;
  headers: Readonly<Record<string, string>>;
}

/** ASCII only, so that syslog needs no byte-order mark and readers cannot mistake the encoding. */
export function asciiJson(value: unknown): string {
  return JSON.stringify(value).replaceAll(
    /[\u007f-\uffff]/g,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
}

const TEXT: Readonly<Record<SiemFormat, (event: SiemEvent, version: string) => string>> = {
  ocsf: (event, version) => asciiJson(toOcsf(event, version)),
  ecs: (event, version) => asciiJson(toEcs(event, version)),
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
