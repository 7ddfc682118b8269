/**
 * CloudEvents 1.0 attributes as message headers (binary content mode of its NATS binding:
 * `ce-<attribute>`).
 */

export interface CloudEvent {
  /** Unique within `source`. */
  id: string;
  /** `dev.bailiff.violation-frame.v1` and the like. */
  type: string;
  /** Producer: `/nodes/<node>`, `/correlator`. */
  source: string;
  /** Microseconds since 1970. */
  timeMicros: number;
  /** Set if the event is about a single object. */
  subject?: string;
}

/** RFC 3339 with six decimals. */
export function rfc3339Micros(timeMicros: number): string {
  const seconds = Math.floor(timeMicros / 1_000_000);
  const micros = timeMicros - seconds * 1_000_000;
  return `${new Date(seconds * 1000).toISOString().slice(0, 19)}.${String(micros).padStart(6, '0')}Z`;
}

export function cloudEventHeaders(event: CloudEvent): Record<string, string> {
  return {
    'ce-specversion': '1.0',
    'ce-id': event.id,
    'ce-type': event.type,
    'ce-source': event.source,
    'ce-time': rfc3339Micros(event.timeMicros),
    ...(event.subject === undefined ? {} : { 'ce-subject': event.subject }),
    'Content-Type': 'avro/binary',
  };
}
