/**
 * Renders an event as a line of ArcSight Common Event Format, version 0:
 * `CEF:0|Bailiff|Bailiff|<version>|<class id>|<name>|<severity>|<extension>`.
 *
 * `externalId` is the event's uid. `src` is the pod that sent a packet, never its claimed source.
 * Values are escaped, so that none ends its field or the line. Pure. Source: Implementation
 * Standard, version 26 (escapes, extension dictionary, severities 0 to 10).
 */
import { escapeUnsafe } from '@bailiff/service/printable';
import { captureFacts } from './capture.ts';
import { activityOf, CLASSES, namespaceOf, severityOf } from './classes.ts';
import {
  baseName,
  clip,
  commandLine,
  type OmissionEvent,
  omissionMessage,
  type ResponseEvent,
  type SiemEvent,
  type ViolationEvent,
} from './event.ts';
import { commandUid, responseMessage } from './ocsf/response.ts';
import { verdictTitle } from './ocsf/verdict.ts';
import { countOf, protocolName, violationMessage } from './ocsf/violation.ts';

type Extension = Record<string, string | number | undefined>;

const millis = (micros: number): number => Math.floor(micros / 1000);

/** Escapes `\` and `|` in the header; line breaks are not allowed. */
export function escapeHeader(text: string): string {
  return escapeUnsafe(text.replaceAll(/[\r\n]+/g, ' ')).replaceAll(/[\\|]/g, '\\$&');
}

/**
 * Escapes `\` and `=` in a value; a line break becomes `\n`. CEF has no escape for other characters
 * that a terminal interprets or hides: they become the text `\u001b`.
 */
export function escapeValue(text: string): string {
  const printable = escapeUnsafe(text, '\r\n');
  return printable.replaceAll(/[\\=]/g, '\\$&').replaceAll(/\r\n|\r|\n/g, '\\n');
}

/**
 * Severity 1 informational to 5 critical → 1 to 10 in CEF: 0-3 low, 4-6 medium, 7-8 high, 9-10 very
 * high.
 */
const SEVERITY = [0, 1, 3, 5, 8, 10];

function violationExtension(event: ViolationEvent): Extension {
  const { value } = event;
  const { sample, operation } = value;
  const process = operation ?? sample?.process;
  const isPath = operation?.subject.startsWith('/') === true;
  return {
    rt: millis(value.lastSeenAt),
    start: millis(value.firstSeenAt),
    end: millis(value.lastSeenAt),
    act: value.action === 'drop' ? (value.operation?.outcome ?? 'drop') : 'audit',
    outcome: value.action === 'drop' ? 'failure' : 'success',
    cnt: countOf(value),
    src: sample?.expectedAddress,
    smac: sample?.expectedMac,
    spt: sample && sample.sourcePort > 0 ? sample.sourcePort : undefined,
    dst: sample?.destinationAddress || operation?.address,
    dpt: sample?.destinationPort || operation?.port || undefined,
    proto: protocolName(sample?.l4Protocol ?? operation?.protocol ?? 0),
    deviceDirection: sample ? (sample.direction === 'transmit' ? 1 : 0) : undefined,
    sproc: process ? clip(process.executable || process.comm) : undefined,
    spid: process?.tgid,
    suid: process ? String(process.uid) : undefined,
    filePath: isPath ? clip(operation.subject) : undefined,
    fname: isPath ? clip(baseName(operation.subject)) : undefined,
    cs3: value.vector,
    cs3Label: 'vector',
    cs4: value.policy,
    cs4Label: 'policy',
    cs5: sample?.claimedAddress || sample?.claimedMac,
    cs5Label: 'claimed',
    cs6: operation ? commandLine(operation.arguments) : undefined,
    cs6Label: 'commandLine',
    cn1: value.cumulativePackets,
    cn1Label: 'cumulative',
    deviceInboundInterface: value.interfaceName,
    msg: violationMessage(event),
  };
}

