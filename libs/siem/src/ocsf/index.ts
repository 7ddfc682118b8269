/** Renders an event as OCSF 1.5 JSON. */
import { compact, type SiemEvent } from '../event.ts';
import type { Json } from './base.ts';
import { ocsfOmission } from './omission.ts';
import { ocsfResponse } from './response.ts';
import { ocsfVerdict } from './verdict.ts';
import { ocsfViolation } from './violation.ts';

function ofClass(event: SiemEvent, version: string): Json {
  if (event.kind === 'violation') return ocsfViolation(event, version);
  if (event.kind === 'omission') return ocsfOmission(event, version);
  return event.kind === 'verdict' ? ocsfVerdict(event, version) : ocsfResponse(event, version);
}

export function toOcsf(event: SiemEvent, version: string): Json {
  const { unmapped, ...rest } = ofClass(event, version) as { unmapped?: { k8s?: Json } } & Json;
  const { uid, name } = event.origin.cluster ?? {};
  // OCSF has no attribute for a cluster either.
  return compact({
    ...rest,
    unmapped: { ...unmapped, k8s: { cluster_uid: uid, cluster_name: name, ...unmapped?.k8s } },
  });
}
