// Generated from avro/*.avsc by src/generate/main.ts: do not edit.

export type ViolationKind = 'spoof' | 'lsm';

export type ViolationAction = 'audit' | 'drop';

export type InterfaceState = 'unknown' | 'provisional' | 'programmed';

/** Whose interface it is; never who the packet claims to be. */
export interface PodRef {
  /** k8s.pod.uid */
  uid: string;
  /** k8s.namespace.name */
  namespace: string;
  /** k8s.pod.name */
  name: string;
  serviceAccount: string;
  /** top of the owner chain, empty when bare */
  ownerKind: string;
  ownerName: string;
  ownerUid: string;
}

export type Direction = 'transmit' | 'receive';

/** Which process made the raw or packet socket that the packet came from. */
export interface SocketProcess {
  /** microseconds since 1970 */
  madeAt: number;
  /** process.pid on the node */
  tgid: number;
  uid: number;
  comm: string;
  /** process.executable.path */
  executable: string;
  /** of the container, decimal */
  cgroupId: string;
  /** empty when it is not known */
  containerName: string;
}

export interface PacketSample {
  /** microseconds since 1970 */
  observedAt: number;
  /** as the pod sees it */
  direction: Direction;
  etherType: number;
  /** network.transport as its IANA number */
  l4Protocol: number;
  claimedMac: string;
  expectedMac: string;
  /** source.address as claimed; empty when the packet has none */
  claimedAddress: string;
  expectedAddress: string;
  destinationAddress: string;
  sourcePort: number;
  destinationPort: number;
  /** By */
  length: number;
  gsoSegments: number;
  /** decimal; empty when the kernel had no socket */
  cgroupId: string;
  /** decimal; likewise */
  socketCookie: string;
  /** first 64 bytes */
  head: Buffer;
  /** null: LSM programs did not see it made */
  process: SocketProcess | null;
}

export type OperationOutcome = 'audit' | 'block' | 'kill';

/** One operation that a runtime policy judged, of kind lsm. */
export interface OperationSample {
  /** microseconds since 1970 */
  observedAt: number;
  /** execute, read, connect, socket, capability and so on */
  operation: string;
  /** as carried out */
  outcome: OperationOutcome;
  /** a path, a name, or the value in words; its front is cut when it was too long */
  subject: string;
  /** empty when it is about none */
  address: string;
  port: number;
  /** network.transport as its IANA number */
  protocol: number;
  /** process.pid on the node */
  tgid: number;
  tid: number;
  parentTgid: number;
  uid: number;
  gid: number;
  /** effective, hexadecimal */
  capabilities: string;
  comm: string;
  /** process.executable.path */
  executable: string;
  parentExecutable: string;
  /** process.command_args; empty where they could not be read */
  arguments: string[];
  /** of the container, decimal */
  cgroupId: string;
  /** container.id; empty when it is not known */
  containerId: string;
  /** k8s.container.name; likewise */
  containerName: string;
  /** decimal; empty when it is about no socket */
  socketCookie: string;
}

/** A fact about one counter epoch: a spoofed packet or a denied operation, with the exact cumulative count so far. */
export interface Violation {
  kind: ViolationKind;
  /** what was judged: one of the vectors, or <policy>/<rule> */
  vector: string;
  action: ViolationAction;
  state: InterfaceState;
  /** bootId/ifindex/generation/vector/action/state, of kind lsm bootId/lsm/generation/cell/vector/action: within it cumulative values only grow */
  counterEpoch: string;
  /** packets, of kind lsm operations, since the epoch began; a reader takes max - last seen */
  cumulativePackets: number;
  cumulativeSkbs: number;
  /** By */
  cumulativeBytes: number;
  /** packets of this violation that were sampled */
  count: number;
  /** packets since the last violation of this epoch that were counted and not sampled */
  suppressed: number;
  /** microseconds since 1970 */
  firstSeenAt: number;
  /** microseconds since 1970 */
  lastSeenAt: number;
  /** the interface or the container went, or its policies changed; this is its last value */
  final: boolean;
  /** host side */
  interfaceName: string;
  ifindex: number;
  generation: number;
  pod: PodRef | null;
  sample: PacketSample | null;
  /** words for what user space found (identity-mismatch, interface-moved); else empty */
  detail: string;
  operation: OperationSample | null;
  /** key of the runtime policy; empty when the violation is of none */
  policy: string;
  policyRevision: number;
  /** of the policy: informational to critical; empty when it is of none */
  severity: string;
  /** of the policy */
  tags: string[];
  /** of the policy */
  message: string;
}

