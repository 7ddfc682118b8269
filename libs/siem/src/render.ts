/**
 * Renders an event for publishing: one message per format, with its subject, its bytes and a
 * deterministic id. Used by the siem-relay and `bailiff replay`. Pure.
 */
import { type SiemFormat, siemSubject } from '@bailiff/bus';
import { boundedJson, boundedOcsf } from './bounded.ts';
import { toCef } from './cef.ts';
import { activityOf, namespaceOf, severityOf } from './classes.ts';
import { toEcs } from './ecs.ts';
import { type SiemEvent, timeMicrosOf } from './event.ts';
import { toOcsf } from './ocsf/index.ts';
import type { OcsfVersion } from './ocsf/version.ts';

export interface Rendered {
  format: SiemFormat;
  subject: string;
  payload: Buffer;
  /** The bus drops duplicates of it within its window. */
  msgId: string;
  headers: Readonly<Record<string, string>>;
}

const TEXT: Readonly<Record<SiemFormat, (event: SiemEvent, version: string, ocsf: OcsfVersion) => string>> = {
  ocsf: (event, version, ocsf) => boundedOcsf(toOcsf(event, version), ocsf),
  ecs: (event, version) => boundedJson(toEcs(event, version)),
  cef: toCef,
};

/** @param ocsf version of the schema of OCSF */
export function render(event: SiemEvent, format: SiemFormat, version: string, ocsf: OcsfVersion = '1.5'): Rendered {
  const { className } = activityOf(event);
  return {
    format,
    subject: siemSubject({ format, className, namespace: namespaceOf(event) }),
    payload: Buffer.from(TEXT[format](event, version, ocsf), 'utf8'),
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
