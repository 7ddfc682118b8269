/**
 * Reads a frame of the current schema as a ProjectedFrame, field by field: several times as fast as
 * Avro's schema resolution (docs/adr/0016), which reads all other versions (frame-projection.ts).
 *
 * Invariants: the fields below are those of the schema with READ_FINGERPRINT, in its order; it is not
 * used for another one, and a test detects a changed schema. Results and errors equal those of schema
 * resolution.
 */
import type { BoundedTap } from '../codec/bounded-tap.ts';
import { SchemaError } from '../codec/errors.ts';
import { type ListLimit, MAX_LIST, MAX_TEXT, type TextLimit } from '../codec/limits.ts';
import { CounterIdentities } from './counter-identity.ts';
import type {
  CounterFields,
  CounterIdentity,
  ProjectedFrame,
  ProjectedOperation,
  ProjectedPod,
  ProjectedProcess,
  ProjectedSample,
  ProjectedViolation,
} from './projected-types.ts';

/** Fingerprint of the schema that this reader supports. */
export const READ_FINGERPRINT = '06496cd7d453b0dd';

const KINDS = ['spoof', 'lsm'] as const;
const ACTIONS = ['audit', 'drop'] as const;
const STATES = ['unknown', 'provisional', 'programmed'] as const;
const {
  ViolationFrame: FRAME,
  Violation: VIOLATION,
  PodRef: POD,
  PacketSample: PACKET,
  SocketProcess: PROCESS,
  OperationSample: OPERATION,
} = MAX_TEXT;
/** Limits of adjacent strings, in the order of the schema. */
const POD_TEXTS: readonly TextLimit[] = Object.values(POD);
const PACKET_IDS = [PACKET.cgroupId, PACKET.socketCookie, PACKET.head];
const CONTAINER_IDS = [OPERATION.cgroupId, OPERATION.containerId];
/** avsc rejects a long beyond it, too. */
const MAX_LONG = Number.MAX_SAFE_INTEGER - 1;
/** Below it, every step of reading a long is exact. */
const EXACT = 2 ** 53;

/** A violation. The fields that all violations of its counter share are in its identity. */
class ReadViolation implements ProjectedViolation {
  readonly identity: CounterIdentity;
  readonly cumulativePackets: number;
  readonly count: number;
  readonly suppressed: number;
  readonly firstSeenAt: number;
  readonly lastSeenAt: number;
  readonly sample: ProjectedSample | null;
  readonly operation: ProjectedOperation | null;
  readonly severity: string;

  constructor(
    identity: CounterIdentity,
    cumulativePackets: number,
    count: number,
    suppressed: number,
    firstSeenAt: number,
    lastSeenAt: number,
    sample: ProjectedSample | null,
    operation: ProjectedOperation | null,
    severity: string,
  ) {
    this.identity = identity;
    this.cumulativePackets = cumulativePackets;
    this.count = count;
    this.suppressed = suppressed;
    this.firstSeenAt = firstSeenAt;
    this.lastSeenAt = lastSeenAt;
    this.sample = sample;
    this.operation = operation;
    this.severity = severity;
  }

  get kind() {
    return this.identity.kind;
  }
  get vector() {
    return this.identity.vector;
  }
  get action() {
    return this.identity.action;
  }
  get state() {
    return this.identity.state;
  }
  get counterEpoch() {
    return this.identity.counterEpoch;
  }
  get pod() {
    return this.identity.pod;
  }
}

export class FastFrameReader {
  readonly #identities: CounterIdentities;

  constructor(identities = new CounterIdentities()) {
    this.#identities = identities;
  }