/** Dictionary keys that no other part of a response uses. */
function captureExtension({ capture }: ResponseEvent['value']): Extension {
  if (capture === null) return {};
  const { takenMs, processes, sockets, executables, peers } = captureFacts(capture);
  return {
    deviceCustomDate1: takenMs,
    deviceCustomDate1Label: 'captured',
    cn1: processes,
    cn1Label: 'processes',
    cn2: sockets,
    cn2Label: 'sockets',
    flexString1: executables.join(','),
    flexString1Label: 'executables',
    flexString2: peers.join(','),
    flexString2Label: 'peers',
  };
}

function responseExtension({ value }: ResponseEvent): Extension {
  return {
    rt: millis(value.recordedAt),
    act: value.action,
    outcome: value.phase,
    reason: value.reasonCode,
    requestMethod: value.apiVerb,
    request: clip(value.apiPath),
    cs3: value.verdictId,
    cs3Label: 'verdict',
    cs4: value.policy,
    cs4Label: 'policy',
    cs5: value.rule,
    cs5Label: 'rule',
    cs6: commandUid(value),
    cs6Label: 'command',
    ...captureExtension(value),
    msg: responseMessage(value),
  };
}

function omissionExtension(event: OmissionEvent): Extension {
  const { events, firstSequence, lastSequence, sinceMicros, untilMicros } = event.value;
  return {
    rt: millis(untilMicros),
    start: millis(sinceMicros),
    end: millis(untilMicros),
    cnt: events,
    cn1: firstSequence,
    cn1Label: 'firstSequence',
    cn2: lastSequence,
    cn2Label: 'lastSequence',
    msg: omissionMessage(event),
  };
}

function extensionOf(event: SiemEvent): Extension {
  if (event.kind === 'violation') return violationExtension(event);
  if (event.kind === 'response') return responseExtension(event);
  if (event.kind === 'omission') return omissionExtension(event);
  const { value } = event;
  return {
    rt: millis(value.triggeredAt),
    start: millis(value.windowStartAt),
    end: millis(value.triggeredAt),
    cnt: value.observed,
    cs3: value.verdictId,
    cs3Label: 'verdict',
    cs4: value.vectors.slice(0, 16).join(','),
    cs4Label: 'vectors',
    cs5: value.rule,
    cs5Label: 'rule',
    cn1: value.threshold,
    cn1Label: 'threshold',
    msg: `${verdictTitle(event)}: ${value.reason}`,
  };
}

function podOf(event: SiemEvent): string {
  if (event.kind === 'omission') return '';
  return event.kind === 'response' ? event.value.podName : (event.value.pod?.name ?? '');
}

/** A label without a value is left out. */
function extensionText(extension: Extension): string {
  const isSet = (key: string) => extension[key] !== undefined && extension[key] !== '';
  return Object.keys(extension)
    .filter((key) => isSet(key) && isSet(key.replace(/Label$/, '')))
    .map((key) => `${key}=${escapeValue(clip(String(extension[key])))}`)
    .join(' ');
}

export function toCef(event: SiemEvent, version: string): string {
  const { origin } = event;
  const activity = activityOf(event);
  const { uid, name } = CLASSES[activity.className];
  const header = ['CEF:0', 'Bailiff', 'Bailiff', version, String(uid * 100 + activity.id), `${name}: ${activity.name}`];
  const extension = {
    externalId: origin.uid,
    cat: activity.className,
    dvchost: origin.node,
    // No dictionary key names a cluster: these name the group of devices that the node belongs to.
    deviceExternalId: origin.cluster?.uid,
    deviceFacility: origin.cluster?.name,
    cs1: namespaceOf(event),
    cs1Label: 'namespace',
    cs2: podOf(event),
    cs2Label: 'pod',
    ...extensionOf(event),
  };
  const head = header.map((field, index) => (index === 0 ? field : escapeHeader(clip(field)))).join('|');
  return `${head}|${SEVERITY[severityOf(event).id] ?? 0}|${extensionText(extension)}`;
}
