/** An event of an output from its message in SIEM. Pure. */
import { parseSubject, type StreamMessage } from '@bailiff/bus';
import type { OutputEvent } from './output.ts';

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
