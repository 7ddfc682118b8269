/**
 * Renders an event in the Elastic Common Schema, version 9.4. Facts without an ECS field are below
 * `bailiff.*`.
 *
 * `event.id` is the event's uid. `source` is the pod that sent a packet, never its claimed source.
 * Pure. https://www.elastic.co/docs/reference/ecs
 */
import { rfc3339Micros } from '@bailiff/bus';
import type { OperationSample, Response, SocketProcess, Verdict, Violation } from '@bailiff/schemas';
import { captureJson } from './capture.ts';
import { activityOf, type ClassName, severityOf } from './classes.ts';
import {
  baseName,
  clip,
  commandLine,
  compact,
  type Omission,
  omissionMessage,
  type SiemEvent,
  techniquesOf,
} from './event.ts';
import type { Json } from './ocsf/base.ts';
import { commandUid, responseMessage, targetOf } from './ocsf/response.ts';
import { verdictTitle } from './ocsf/verdict.ts';
import { countOf, protocolName, violationMessage } from './ocsf/violation.ts';

export const ECS_VERSION = '9.4.0';

/** event.category; ECS defines its values. */
const CATEGORY: Readonly<Record<ClassName, string>> = {
  'file-system-activity': 'file',
  'kernel-activity': 'host',
  'event-log-activity': 'host',
  'process-activity': 'process',
  'network-activity': 'network',
  'detection-finding': 'intrusion_detection',
  'remediation-activity': 'configuration',
  'process-remediation-activity': 'process',
  'network-remediation-activity': 'network',
};

/** event.kind */
const KIND: Readonly<Record<SiemEvent['kind'], string>> = {
  violation: 'event',
  verdict: 'alert',
  response: 'event',
  omission: 'pipeline_error',
};

/** event.type, which refines the category. */
function typesOf(event: SiemEvent): string[] {
  if (event.kind === 'verdict' || event.kind === 'omission') return ['info'];
  if (event.kind === 'response') return event.value.phase === 'succeeded' ? ['change'] : ['info'];
  return [event.value.action === 'drop' ? 'denied' : 'allowed'];
}

/** ECS writes a MAC address in upper case with hyphens. */
const macOf = (mac: string | undefined): string | undefined => mac?.toUpperCase().replaceAll(':', '-');
const portOf = (port: number | undefined): number | undefined => (port !== undefined && port > 0 ? port : undefined);

function processOf(operation: OperationSample | null, made: SocketProcess | null): Json | undefined {
  const process = operation ?? made;
  if (!process) return undefined;
  return {
    pid: process.tgid,
    name: clip(process.comm || baseName(process.executable)),
    executable: clip(process.executable),
    user: { id: String(process.uid) },
    ...(operation
      ? {
          thread: { id: operation.tid },
          args: operation.arguments.slice(0, 64).map((word) => clip(word)),
          command_line: commandLine(operation.arguments),
          parent: { pid: portOf(operation.parentTgid), executable: clip(operation.parentExecutable) },
        }
      : {}),
  };
}

function endpoints(value: Violation): Json {
  const { sample, operation } = value;
  if (operation && operation.address !== '') {
    const local = /bind|listen/.test(operation.operation);
    const end = { ip: operation.address, address: operation.address, port: portOf(operation.port) };
    const transport = protocolName(operation.protocol);
    return {
      [local ? 'source' : 'destination']: end,
      network: { transport, iana_number: numberText(operation.protocol) },
    };
  }
  if (!sample) return {};
  return {
    source: {
      ip: sample.expectedAddress,
      address: sample.expectedAddress,
      mac: macOf(sample.expectedMac),
      port: portOf(sample.sourcePort),
      packets: countOf(value),
    },
    destination: {
      ip: sample.destinationAddress,
      address: sample.destinationAddress,
      port: portOf(sample.destinationPort),
    },
    network: {
      transport: protocolName(sample.l4Protocol),
      iana_number: numberText(sample.l4Protocol),
      direction: sample.direction === 'transmit' ? 'egress' : 'ingress',
      packets: countOf(value),
    },
  };
}

const numberText = (number: number): string | undefined => (number > 0 ? String(number) : undefined);

function violationParts(value: Violation): Json {
  const { sample, operation, pod } = value;
  const isFile = operation?.subject.startsWith('/') === true;
  const container = operation ?? sample?.process ?? null;
  const id = operation?.containerId.split('://').at(-1);
  return {
    process: processOf(operation, sample?.process ?? null),
    ...endpoints(value),
    file: isFile ? { path: clip(operation.subject), name: clip(baseName(operation.subject)) } : undefined,
    container: container ? { id, name: container.containerName } : undefined,
    rule: { name: value.vector, ruleset: value.policy, description: clip(value.message) },
    observer: { ingress: { interface: { name: value.interfaceName } } },
    service: pod ? { name: pod.ownerName || pod.name } : undefined,
    bailiff: {
      vector: value.vector,
      action: value.action,
      state: value.state,
      counter_epoch: value.counterEpoch,
      cumulative_packets: value.cumulativePackets,
      count: countOf(value),
      suppressed: value.suppressed,
      final: value.final,
      detail: clip(value.detail),
      claimed_address: sample?.claimedAddress,
      claimed_mac: sample?.claimedMac,
      operation: operation?.operation,
      subject: operation ? clip(operation.subject) : undefined,
      outcome: operation?.outcome,
    },
  };
}

