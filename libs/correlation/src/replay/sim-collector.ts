/**
 * Violations and frames as a collector publishes them, complete from a few fields: for scenarios of
 * `bailiff rules test`, and for tests. A simulated collector's counters only grow, each frame has the
 * increments since the last one, and frame sequences increase.
 */
import type { OperationSample, PacketSample, PodRef, Violation, ViolationFrame } from '@bailiff/schemas';

/** Start time of scenarios in microseconds. It is the start of a counter slot. */
export const T0 = 1_800_000_000_000_000;

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

/** Simulates the counters and frames of one node's collector. */
export class SimCollector {
  readonly node: string;
  readonly #bootId: string;
  #frameSequence = 0;
  readonly #counters = new Map<string, { violation: Violation; total: number; published: number }>();

  constructor(node: string, bootId = `boot-${node}`) {
    this.node = node;
    this.#bootId = bootId;
  }

  /** Counts packets of a pod that violate a vector. */
  spoof(pod: PodRef, packets: number, more: Partial<Violation> = {}): void {
    const violation = makeViolation({ pod, ...more });
    const key = `${this.#bootId}/${pod.uid}/${violation.vector}/${violation.action}`;
    const counter = this.#counters.get(key) ?? { violation, total: 0, published: 0 };
    counter.violation = { ...violation, counterEpoch: key };
    counter.total += packets;
    this.#counters.set(key, counter);
  }

  /**
   * A frame with all increments since the last one; null without any.
   * @param nodeMicros the node's clock
   */
  flush(nodeMicros: number): ViolationFrame | null {
    const violations: Violation[] = [];
    for (const counter of this.#counters.values()) {
      const increment = counter.total - counter.published;
      if (increment === 0) continue;
      counter.published = counter.total;
      violations.push({
        ...counter.violation,
        cumulativePackets: counter.total,
        count: 1,
        suppressed: increment - 1,
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

  /** Simulates a collector that lost its acknowledgements: it reports every counter from zero. */
  forget(): void {
    for (const counter of this.#counters.values()) counter.published = 0;
  }
}
