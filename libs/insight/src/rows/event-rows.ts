/**
 * Violation frames as rows and their JSON. Pure. One row per violation, and one per interface
 * that sent packets before it was guarded.
 */
import type { CounterHulls } from '@bailiff/correlation';
import type { GuardGap, PacketSample, Violation, ViolationFrame } from '@bailiff/schemas';
import { matchesPod, type PodSelector } from '../pod-selector.ts';
import { isoMicros } from '../text.ts';
import { endpoint, operationText, programText, protocolName } from './operation-text.ts';

/** `gap`: packets that an interface sent before its programs were attached. */
export const EVENT_KINDS = ['spoof', 'lsm', 'gap'] as const;
export type EventKind = (typeof EVENT_KINDS)[number];

/** Why a violation does not count: the correlator refuses it, or would. */
export interface Refused {
  /** As in dead letters, or `unlisted`. */
  reason: string;
  /** One sentence for a person. */
  detail: string;
}

/** A frame with the node of its subject, and what of it does not count. */
export interface NodeFrame {
  node: string;
  frame: ViolationFrame;
  /** By index of the violation; null: it counts. */
  refused: readonly (Refused | null)[];
  /** Why none of the frame counts. */
  refusedWhole: Refused | null;
}

interface Place {
  /** Sequence in VIOLATIONS. */
  sequence: number;
  /** Index in the frame. */
  index: number;
  storedAtMicros: number;
  /** By the subject of the frame. */
  nodeName: string;
  /** The row is the node's word alone, and in no count. */
  refused: Refused | null;
}
interface GapRow {
  kind: 'gap';
  gap: GuardGap;
  atMicros: number;
  /** The interface's pod; null if unknown. */
  pod: string | null;
}
interface ViolationRow {
  kind: 'spoof' | 'lsm';
  violation: Violation;
  /** Packets or operations that it adds to the rows before it; 0 if it is refused. */
  packets: number;
}
export type EventRow = Place & (ViolationRow | GapRow);

export interface EventFilter {
  pod?: PodSelector | null;
  namespace?: string | undefined;
  node?: string | undefined;
  kind?: EventKind | undefined;
  vector?: string | undefined;
  action?: string | undefined;
}

/** Rows of a frame that match the filter. @param hulls of the listing: its rows add up to the truth */
export function eventRows(
  { node, frame, refused, refusedWhole }: NodeFrame,
  stored: { sequence: number; timestampMicros: number },
  filter: EventFilter,
  hulls: CounterHulls,
): EventRow[] {
  const place = (index: number, why: Refused | null): Place => ({
    sequence: stored.sequence,
    index,
    storedAtMicros: stored.timestampMicros,
    nodeName: node,
    refused: why,
  });
  if (filter.node !== undefined && filter.node !== node) return [];
  const rows: EventRow[] = [];
  frame.violations.forEach((violation, index) => {
    if (!matchesFilter(violation, filter)) return;
    const why = refused[index] ?? null;
    const packets = why ? 0 : hulls.growth(node, violation);
    rows.push({ ...place(index, why), kind: violation.kind, violation, packets });
  });
  // A gap names an interface, not a pod, so filters by pod exclude it.
  const aboutPods = filter.pod || filter.namespace || filter.vector || filter.action;
  if (aboutPods || (filter.kind !== undefined && filter.kind !== 'gap')) return rows;
  frame.coverage.forEach((gap, index) => {
    if (gap.packetsBeforeGuard > 0) {
      rows.push({ ...place(index, refusedWhole), kind: 'gap', gap, atMicros: frame.publishedAt, pod: null });
    }
  });
  return rows;
}

/** Runtime violations are named `<policy>/<rule>`. */
const isRuleOf = (policy: string, { kind, vector }: Violation) => kind === 'lsm' && vector.startsWith(`${policy}/`);

function matchesFilter(violation: Violation, { pod, namespace, kind, vector, action }: EventFilter): boolean {
  if (kind !== undefined && kind !== violation.kind) return false;
  if (vector !== undefined && vector !== violation.vector && !isRuleOf(vector, violation)) return false;
  if (action !== undefined && action !== violation.action) return false;
  if (namespace !== undefined && violation.pod?.namespace !== namespace) return false;
  return !pod || matchesPod(pod, violation.pod);
}

const JUDGED_BY_MAC: ReadonlySet<string> = new Set(['source-mac']);

/**
 * The address that a packet claims, what the process did, or a finding. Only some packets or
 * operations are sampled; the counts include all.
 */
export function claimOf(violation: Violation): string {
  const { vector, sample, detail, operation, final } = violation;
  if (detail !== '') return detail;
  if (operation) return operationText(operation);
  if (!sample) return final && violation.count + violation.suppressed === 0 ? 'final count' : 'not sampled';
  if (JUDGED_BY_MAC.has(vector)) return sample.claimedMac;
  const { claimedAddress, claimedMac } = sample;
  if (vector === 'arp-sender' && claimedMac !== sample.expectedMac) return `${claimedAddress} at ${claimedMac}`;
  return claimedAddress || claimedMac;
}

/** `10.1.0.5:53 udp`: the packet's destination. For an operation, the program. */
export function destinationOf({ sample, operation }: Violation): string {
  if (operation) return programText(operation);
  if (!sample) return '';
  const to = endpoint(sample.destinationAddress, sample.destinationPort);
  return [to, protocolName(sample.l4Protocol)].filter(Boolean).join(' ');
}

/** One line of `--json`. Times are RFC 3339; packet headers are hexadecimal. */
export function eventJson(row: EventRow): Record<string, unknown> {
  const { sequence, index, storedAtMicros, nodeName, refused } = row;
  const place = { sequence, index, storedAt: isoMicros(storedAtMicros), nodeName, refused };
  if (row.kind === 'gap') {
    return { type: 'guardGap', ...place, at: isoMicros(row.atMicros), pod: row.pod, ...row.gap };
  }
  const { sample, operation, firstSeenAt, lastSeenAt, ...rest } = row.violation;
  return {
    type: 'violation',
    ...place,
    firstSeenAt: isoMicros(firstSeenAt),
    lastSeenAt: isoMicros(lastSeenAt),
    ...rest,
    packets: row.packets,
    sample: sample && packetJson(sample),
    operation: operation && { ...operation, observedAt: isoMicros(operation.observedAt) },
  };
}

function packetJson({ process, ...sample }: PacketSample) {
  return {
    ...sample,
    observedAt: isoMicros(sample.observedAt),
    head: sample.head.toString('hex'),
    process: process && { ...process, madeAt: isoMicros(process.madeAt) },
  };
}
