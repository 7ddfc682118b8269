/** An event as an output gets it: from its message in SIEM, in the version of OCSF that the output has. Pure. */
import { parseSubject, type StreamMessage } from '@bailiff/bus';
import { boundedOcsf, type OcsfVersion } from '@bailiff/siem';
import type { OutputEvent } from './output.ts';

/** An event of an output from its message in SIEM. */
export function eventOf({ subject, headers, data, sequence, timestampMicros }: StreamMessage): OutputEvent {
  const parsed = parseSubject(subject);
  const header = (name: string) => headers?.get(name) ?? '';
  return {
    sequence,
    subject,
    uid: header('Bailiff-Uid'),
    className: parsed?.what === 'siem' ? parsed.className : '',
    node: header('Bailiff-Node'),
    severity: Number(header('Bailiff-Severity')),
    timeMicros: Number(header('Bailiff-Time')) || timestampMicros,
    storedMicros: timestampMicros,
    data,
  };
}

/** An event of OCSF in a version. One that cannot be read stays as it is: its receiver refuses it. */
export function inVersion(event: OutputEvent, version: OcsfVersion | undefined): OutputEvent {
  const parsed = parseSubject(event.subject);
  if (version === undefined || parsed?.what !== 'siem' || parsed.format !== 'ocsf') return event;
  try {
    const json = JSON.parse(Buffer.from(event.data).toString('utf8')) as Record<string, unknown>;
    return { ...event, data: Buffer.from(boundedOcsf(json, version), 'utf8') };
  } catch {
    return event;
  }
}
