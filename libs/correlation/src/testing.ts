/**
 * What tests of judging begin with: violations and frames with everything filled in, lists of pods, and a collector that counts as a real one
 * does: its counters only grow, it says what grew since it last spoke, and its frames have growing numbers.
 */
import type { OperationSample, PacketSample, PodRef, Violation, ViolationFrame } from '@bailiff/schemas';
import { Members } from './attribution/pod-inventory.ts';
import { Fold, type FoldOptions, type FramePlace } from './engine/engine.ts';
import { RuleBook } from './engine/rule-history.ts';

/** A time to begin at, in microseconds: the start of a counter slot, so that tests know where slots end. */
export const T0 = 1_800_000_000_000_000;
export const SECOND = 1_000_000;
export const MINUTE = 60 * SECOND;

export function podRef(name: string, more: Partial<PodRef> = {}): PodRef {
  return {
    uid: `uid-of-${name}`,
    namespace: 'default',
    name,
    serviceAccount: 'default',
    ownerKind: '',
    ownerName: '',
    ownerUid: '',
    ...more,
  };
}

export function packetSample(more: Partial<PacketSample> = {}): PacketSample {
  return {
    observedAt: T0,
    direction: 'transmit',
    etherType: 0x800,
    l4Protocol: 17,
    claimedMac: '02:00:00:00:00:01',
    expectedMac: '02:00:00:00:00:02',
    claimedAddress: '10.0.0.1',
    expectedAddress: '10.0.0.2',
    destinationAddress: '10.0.0.3',
    sourcePort: 1234,
    destinationPort: 53,
    length: 60,
    gsoSegments: 1,
    cgroupId: '',
    socketCookie: '',
    head: Buffer.alloc(0),
    process: null,
    ...more,
  };
}

export function operationSample(more: Partial<OperationSample> = {}): OperationSample {
  return {
    observedAt: T0,
    operation: 'execute',
    outcome: 'block',
    subject: '/bin/sh',
    address: '',
    port: 0,
    protocol: 0,
    tgid: 100,
    tid: 100,
    parentTgid: 1,
    uid: 0,
    gid: 0,
    capabilities: '0000000000000000',
    comm: 'sh',
    executable: '/bin/sh',
    parentExecutable: '/bin/init',
    arguments: [],
    cgroupId: '7',
    containerId: '',
    containerName: 'app',
    socketCookie: '',
    ...more,
  };
}

export function makeViolation(more: Partial<Violation> = {}): Violation {
  const vector = more.vector ?? 'ipv4-source';
  const action = more.action ?? 'drop';
  const state = more.state ?? 'programmed';
  const pod = more.pod === undefined ? podRef('web') : more.pod;
  return {
    kind: 'spoof',
    vector,
    action,
    state,
    counterEpoch: `boot/7/1/${pod?.uid ?? ''}/${vector}/${action}/${state}`,
    cumulativePackets: 1,
    cumulativeSkbs: 1,
    cumulativeBytes: 60,
    count: 1,
    suppressed: 0,
    firstSeenAt: T0,
    lastSeenAt: T0,
    final: false,
    interfaceName: 'veth0',
    ifindex: 7,
    generation: 1,
    sample: packetSample(),
    detail: '',
    operation: null,
    policy: '',
    policyRevision: 0,
    severity: '',
    tags: [],
    message: '',
    ...more,
    pod,
  };
}

export function makeFrame(violations: Violation[], more: Partial<ViolationFrame> = {}): ViolationFrame {
  return {
    nodeName: 'node-a',
    bootId: 'boot',
    frameSequence: 1,
    publishedAt: T0,
    collectorVersion: '0.1.0',
    coverage: [],
    ...more,
    violations,
  };
}

/** The JSON of a node's list, as ipam-sync puts it. */
export function snapshotJson(node: string, pods: readonly PodRef[], revision = 1): string {
  const listed = pods.map(({ uid, namespace, name, ownerKind, ownerName, ownerUid }) => ({
    uid,
    namespace,
    name,
    labels: {},
    serviceAccount: 'default',
    owners: ownerUid === '' ? [] : [{ kind: ownerKind, name: ownerName, uid: ownerUid }],
    interfaces: [],
    hostNetwork: false,
    containers: [],
    allowedPrefixes: [],
    probePorts: [],
    revision: 1,
    createdAt: '2027-01-01T00:00:00Z',
  }));
  return JSON.stringify({ nodeName: node, revision, pods: listed });
}

