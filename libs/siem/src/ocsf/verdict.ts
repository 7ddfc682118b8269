/**
 * Verdicts as OCSF: a Detection Finding with the verdict's id as `finding_info.uid`, the
 * violations as `related_events`, and their processes as `evidences`.
 */
import type { Evidence } from '@bailiff/schemas';
import { baseName, clip, techniquesOf, uidOf, type VerdictEvent } from '../event.ts';
import { attacksOf, baseEvent, deviceOf, type Json, kubernetesOf, millis, podResource } from './base.ts';

/** Limits, so that the event fits syslog. `related_events_count` is the total. */
const MAX_RELATED = 16;
const MAX_EVIDENCES = 8;

export function verdictTitle({ value }: VerdictEvent): string {
  const about = value.pod ? `${value.pod.namespace}/${value.pod.name}` : `node ${value.nodeName}`;
  return `${value.rule}: ${about}`;
}

function evidenceOf({ process }: Evidence): Json | null {
  if (!process) return null;
  const { executable, comm, tgid } = process;
  const name = clip(comm || baseName(executable) || String(tgid));
  return {
    name: process.operation === '' ? name : clip(`${process.operation} ${process.subject}`),
    process: {
      pid: tgid,
      name,
      path: clip(executable),
      user: { uid: String(process.uid) },
      container: process.containerName === '' ? undefined : { name: process.containerName, orchestrator: 'kubernetes' },
    },
    // Not as `parent_process`: OCSF requires its pid, which a verdict does not contain.
    data: { operation: process.operation, subject: clip(process.subject), parent: clip(process.parentExecutable) },
  };
}

function findingInfo(event: VerdictEvent): Json {
  const { value, evidence } = event;
  const related = value.evidence.slice(0, MAX_RELATED);
  return {
    uid: value.verdictId,
    title: clip(verdictTitle(event)),
    desc: clip(value.reason),
    created_time: millis(value.triggeredAt),
    first_seen_time: millis(value.windowStartAt),
    last_seen_time: millis(value.triggeredAt),
    types: value.vectors.slice(0, MAX_RELATED).map((vector) => clip(vector)),
    analytic: { name: value.rule, uid: value.rule, type: 'Rule', type_id: 1, category: value.ruleType },
    attacks: attacksOf(techniquesOf(value.tags)),
    related_events_count: value.evidence.length + value.evidenceOmitted,
    related_events: related.map(({ streamSequence: sequence, index, vector, packets }, at) => ({
      uid: uidOf({ stream: 'VIOLATIONS', createdMs: evidence[at] ?? 0, sequence }, index),
      type: clip(vector),
      count: packets,
    })),
  };
}

export function ocsfVerdict(event: VerdictEvent, version: string): Json {
  const { value, origin } = event;
  const base = baseEvent(event, {
    version,
    message: `${verdictTitle(event)}: ${value.reason}`,
    eventCode: value.rule,
    correlationUid: value.verdictId,
    timeMicros: value.triggeredAt,
    startMicros: value.windowStartAt,
    endMicros: value.triggeredAt,
    labels: value.tags,
    profiles: ['host', 'security_control', 'container'],
  });
  return {
    ...base,
    count: value.observed,
    status_id: 1,
    status: 'New',
    is_alert: true,
    finding_info: findingInfo(event),
    evidences: value.evidence
      .map(evidenceOf)
      .filter((one) => one !== null)
      .slice(0, MAX_EVIDENCES),
    resources: value.pod ? [podResource(value.pod)] : undefined,
    device: deviceOf(origin.node),
    unmapped: {
      k8s: kubernetesOf(value.pod, origin.node),
      bailiff: {
        rule: value.rule,
        rule_type: value.ruleType,
        group_by: value.groupBy,
        group_key: value.groupKey,
        observed: value.observed,
        threshold: value.threshold,
        config_revision: value.configRevision,
      },
    },
  };
}