/** What a new interface sent before it was guarded, once per interface generation. */
export interface GuardGap {
  interfaceName: string;
  ifindex: number;
  generation: number;
  /** rx_packets at attach - packets seen by the program */
  packetsBeforeGuard: number;
  appearedToGuardedMicros: number;
}

/** All violations of one node in one flush: one message on bailiff.v1.violations.<partition>.<node>.<kind>. */
export interface ViolationFrame {
  /** k8s.node.name as the collector was told */
  nodeName: string;
  /** host.boot.id: /proc/sys/kernel/random/boot_id */
  bootId: string;
  /** grows by one a frame for the life of the pinned maps */
  frameSequence: number;
  /** node clock when the frame was closed; microseconds since 1970 */
  publishedAt: number;
  collectorVersion: string;
  violations: Violation[];
  coverage: GuardGap[];
}

export type RuleType = 'event_count' | 'value_count' | 'temporal' | 'temporal_ordered';

export type Level = 'informational' | 'low' | 'medium' | 'high' | 'critical';

export type GroupBy = 'pod' | 'owner' | 'namespace' | 'node';

export interface VerdictPod {
  uid: string;
  namespace: string;
  name: string;
  ownerKind: string;
  ownerName: string;
  ownerUid: string;
}

/** The process of the newest operation, or the one that made the packet's socket. */
export interface EvidenceProcess {
  /** process.pid on the node */
  tgid: number;
  uid: number;
  comm: string;
  /** process.executable.path */
  executable: string;
  parentExecutable: string;
  containerName: string;
  /** what it did; empty when it sent a packet */
  operation: string;
  /** to what */
  subject: string;
}

export interface Evidence {
  /** in VIOLATIONS */
  streamSequence: number;
  /** of the violation in the frame */
  index: number;
  vector: string;
  /** of kind lsm: operations */
  packets: number;
  process: EvidenceProcess | null;
}

/** A judgement: which rule, at what level, on what evidence. On bailiff.v1.verdicts.<level>.<namespace>.<pod>.<verdictId>. */
export interface Verdict {
  /** hash(rule, group, floor(trigger time / cooldown)): the same whoever computes it */
  verdictId: string;
  rule: string;
  ruleType: RuleType;
  level: Level;
  groupBy: GroupBy;
  /** pod uid, owner uid, namespace or node name */
  groupKey: string;
  /** sequence in CONFIG_LOG of the newest configuration this was judged by; 0 = built-in defaults */
  configRevision: number;
  /** event time; microseconds since 1970 */
  triggeredAt: number;
  /** microseconds since 1970 */
  windowStartAt: number;
  /** packets, distinct values or matched sub-rules in the window */
  observed: number;
  threshold: number;
  vectors: string[];
  nodeName: string;
  /** the pod whose violation crossed the threshold; null when the group is a node judged for foreign pods */
  pod: VerdictPod | null;
  /** newest 32 at most */
  evidence: Evidence[];
  evidenceOmitted: number;
  /** one sentence for a person */
  reason: string;
  tags: string[];
}

export type ResponseAction = 'observe' | 'label' | 'quarantine' | 'evict' | 'delete' | 'cordon';

export type ResponsePhase =
  | 'started'
  | 'succeeded'
  | 'dryrun'
  | 'refused'
  | 'failed'
  | 'undone'
  | 'pending'
  | 'approved';

/** What was done about a verdict, or refused, and why. On bailiff.v1.responses.<action>.<namespace>.<pod>.<responseId>. */
export interface Response {
  /** hash(verdictId, policy, action, phase group): started and terminal differ, a retry does not */
  responseId: string;
  verdictId: string;
  /** name of the response policy */
  policy: string;
  action: ResponseAction;
  /** pending: waits for approval; approved: written by the operator's command; every other one is the responder's */
  phase: ResponsePhase;
  /** stable, kebab-case: protected-namespace, uid-changed, budget-exhausted, …; empty when succeeded */
  reasonCode: string;
  /** one sentence for a person */
  reason: string;
  level: string;
  rule: string;
  podUid: string;
  podNamespace: string;
  podName: string;
  nodeName: string;
  /** the pod's controller as the API server named it; empty when it has none or was not read */
  ownerKind: string;
  ownerName: string;
  /** budgets per owner are folded from this */
  ownerUid: string;
  /** microseconds since 1970 */
  recordedAt: number;
  attempt: number;
  /** what was asked of Kubernetes, empty when nothing was */
  apiVerb: string;
  apiPath: string;
  /** HTTP status; 0 when nothing was asked */
  apiStatus: number;
  /** microseconds since 1970 */
  expiresAt: number | null;
}
