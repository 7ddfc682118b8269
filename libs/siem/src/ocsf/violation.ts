/**
 * Violations as OCSF: a spoofed packet is Network Activity of the pod that sent it, a denied
 * operation is activity of the process that attempted it.
 *
 * `src_endpoint` of a spoofed packet is the sending pod, never its claimed source. The claimed
 * source is in `unmapped`, so that a correlation by address does not mistake the victim for the
 * attacker.
 */
import type { OperationSample, PacketSample, Violation } from '@bailiff/schemas';
import { activityOf } from '../classes.ts';
import { baseName, clip, commandLine, techniquesOf, type ViolationEvent } from '../event.ts';
import { attacksOf, baseEvent, deviceOf, type Json, kubernetesOf, operationProcess, socketProcess } from './base.ts';

/** Names of the IANA registry. */
const PROTOCOLS: Readonly<Record<number, string>> = {
  1: 'icmp',
  2: 'igmp',
  6: 'tcp',
  17: 'udp',
  58: 'ipv6-icmp',
  132: 'sctp',
};
export const protocolName = (number: number): string | undefined => PROTOCOLS[number];

/** Number of packets or operations of a violation; at least one. */
export const countOf = ({ count, suppressed }: Violation): number => Math.max(1, count + suppressed);

export const podName = (violation: Violation): string =>
  violation.pod ? `${violation.pod.namespace}/${violation.pod.name}` : violation.interfaceName || 'unknown';

/** A pod chooses paths, and a node vectors: with spaces they could go on with the sentence. */
const word = (text: string): string => (text === '' ? '' : commandLine([text]));

/** Message of one sentence. */
export function violationMessage(event: ViolationEvent): string {
  const { value } = event;
  const done = value.action === 'drop' ? 'refused' : 'seen';
  if (value.kind === 'spoof') {
    const verb = value.action === 'drop' ? 'dropped' : 'seen';
    const count = countOf(value);
    const claimed = value.sample?.claimedAddress || value.sample?.claimedMac;
    return `${word(value.vector)}: ${count} ${count === 1 ? 'packet' : 'packets'} of ${word(podName(value))} ${verb}${claimed ? `, sent as ${word(claimed)}` : ''}`;
  }
  const { operation } = value;
  const what = operation
    ? `${word(operation.operation)} ${word(operation.subject || operation.address)}`
    : 'operations';
  const by = operation ? ` by ${word(operation.executable || operation.comm)}` : '';
  return `${word(value.vector)}: ${what} in ${word(podName(value))}${by} ${done}${value.message ? `: ${value.message}` : ''}`;
}

/** Security control profile: the action taken by the kernel. */
function control(value: Violation): Json {
  const refused = value.action === 'drop';
  const [disposition_id, disposition] = !refused
    ? [17, 'Logged']
    : value.kind === 'spoof'
      ? [6, 'Dropped']
      : [2, 'Blocked'];
  return {
    action_id: refused ? 2 : 1,
    action: refused ? 'Denied' : 'Allowed',
    disposition_id,
    disposition,
    status_id: refused ? 2 : 1,
    status: refused ? 'Failure' : 'Success',
    status_detail: value.operation?.outcome === 'kill' ? 'the process was killed' : undefined,
    is_alert: refused,
    attacks: attacksOf(techniquesOf(value.tags)),
    policy:
      value.policy === '' ? undefined : { uid: value.policy, name: value.policy, version: `${value.policyRevision}` },
  };
}

function unmapped(event: ViolationEvent): Json {
  const { value, origin } = event;
  const { sample, operation } = value;
  return {
    k8s: kubernetesOf(value.pod, origin.node),
    bailiff: {
      vector: value.vector,
      state: value.state,
      counter_epoch: value.counterEpoch,
      cumulative_packets: value.cumulativePackets,
      suppressed: value.suppressed,
      final: value.final,
      detail: clip(value.detail),
      interface_name: value.interfaceName,
      claimed_address: sample?.claimedAddress,
      claimed_mac: sample?.claimedMac,
      ether_type: sample?.etherType,
      operation: operation?.operation,
      subject: operation ? clip(operation.subject) : undefined,
      capabilities: operation?.capabilities,
    },
  };
}

