/**
 * Violations of a frame as a SIEM is told of them: by the mapping of the siem-relay, with the same uids, so that a SIEM which has them already knows them
 * again. Only the product's version is this command's. Pure.
 */
import { parseSubject, type SiemFormat } from '@bailiff/bus';
import { type Rendered, render, violationEvents } from '@bailiff/siem';
import { matchesPod } from '../shared/arguments.ts';
import type { Replayed } from './replayed.ts';

export interface SiemMapping {
  format: SiemFormat;
  version: string;
  /** When VIOLATIONS was made, milliseconds since 1970: part of each uid. */
  createdMs: number;
}

/** What an interface sent before it was guarded is no violation and becomes no event, here as there. */
export function siemEvents({ message, frame, filter }: Replayed, mapping: SiemMapping): Rendered[] {
  const { format, version, createdMs } = mapping;
  const parsed = parseSubject(message.subject);
  const node = parsed?.what === 'violations' ? parsed.node : frame.nodeName;
  const place = {
    stream: 'VIOLATIONS',
    createdMs,
    sequence: message.sequence,
    storedMicros: message.timestampMicros,
  };
  return violationEvents(frame, node, place)
    .filter(({ value }) => !filter.pod || matchesPod(filter.pod, value.pod))
    .map((event) => render(event, format, version));
}
