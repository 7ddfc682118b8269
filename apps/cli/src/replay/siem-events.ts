/**
 * Violations as SIEM events, with the mapping and the uids of the siem-relay, so that a SIEM can
 * deduplicate them. Only the product version is that of this command. Pure.
 */
import type { SiemFormat } from '@bailiff/bus';
import { matchesPod } from '@bailiff/insight';
import { type Rendered, render, violationEvents } from '@bailiff/siem';
import type { Replayed } from './replayed.ts';

export interface SiemMapping {
  format: SiemFormat;
  version: string;
  /** Creation time of VIOLATIONS in milliseconds since 1970, a part of each uid. */
  createdMs: number;
}

/** Guard gaps become no events, as in the siem-relay. */
export function siemEvents({ message, judged, filter }: Replayed, mapping: SiemMapping): Rendered[] {
  const { format, version, createdMs } = mapping;
  const { frame, node, refusedWhole } = judged;
  if (refusedWhole?.reason === 'foreign-node') return [];
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