function packetEndpoints(value: Violation, sample: PacketSample | null): Json {
  const source = {
    ip: sample?.expectedAddress,
    mac: sample?.expectedMac,
    port: sample && sample.sourcePort > 0 ? sample.sourcePort : undefined,
    name: podName(value),
    uid: value.pod?.uid,
    interface_name: value.interfaceName,
  };
  const destination = {
    // OCSF 1.3 requires the object and one of its names; ARP, for example, has no address.
    name: sample?.destinationAddress || 'unknown',
    ip: sample?.destinationAddress,
    port: sample && sample.destinationPort > 0 ? sample.destinationPort : undefined,
  };
  const outbound = sample?.direction !== 'receive';
  const ends = outbound
    ? { src_endpoint: source, dst_endpoint: destination }
    : { src_endpoint: { name: 'unknown' }, dst_endpoint: { ...source, port: undefined } };
  return {
    ...ends,
    connection_info: {
      direction_id: outbound ? 2 : 1,
      direction: outbound ? 'Outbound' : 'Inbound',
      ...protocolOf(sample?.l4Protocol ?? 0),
    },
    traffic: { packets: countOf(value) },
  };
}

function protocolOf(number: number): Json {
  return number > 0 ? { protocol_num: number, protocol_name: protocolName(number) } : {};
}

function operationEndpoints(value: Violation, operation: OperationSample): Json {
  const { address, port, protocol, subject } = operation;
  const local = /^(unix-)?(bind|listen)$/.test(operation.operation);
  const other = { name: address || clip(subject) || 'unknown', ip: address, port: port > 0 ? port : undefined };
  const pod = { name: podName(value), uid: value.pod?.uid, ...(local ? { ip: address, port: other.port } : {}) };
  return {
    src_endpoint: pod,
    dst_endpoint: local ? { name: 'unknown' } : other,
    connection_info: {
      direction_id: local ? 1 : 2,
      direction: local ? 'Inbound' : 'Outbound',
      ...protocolOf(protocol),
    },
  };
}

/** Attributes required by the class of an operation, in addition to its process. */
function operationTarget(value: Violation, operation: OperationSample | null, className: string): Json {
  if (operation === null) return { process: { name: 'unknown', uid: value.counterEpoch } };
  const subject = clip(operation.subject) || 'unknown';
  if (className === 'file-system-activity')
    return { file: { name: clip(baseName(subject)), path: subject, type: 'Unknown', type_id: 0 } };
  if (className === 'kernel-activity') {
    const name = operation.operation === subject ? subject : `${operation.operation} ${subject}`;
    return { kernel: { name, type: operation.operation, type_id: 99 } };
  }
  if (className === 'network-activity') return operationEndpoints(value, operation);
  // A denied program has no process yet. It is named by its path, inside the process that attempted
  // it.
  const target = operationProcess(operation, value.pod);
  if (!['execute', 'map-execute', 'drift'].includes(operation.operation)) return { process: target };
  const file = { name: clip(baseName(subject)), path: subject, type: 'Regular File', type_id: 1 };
  return { process: { ...target, name: clip(baseName(subject)), path: subject, file } };
}

export function ocsfViolation(event: ViolationEvent, version: string): Json {
  const { value, origin } = event;
  const { className } = activityOf(event);
  const { operation, sample } = value;
  const made = sample?.process ?? null;
  const process = operation
    ? operationProcess(operation, value.pod)
    : made
      ? socketProcess(made, value.pod)
      : undefined;
  const target = value.kind === 'spoof' ? packetEndpoints(value, sample) : operationTarget(value, operation, className);
  const base = baseEvent(event, {
    version,
    message: violationMessage(event),
    eventCode: value.vector,
    timeMicros: value.lastSeenAt,
    startMicros: value.firstSeenAt,
    endMicros: value.lastSeenAt,
    labels: value.tags,
    profiles: ['host', 'security_control', 'container'],
  });
  return {
    ...base,
    count: countOf(value),
    device: deviceOf(origin.node),
    // Required by the classes of System Activity; without a sample the process is unknown.
    actor: process ? { process } : value.kind === 'lsm' ? { app_name: podName(value) } : undefined,
    ...target,
    ...control(value),
    unmapped: unmapped(event),
  };
}
