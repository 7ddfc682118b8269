/**
 * An event in the JSON format of Falco, so that Falcosidekick and Falco Talon accept it by HTTP as one
 * of Falco. Pure.
 *
 * Falcosidekick refuses an event without priority, rule, time or output fields, and both expect the
 * names of a pod as texts. Texts of facts are printable already. A response has a rule name of its own: what acts on the rules of verdicts
 * does not act on responses. Format: https://falco.org/docs/outputs/formatting and
 * https://github.com/falcosecurity/falcosidekick (types/types.go)
 */
import { createHash } from 'node:crypto';
import { rfc3339Micros } from '@bailiff/bus';
import { clip } from '@bailiff/siem';
import { type Facts, withoutMarkup } from '../outputs/facts.ts';
import type { OutputEvent } from '../outputs/output.ts';

const PRIORITY: Readonly<Record<string, string>> = {
  critical: 'Critical',
  high: 'Error',
  medium: 'Warning',
  low: 'Notice',
  informational: 'Informational',
};
/** Of a text. */
const MAX_TEXT = 2_048;

const cut = (text: string): string => clip(text, MAX_TEXT);
const sentence = (text: string): string => cut(withoutMarkup(text));

export function falcoEvent({ timeMicros }: OutputEvent, facts: Facts): Record<string, unknown> {
  const time = rfc3339Micros(timeMicros).replace('Z', '000Z');
  const priority = PRIORITY[facts.level] ?? 'Warning';
  // As Falco writes it: Talon removes this beginning.
  const output = `${time.slice(11, -1)}: ${priority} ${sentence(facts.title)}: ${sentence(facts.summary)}`;
  return {
    uuid: uuidOf(facts.uid),
    output,
    priority,
    rule: facts.kind === 'response' ? `bailiff-response-${facts.action}` : cut(facts.rule) || 'bailiff',
    time,
    source: 'bailiff',
    tags: facts.tags.map(cut),
    hostname: facts.node || 'unknown',
    output_fields: fieldsOf(facts, time),
  };
}

/** Falco's names where it has one; each value is a text. Empty ones are left out. */
function fieldsOf(facts: Facts, time: string): Record<string, string> {
  const fields = {
    'evt.time.iso8601': time,
    'k8s.ns.name': facts.namespace,
    'k8s.pod.name': facts.pod,
    'k8s.pod.uid': facts.podUid,
    // Chosen by the pod. Falcosidekick copies fields into messages of chats.
    'proc.name': withoutMarkup(facts.process),
    'proc.exepath': withoutMarkup(facts.executable),
    'bailiff.uid': facts.uid,
    'bailiff.verdict.id': facts.verdictId,
    'bailiff.rule': facts.rule,
    'bailiff.level': facts.level,
    'bailiff.action': facts.action,
    'bailiff.phase': facts.phase,
    'bailiff.node.name': facts.node,
    'bailiff.cluster.uid': facts.clusterUid,
    'bailiff.cluster.name': facts.clusterName,
  };
  return Object.fromEntries(
    Object.entries(fields).flatMap(([name, value]) => (value === '' ? [] : [[name, cut(value)]])),
  );
}

/** The id of an event as a UUID (RFC 9562, version 8), the same for each attempt. */
function uuidOf(uid: string): string {
  const bytes = createHash('sha256').update(uid).digest().subarray(0, 16);
  bytes.writeUInt8((bytes.readUInt8(6) & 0x0f) | 0x80, 6);
  bytes.writeUInt8((bytes.readUInt8(8) & 0x3f) | 0x80, 8);
  return bytes.toString('hex').replace(/^(.{8})(.{4})(.{4})(.{4})/, '$1-$2-$3-$4-');
}
