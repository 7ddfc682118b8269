/** Omitted events as OCSF: an activity of the event log, which lacks them. */
import { type OmissionEvent, omissionMessage } from '../event.ts';
import { baseEvent, deviceOf, type Json, kubernetesOf } from './base.ts';

export function ocsfOmission(event: OmissionEvent, version: string): Json {
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