  /** Reads the body of a message. The caller checks that the message ends there. @throws SchemaError */
  _read(tap: BoundedTap): ProjectedFrame {
    const { buf } = tap;
    const message = new DataView(buf.buffer, buf.byteOffset, buf.length);
    const nodeName = tap.readText(FRAME.nodeName);
    tap.skipText(FRAME.bootId);
    const frameSequence = readLong(tap);
    tap.skipLongs(1); // publishedAt
    tap.skipText(FRAME.collectorVersion);
    const violations: ProjectedViolation[] = [];
    const most = MAX_LIST.ViolationFrame.violations;
    for (let count = tap.readItems(most, 0); count > 0; count = tap.readItems(most, violations.length)) {
      while (count-- > 0) violations.push(this.#violation(tap, message));
    }
    skipGaps(tap);
    return { nodeName, frameSequence, violations };
  }

  #violation(tap: BoundedTap, message: DataView): ProjectedViolation {
    const counterAt = tap.pos;
    tap.skipLongs(1); // kind
    tap.skipText(VIOLATION.vector);
    tap.skipLongs(2); // action, state
    tap.skipText(VIOLATION.counterEpoch);
    const counterBytes = tap.pos - counterAt;
    const cumulativePackets = readLong(tap);
    tap.skipLongs(2); // cumulativeSkbs, cumulativeBytes
    const count = readLong(tap);
    const suppressed = readLong(tap);
    const firstSeenAt = readLong(tap);
    const lastSeenAt = readLong(tap);
    tap.skipBoolean(); // final
    tap.skipText(VIOLATION.interfaceName);
    tap.skipLongs(2); // ifindex, generation
    const podAt = tap.pos;
    if (isThere(tap)) tap.skipTexts(POD_TEXTS);
    const podBytes = tap.pos - podAt;
    if (!tap.isValid()) throw new SchemaError('TRUNCATED', 'the message ends within a pod');
    const identity =
      this.#identities.find(message, counterAt, counterBytes, podAt, podBytes) ??
      this.#addIdentity(tap, message, counterAt, counterBytes, podAt, podBytes);
    const sample = isThere(tap) ? this.#sample(tap) : null;
    tap.skipText(VIOLATION.detail);
    const operation = isThere(tap) ? this.#operation(tap) : null;
    tap.skipText(VIOLATION.policy);
    tap.skipLongs(1); // policyRevision
    const severity = tap.readText(VIOLATION.severity);
    skipList(tap, MAX_LIST.Violation.tags, VIOLATION.tags);
    tap.skipText(VIOLATION.message);
    return new ReadViolation(
      identity,
      cumulativePackets,
      count,
      suppressed,
      firstSeenAt,
      lastSeenAt,
      sample,
      operation,
      severity,
    );
  }