/** Lists that have always been known. */
export function membersOf(lists: Readonly<Record<string, readonly PodRef[]>>): Members {
  const members = new Members();
  let revision = 0;
  for (const [node, pods] of Object.entries(lists)) {
    revision++;
    members.apply({ node, timestampMicros: 1, revision, previousRevision: 0, json: snapshotJson(node, pods) });
  }
  return members;
}

/** A rule book with only these rules, each as an operator would write it. */
export function bookOf(rules: Readonly<Record<string, unknown>>): RuleBook {
  const book = new RuleBook({});
  let sequence = 0;
  for (const [name, rule] of Object.entries(rules)) {
    sequence++;
    const problems = book.apply({
      sequence,
      timestampMicros: 1,
      key: `correlation.cluster._.${name}`,
      json: JSON.stringify(rule),
    })?.problems;
    if (problems && problems.length > 0) throw new Error(problems[0]?.message);
  }
  return book;
}

/** A fold that keeps what it says. */
export function recordingFold(options: Omit<FoldOptions, 'onVerdict' | 'onRefusal'>) {
  const verdicts: Parameters<FoldOptions['onVerdict']>[0][] = [];
  const refusals: Parameters<NonNullable<FoldOptions['onRefusal']>>[0][] = [];
  const fold = new Fold({
    ...options,
    onVerdict: (verdict) => verdicts.push(verdict),
    onRefusal: (refusal) => refusals.push(refusal),
  });
  let sequence = 0;
  return {
    fold,
    verdicts,
    refusals,
    /** Folds a frame stored at a time; its node is the one it names unless said otherwise. */
    send(timestampMicros: number, frame: ViolationFrame, place: Partial<FramePlace> = {}) {
      sequence++;
      fold.frame({ sequence, timestampMicros, node: frame.nodeName, ...place }, frame);
    },
  };
}

/** Counts and frames of one node as its collector makes them. */
export class SimCollector {
  readonly node: string;
  readonly #bootId: string;
  #frameSequence = 0;
  readonly #counters = new Map<string, { violation: Violation; total: number; said: number }>();

  constructor(node: string, bootId = `boot-${node}`) {
    this.node = node;
    this.#bootId = bootId;
  }

  /** Packets of a pod break a vector. */
  spoof(pod: PodRef, packets: number, more: Partial<Violation> = {}): void {
    const violation = makeViolation({ pod, ...more });
    const key = `${this.#bootId}/${pod.uid}/${violation.vector}/${violation.action}`;
    const counter = this.#counters.get(key) ?? { violation, total: 0, said: 0 };
    counter.violation = { ...violation, counterEpoch: key };
    counter.total += packets;
    this.#counters.set(key, counter);
  }

  /** All that grew since the last frame; null when nothing did. @param nodeMicros the node's clock */
  flush(nodeMicros: number): ViolationFrame | null {
    const violations: Violation[] = [];
    for (const counter of this.#counters.values()) {
      const grown = counter.total - counter.said;
      if (grown === 0) continue;
      counter.said = counter.total;
      violations.push({
        ...counter.violation,
        cumulativePackets: counter.total,
        count: 1,
        suppressed: grown - 1,
        firstSeenAt: nodeMicros,
        lastSeenAt: nodeMicros,
      });
    }
    if (violations.length === 0) return null;
    this.#frameSequence++;
    const { node: nodeName } = this;
    return makeFrame(violations, {
      nodeName,
      bootId: this.#bootId,
      frameSequence: this.#frameSequence,
      publishedAt: nodeMicros,
    });
  }

  /** A collector that was killed and knows nothing of what it said: it reports every counter from its beginning. */
  forget(): void {
    for (const counter of this.#counters.values()) counter.said = 0;
  }
}
