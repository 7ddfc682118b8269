/** Renders an event as OCSF 1.5 JSON. */
import { compact, type OmissionEvent, omissionMessage, type SiemEvent } from '../event.ts';
import { baseEvent, deviceOf, type Json, kubernetesOf } from './base.ts';
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

/** Omitted events as OCSF: an activity of the event log, which lacks them. */
function ocsfOmission(event: OmissionEvent, version: string): Json {
  const { value, origin } = event;
  const { events, firstSequence, lastSequence, sinceMicros, untilMicros } = value;
  const base = baseEvent(event, {
    version,
    message: omissionMessage(event),
    eventCode: 'events-omitted',
    timeMicros: untilMicros,
    startMicros: sinceMicros,
    endMicros: untilMicros,
    profiles: ['host'],
  });
  return {
    ...base,
    count: events,
    device: deviceOf(origin.node),
    log_name: 'SIEM',
    log_provider: 'bailiff',
    unmapped: {
      k8s: kubernetesOf(null, origin.node),
      bailiff: { events_omitted: events, first_sequence: firstSequence, last_sequence: lastSequence },
    },
  };
}
