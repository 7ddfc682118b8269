/**
 * Base attributes of every OCSF event, and objects that several classes share. Version 1.5.0, with
 * what 1.3.0 requires in addition. ocsf.test.ts checks the required attributes of each class.
 * https://schema.ocsf.io/1.5.0
 */
import type { OperationSample, SocketProcess } from '@bailiff/schemas';
import { activityOf, CLASSES, severityOf } from '../classes.ts';
import { baseName, clip, commandLine, type SiemEvent } from '../event.ts';

export const OCSF_VERSION = '1.5.0';
/** device.type_id, network_endpoint.type_id */
const TYPE_SERVER = 1;

export type Json = Record<string, unknown>;

export const millis = (micros: number): number => Math.floor(micros / 1000);

interface Times {
  timeMicros: number;
  startMicros?: number;
  endMicros?: number;
}

export interface BaseParts extends Times {
  version: string;
  /** Summary that analysts read first. */
  message: string;
  eventCode: string;
  /** The verdict of an event. */
  correlationUid?: string;
  labels?: readonly string[];
  profiles: readonly string[];
}

/** Attributes of the base event. */
export function baseEvent(event: SiemEvent, parts: BaseParts): Json {
  const { origin } = event;
  const activity = activityOf(event);
  const { uid, name, category, categoryName } = CLASSES[activity.className];
  const severity = severityOf(event);
  const { startMicros, endMicros } = parts;
  return {
    activity_id: activity.id,
    activity_name: activity.name,
    category_uid: category,
    category_name: categoryName,
    class_uid: uid,
    class_name: name,
    type_uid: uid * 100 + activity.id,
    type_name: `${name}: ${activity.name}`,
    severity_id: severity.id,
    severity: severity.name,
    time: millis(parts.timeMicros),
    ...(startMicros === undefined ? {} : { start_time: millis(startMicros) }),
    ...(endMicros === undefined ? {} : { end_time: millis(endMicros) }),
    message: clip(parts.message),
    metadata: {
      uid: origin.uid,
      version: OCSF_VERSION,
      product: { name: 'Bailiff', vendor_name: 'Bailiff', version: parts.version },
      profiles: parts.profiles,
      event_code: clip(parts.eventCode),
      correlation_uid: parts.correlationUid,
      labels: parts.labels?.map((label) => clip(label)),
      log_name: origin.stream,
      log_provider: 'bailiff',
      logged_time: millis(origin.storedMicros),
      sequence: origin.sequence,
    },
  };
}

/** The node as a device. */
export function deviceOf(node: string): Json {
  const name = node || 'unknown';
  return { name, hostname: node, uid: name, type: 'Server', type_id: TYPE_SERVER };
}

interface PodNames {
  uid: string;
  namespace: string;
  name: string;
  ownerKind?: string;
  ownerName?: string;
  serviceAccount?: string;
}

/** A pod as a resource. */
export function podResource(pod: PodNames): Json {
  const owner = pod.ownerName ? { name: `${pod.ownerKind}/${pod.ownerName}` } : undefined;
  return { type: 'Pod', uid: pod.uid, name: pod.name, namespace: pod.namespace, owner };
}

/** Pod and node, for which OCSF has no attribute. */
export function kubernetesOf(pod: PodNames | null, node: string): Json {
  if (!pod) return { node_name: node };
  return {
    node_name: node,
    namespace: pod.namespace,
    pod_name: pod.name,
    pod_uid: pod.uid,
    owner_kind: pod.ownerKind,
    owner_name: pod.ownerName,
    service_account: pod.serviceAccount,
  };
}

/** Container profile of a process. */
function containerOf(uid: string, name: string, pod: PodNames | null): Json | undefined {
  if (uid === '' && name === '') return undefined;
  return { uid: clip(uid), name: clip(name), pod_uuid: pod?.uid, orchestrator: 'kubernetes' };
}

const fileOf = (path: string): Json | undefined =>
  path === '' ? undefined : { name: clip(baseName(path)), path: clip(path), type: 'Regular File', type_id: 1 };

/** The process that performed an operation. */
export function operationProcess(operation: OperationSample, pod: PodNames | null): Json {
  const { tgid, tid, uid, comm, executable, parentTgid, parentExecutable } = operation;
  const parentName = baseName(parentExecutable);
  return {
    pid: tgid,
    tid,
    name: clip(comm || baseName(executable) || String(tgid)),
    path: clip(executable),
    file: fileOf(executable),
    cmd_line: commandLine(operation.arguments),
    user: { uid: String(uid) },
    container: containerOf(operation.containerId, operation.containerName, pod),
    parent_process:
      parentTgid > 0
        ? { pid: parentTgid, name: clip(parentName || String(parentTgid)), path: clip(parentExecutable) }
        : undefined,
  };
}

/** The process that opened the socket of a packet. */
export function socketProcess(process: SocketProcess, pod: PodNames | null): Json {
  const { tgid, uid, comm, executable, containerName } = process;
  return {
    pid: tgid,
    name: clip(comm || baseName(executable) || String(tgid)),
    path: clip(executable),
    file: fileOf(executable),
    user: { uid: String(uid) },
    container: containerOf('', containerName, pod),
  };
}

/** `[{ technique: { uid } }]` from ATT&CK ids. */
export function attacksOf(techniques: readonly string[]): Json[] {
  return techniques.map((uid) => {
    const [technique] = uid.split('.');
    return {
      technique: { uid: technique, src_url: `https://attack.mitre.org/techniques/${technique}` },
      sub_technique: technique === uid ? undefined : { uid },
    };
  });
}
