/**
 * CloudEvents 1.0 attributes as message headers (binary content mode of its NATS binding:
 * `ce-<attribute>`). The cluster is an extension of it, for readers of several clusters.
 */
import type { ClusterIdentity } from '@bailiff/schemas';

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
  /** Of the writer. Absent: not known. */
  cluster?: ClusterIdentity | undefined;
}

/** RFC 3339 with six decimals. */
export function rfc3339Micros(timeMicros: number): string {
  const seconds = Math.floor(timeMicros / 1_000_000);
  const micros = timeMicros - seconds * 1_000_000;
  return `${new Date(seconds * 1000).toISOString().slice(0, 19)}.${String(micros).padStart(6, '0')}Z`;
}

/** Percent-encoded as the HTTP binding requires: a name of an operator may have any character. */
const headerValue = (text: string): string =>
  Buffer.from(text, 'utf8')
    .toString('latin1')
    .replaceAll(/[^\x21-\x7e]|["%]/g, (byte) => `%${byte.charCodeAt(0).toString(16).toUpperCase().padStart(2, '0')}`);

export function cloudEventHeaders(event: CloudEvent): Record<string, string> {
  return {
    'ce-specversion': '1.0',
    'ce-id': event.id,
    'ce-type': event.type,
    'ce-source': event.source,
    'ce-time': rfc3339Micros(event.timeMicros),
    ...(event.subject === undefined ? {} : { 'ce-subject': event.subject }),
    ...(event.cluster?.uid ? { 'ce-clusteruid': headerValue(event.cluster.uid) } : {}),
    ...(event.cluster?.name ? { 'ce-clustername': headerValue(event.cluster.name) } : {}),
    'Content-Type': 'avro/binary',
  };
}