  #addIdentity(
    tap: BoundedTap,
    message: DataView,
    counterAt: number,
    counterBytes: number,
    podAt: number,
    podBytes: number,
  ): CounterIdentity {
    const behind = tap.pos;
    tap.pos = counterAt;
    const counter = this.#counterFields(tap);
    tap.pos = podAt;
    const pod = isThere(tap) ? this.#pod(tap) : null;
    tap.pos = behind;
    return this.#identities.add(message, counterAt, counterBytes, podAt, podBytes, counter, pod);
  }

  #counterFields(tap: BoundedTap): CounterFields {
    const kind = symbolOf(KINDS, tap);
    const vector = tap.readText(VIOLATION.vector);
    const action = symbolOf(ACTIONS, tap);
    const state = symbolOf(STATES, tap);
    return { kind, vector, action, state, counterEpoch: tap.readText(VIOLATION.counterEpoch) };
  }

  #pod(tap: BoundedTap): ProjectedPod {
    const uid = tap.readText(POD.uid);
    const namespace = tap.readText(POD.namespace);
    const name = tap.readText(POD.name);
    tap.skipText(POD.serviceAccount);
    const ownerKind = tap.readText(POD.ownerKind);
    const ownerName = tap.readText(POD.ownerName);
    return { uid, namespace, name, ownerKind, ownerName, ownerUid: tap.readText(POD.ownerUid) };
  }

  #sample(tap: BoundedTap): ProjectedSample {
    tap.skipLongs(4); // observedAt, direction, etherType, l4Protocol
    const claimedMac = tap.readText(PACKET.claimedMac);
    tap.skipText(PACKET.expectedMac);
    const claimedAddress = tap.readText(PACKET.claimedAddress);
    tap.skipText(PACKET.expectedAddress);
    const destinationAddress = tap.readText(PACKET.destinationAddress);
    tap.skipLongs(1); // sourcePort
    const destinationPort = tap.readInt();
    tap.skipLongs(2); // length, gsoSegments
    tap.skipTexts(PACKET_IDS);
    const process = isThere(tap) ? this.#process(tap) : null;
    return { claimedMac, claimedAddress, destinationAddress, destinationPort, process };
  }

  #process(tap: BoundedTap): ProjectedProcess {
    tap.skipLongs(1); // madeAt
    const tgid = readLong(tap);
    const uid = readLong(tap);
    const comm = tap.readText(PROCESS.comm);
    const executable = tap.readText(PROCESS.executable);
    tap.skipText(PROCESS.cgroupId);
    return { tgid, uid, comm, executable, containerName: tap.readText(PROCESS.containerName) };
  }

  #operation(tap: BoundedTap): ProjectedOperation {
    tap.skipLongs(1); // observedAt
    const operation = tap.readText(OPERATION.operation);
    tap.skipLongs(1); // outcome
    const subject = tap.readText(OPERATION.subject);
    tap.skipText(OPERATION.address);
    tap.skipLongs(2); // port, protocol
    const tgid = readLong(tap);
    tap.skipLongs(2); // tid, parentTgid
    const uid = readLong(tap);
    tap.skipLongs(1); // gid
    tap.skipText(OPERATION.capabilities);
    const comm = tap.readText(OPERATION.comm);
    const executable = tap.readText(OPERATION.executable);
    const parentExecutable = tap.readText(OPERATION.parentExecutable);
    skipList(tap, MAX_LIST.OperationSample.arguments, OPERATION.arguments);
    tap.skipTexts(CONTAINER_IDS);
    const containerName = tap.readText(OPERATION.containerName);
    tap.skipText(OPERATION.socketCookie);
    return { operation, subject, tgid, uid, comm, executable, parentExecutable, containerName };
  }
}

function skipGaps(tap: BoundedTap): void {
  const most = MAX_LIST.ViolationFrame.coverage;
  let skipped = 0;
  for (let count = tap.readItems(most, 0); count > 0; count = tap.readItems(most, skipped)) {
    skipped += count;
    while (count-- > 0) {
      tap.skipText(MAX_TEXT.GuardGap.interfaceName);
      tap.skipLongs(4); // ifindex, generation, packetsBeforeGuard, appearedToGuardedMicros
    }
  }
}

function skipList(tap: BoundedTap, most: ListLimit, each: TextLimit): void {
  let skipped = 0;
  for (let count = tap.readItems(most, 0); count > 0; count = tap.readItems(most, skipped)) {
    skipped += count;
    while (count-- > 0) tap.skipText(each);
  }
}

function readLong(tap: BoundedTap): number {
  const { buf, pos: start } = tap;
  let at = start;
  let byte = buf[at++] as number;
  let value = byte & 0x7f;
  let factor = 0x80;
  for (; byte >= 0x80 && factor < EXACT; factor *= 0x80) {
    byte = buf[at++] as number;
    value += (byte & 0x7f) * factor;
  }
  // Longer than the loop reads, at the end of the message, or perhaps not exact.
  if (!(byte < 0x80) || value >= EXACT) return readAnyLong(tap);
  tap.pos = at;
  return (buf[start] as number) & 1 ? -(value + 1) / 2 : value / 2;
}

function readAnyLong(tap: BoundedTap): number {
  const value = tap.readLong();
  if (value > MAX_LONG || value < -MAX_LONG) throw new SchemaError('LONG_RANGE', 'a number beyond 2^53 - 2');
  return value;
}

function symbolOf<T>(symbols: readonly T[], tap: BoundedTap): T {
  const symbol = symbols[tap.readLong()];
  if (symbol === undefined) throw new SchemaError('MALFORMED', 'an unknown enum index');
  return symbol;
}

/** Reads the branch of an optional field: whether it has a value. */
function isThere(tap: BoundedTap): boolean {
  const branch = tap.readLong();
  if (branch !== 0 && branch !== 1) throw new SchemaError('MALFORMED', 'an unknown union index');
  return branch === 1;
}
