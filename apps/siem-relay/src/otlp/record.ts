/**
 * An OCSF event as a log record of OpenTelemetry, with the names of its semantic conventions:
 * `k8s.*`, `security_rule.*`, `log.record.uid`. Pure.
 * https://opentelemetry.io/docs/specs/otel/logs/data-model
 */
import * as z from 'zod';
import { filled, placeOf, readOcsf } from '../outputs/facts.ts';
import type { OutputEvent } from '../outputs/output.ts';

/** OCSF severity 0 unknown to 5 critical: unspecified, INFO, INFO2, WARN, ERROR, FATAL. */
const SEVERITY = [0, 9, 10, 13, 17, 21];
/**
 * Microseconds. A node writes the time of its violations, and a receiver can refuse all of a request for one time: Loki
 * does if it is an hour older than the newest one that it has of this resource, a week old, or ten minutes ahead.
 */
const MAX_OLDER = 1_800_000_000;
const MAX_AHEAD = 60_000_000;

const text = z.string().catch('');
const ocsf = z.object({
  message: text,
  severity: text,
  metadata: z.object({ logged_time: z.number().catch(0) }).catch({ logged_time: 0 }),
  policy: z.object({ name: text }).optional().catch(undefined),
  finding_info: z.object({ desc: text }).optional().catch(undefined),
  unmapped: z
    .object({
      k8s: placeOf(text),
      bailiff: z.object({ rule: text, rule_type: text, vector: text, action: text, phase: text, verdict_id: text }),
    })
    .partial()
    .catch({}),
});

export interface LogRecord {
  timeMicros: number;
  observedMicros: number;
  severityNumber: number;
  severityText: string;
  eventName: string;
  body: string;
  /** Without empty values. */
  attributes: Record<string, string>;
}

/** Records of one resource. */
export interface ResourceLogs {
  resource: Record<string, string>;
  records: LogRecord[];
}

/** @throws DeliveryError OUTPUT_REFUSED if an event is no JSON */
export function resourceLogsOf(events: readonly OutputEvent[], version: string): ResourceLogs[] {
  const byResource = new Map<string, ResourceLogs>();
  for (const event of events) {
    const { cluster, record } = recordOf(event);
    const resource = { 'service.name': 'bailiff', 'service.version': version, ...cluster };
    const key = JSON.stringify(resource);
    const logs: ResourceLogs = byResource.get(key) ?? { resource, records: [] };
    logs.records.push(record);
    byResource.set(key, logs);
  }
  return [...byResource.values()];
}

function recordOf(event: OutputEvent): { cluster: Record<string, string>; record: LogRecord } {
  const json = Buffer.from(event.data).toString('utf8');
  const value = readOcsf(json, ocsf);
  const { k8s, bailiff } = value.unmapped;
  const attributes = filled({
    'log.record.uid': event.uid,
    'k8s.node.name': k8s?.node_name || event.node,
    'k8s.namespace.name': k8s?.namespace,
    'k8s.pod.name': k8s?.pod_name,
    'k8s.pod.uid': k8s?.pod_uid,
    'security_rule.name': bailiff?.rule || bailiff?.vector,
    'security_rule.category': bailiff?.rule_type,
    'security_rule.description': value.finding_info?.desc,
    'security_rule.ruleset.name': value.policy?.name,
    'bailiff.action': bailiff?.action,
    'bailiff.phase': bailiff?.phase,
    'bailiff.verdict.id': bailiff?.verdict_id,
    // All of it, for receivers that map OCSF.
    'bailiff.ocsf': json,
  });
  // When the bus stored the message: an event that the relay publishes again has the same record.
  const observedMicros = value.metadata.logged_time * 1000 || event.storedMicros;
  return {
    cluster: filled({ 'k8s.cluster.uid': k8s?.cluster_uid, 'k8s.cluster.name': k8s?.cluster_name }),
    record: {
      timeMicros: isCredible(event.timeMicros, observedMicros) ? event.timeMicros : observedMicros,
      observedMicros,
      severityNumber: SEVERITY[event.severity] ?? 0,
      severityText: value.severity,
      eventName: `bailiff.${event.className}`,
      body: value.message,
      attributes,
    },
  };
}

const isCredible = (micros: number, observedMicros: number) =>
  micros > observedMicros - MAX_OLDER && micros < observedMicros + MAX_AHEAD;
