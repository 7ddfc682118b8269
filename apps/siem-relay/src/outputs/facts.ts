/** What a person needs to know of an OCSF event, for receivers that take no OCSF. Pure. */
import { escapeUnsafe } from '@bailiff/service/printable';
import * as z from 'zod';
import { DeliveryError, type OutputEvent } from './output.ts';

/** Classes of SIEM events by what they are about. */
export const CLASSES = {
  verdicts: ['detection-finding'],
  responses: ['remediation-activity', 'process-remediation-activity', 'network-remediation-activity'],
} as const;

/** Without characters that a terminal or a chat obeys or hides: a pod chooses the names of its programs. */
const text = z
  .string()
  .catch('')
  .transform((value) => escapeUnsafe(value));
/** Where an event happened. @param text what its texts may contain */
export const placeOf = (text: z.ZodType<string>) =>
  z.object({ cluster_uid: text, cluster_name: text, node_name: text, namespace: text, pod_name: text, pod_uid: text });

/** Fields of libs/siem/src/ocsf that are used here. A shortened event may lack some. */
const ocsf = z.object({
  message: text,
  severity: text,
  finding_info: z.object({ uid: text, title: text, desc: text }).optional(),
  status: text,
  metadata: z
    .object({ correlation_uid: text, labels: z.array(text).catch([]) })
    .catch({ correlation_uid: '', labels: [] }),
  evidences: z.array(z.object({ process: z.object({ name: text, path: text }) })).catch([]),
  unmapped: z
    .object({
      k8s: placeOf(text),
      bailiff: z.object({ rule: text, action: text, phase: text }),
    })
    .partial()
    .catch({}),
});

export interface Facts {
  kind: 'verdict' | 'response' | 'other';
  uid: string;
  /** Of a verdict, and of the verdict of a response; otherwise empty. */
  verdictId: string;
  title: string;
  summary: string;
  /** `informational` to `critical`, or `unknown`. */
  level: string;
  rule: string;
  clusterUid: string;
  clusterName: string;
  node: string;
  namespace: string;
  pod: string;
  podUid: string;
  /** Of a response. */
  action: string;
  phase: string;
  /** Process and its executable of the newest evidence that names one. */
  process: string;
  executable: string;
  /** Of the rule. */
  tags: readonly string[];
  timeMs: number;
}

/** A sentence for a receiver that may pass it to a chat, in which < and > make links and mentions. */
export const withoutMarkup = (sentence: string): string => sentence.replaceAll('<', '‹').replaceAll('>', '›');

/** Without empty values. */
export const filled = (values: Record<string, string | undefined>): Record<string, string> =>
  Object.fromEntries(Object.entries(values).filter((entry): entry is [string, string] => Boolean(entry[1])));

/** @throws DeliveryError OUTPUT_REFUSED if the event is no JSON */
export function readOcsf<T>(json: string, schema: z.ZodType<T>): T {
  try {
    return schema.parse(JSON.parse(json));
  } catch (cause) {
    throw new DeliveryError('OUTPUT_REFUSED', 'the event cannot be read', { cause });
  }
}

/** @throws as readOcsf */
export function factsOf(event: OutputEvent): Facts {
  const value = readOcsf(Buffer.from(event.data).toString('utf8'), ocsf);
  const { k8s, bailiff } = value.unmapped;
  const kind =
    event.className === 'detection-finding' ? 'verdict' : /remediation/.test(event.className) ? 'response' : 'other';
  return {
    kind,
    uid: event.uid,
    verdictId: value.finding_info?.uid || value.metadata.correlation_uid,
    title: value.finding_info?.title || value.message,
    summary: value.finding_info?.desc || value.message,
    level: value.severity.toLowerCase() || 'unknown',
    rule: bailiff?.rule ?? '',
    clusterUid: k8s?.cluster_uid ?? '',
    clusterName: k8s?.cluster_name ?? '',
    node: k8s?.node_name || event.node,
    namespace: k8s?.namespace ?? '',
    pod: k8s?.pod_name ?? '',
    podUid: k8s?.pod_uid ?? '',
    action: bailiff?.action ?? '',
    phase: bailiff?.phase ?? '',
    process: value.evidences[0]?.process.name ?? '',
    executable: value.evidences[0]?.process.path ?? '',
    tags: value.metadata.labels,
    timeMs: Math.floor(event.timeMicros / 1000),
  };
}