function verdictParts(value: Verdict): Json {
  return {
    rule: { id: value.rule, name: value.rule, category: value.ruleType, description: clip(value.reason) },
    bailiff: {
      verdict_id: value.verdictId,
      group_by: value.groupBy,
      group_key: value.groupKey,
      observed: value.observed,
      threshold: value.threshold,
      vectors: value.vectors.slice(0, 16).map((vector) => clip(vector)),
      config_revision: value.configRevision,
    },
  };
}

function responseParts(value: Response): Json {
  return {
    rule: { id: value.rule, name: value.rule },
    http: value.apiVerb === '' ? undefined : { request: { method: value.apiVerb }, response: statusOf(value) },
    url: { path: clip(value.apiPath) },
    bailiff: {
      response_id: value.responseId,
      verdict_id: value.verdictId,
      command_uid: commandUid(value),
      policy: value.policy,
      action: value.action,
      phase: value.phase,
      reason_code: value.reasonCode,
      target: targetOf(value),
      capture: captureJson(value.capture),
    },
  };
}

function omissionParts({ events, firstSequence, lastSequence }: Omission): Json {
  return { bailiff: { events_omitted: events, first_sequence: firstSequence, last_sequence: lastSequence } };
}

const statusOf = ({ apiStatus }: Response): Json | undefined =>
  apiStatus > 0 ? { status_code: apiStatus } : undefined;

interface Facts {
  atMicros: number;
  startMicros?: number;
  action: string;
  outcome: 'success' | 'failure' | 'unknown';
  message: string;
  reason: string;
  tags: readonly string[];
  pod: { uid: string; namespace: string; name: string } | null;
  parts: Json;
}

function factsOf(event: SiemEvent): Facts {
  if (event.kind === 'violation') {
    const { value } = event;
    return {
      atMicros: value.lastSeenAt,
      startMicros: value.firstSeenAt,
      action: value.operation ? `${value.action}-${value.operation.operation}` : `${value.action}-${value.vector}`,
      outcome: value.action === 'drop' ? 'failure' : 'success',
      message: violationMessage(event),
      reason: value.message || value.detail,
      tags: value.tags,
      pod: value.pod,
      parts: violationParts(value),
    };
  }
  if (event.kind === 'verdict') {
    const { value } = event;
    return {
      atMicros: value.triggeredAt,
      startMicros: value.windowStartAt,
      action: value.rule,
      outcome: 'unknown',
      message: `${verdictTitle(event)}: ${value.reason}`,
      reason: value.reason,
      tags: value.tags,
      pod: value.pod,
      parts: verdictParts(value),
    };
  }
  if (event.kind === 'omission') {
    const { value } = event;
    return {
      atMicros: value.untilMicros,
      startMicros: value.sinceMicros,
      action: 'events-omitted',
      outcome: 'unknown',
      message: omissionMessage(event),
      reason: '',
      tags: [],
      pod: null,
      parts: omissionParts(value),
    };
  }
  const { value } = event;
  const { podUid, podNamespace, podName, phase } = value;
  return {
    atMicros: value.recordedAt,
    action: `${value.action}-${phase}`,
    outcome: phase === 'succeeded' || phase === 'undone' ? 'success' : phase === 'failed' ? 'failure' : 'unknown',
    message: responseMessage(value),
    reason: value.reason,
    tags: [],
    pod: podName === '' ? null : { uid: podUid, namespace: podNamespace, name: podName },
    parts: responseParts(value),
  };
}

export function toEcs(event: SiemEvent, version: string): Json {
  const { origin } = event;
  const { className } = activityOf(event);
  const facts = factsOf(event);
  const techniques = techniquesOf(facts.tags);
  const { pod, parts } = facts;
  return compact({
    '@timestamp': rfc3339Micros(facts.atMicros),
    ecs: { version: ECS_VERSION },
    message: clip(facts.message),
    event: {
      id: origin.uid,
      kind: KIND[event.kind],
      category: [CATEGORY[className]],
      type: typesOf(event),
      action: clip(facts.action),
      outcome: facts.outcome,
      severity: severityOf(event).id,
      module: 'bailiff',
      dataset: `bailiff.${origin.stream.toLowerCase()}`,
      provider: 'bailiff',
      sequence: origin.sequence,
      reason: clip(facts.reason),
      start: facts.startMicros === undefined ? undefined : rfc3339Micros(facts.startMicros),
      end: facts.startMicros === undefined ? undefined : rfc3339Micros(facts.atMicros),
      created: rfc3339Micros(origin.storedMicros),
    },
    host: { name: origin.node, hostname: origin.node },
    orchestrator: {
      type: 'kubernetes',
      cluster: { id: origin.cluster?.uid, name: origin.cluster?.name },
      namespace: pod?.namespace,
      resource: pod ? { type: 'pod', name: pod.name, id: pod.uid } : undefined,
    },
    threat: { framework: techniques.length > 0 ? 'MITRE ATT&CK' : undefined, technique: { id: techniques } },
    tags: facts.tags.map((tag) => clip(tag)),
    ...parts,
    observer: { vendor: 'Bailiff', product: 'Bailiff', version, type: 'ids', ...(parts['observer'] as Json) },
  });
}
