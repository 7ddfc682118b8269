// Generated from avro/*.avsc by src/generate/main.ts: do not edit.

export type ViolationKind = 'spoof' | 'lsm';

export type ViolationAction = 'audit' | 'drop';

export type InterfaceState = 'unknown' | 'provisional' | 'programmed';

/** The pod of the interface; never the claimed sender. */
export interface PodRef {
  /** k8s.pod.uid */
  uid: string;
  /** k8s.namespace.name */
  namespace: string;
  /** k8s.pod.name */
  name: string;
  /** k8s.serviceaccount.name */
  serviceAccount: string;
  /** top of the owner chain; empty without an owner */
  ownerKind: string;
  /** empty without an owner */
  ownerName: string;
  /** empty without an owner */
  ownerUid: string;
}

export type Direction = 'transmit' | 'receive';

/** The process that created the raw or packet socket of the packet. */
export interface SocketProcess {
  /** creation of the socket, node clock; microseconds since 1970 */
  madeAt: number;
  /** process.pid on the node */
  tgid: number;
  /** process.user.id */
  uid: number;
  /** process.executable.name as the kernel has it: 15 bytes */
  comm: string;
  /** process.executable.path */
  executable: string;
  /** of the container, decimal */
  cgroupId: string;
  /** empty if unknown */
  containerName: string;
}

/** Header fields of a sampled packet, and the expected values. */
export interface PacketSample {
  /** node clock; microseconds since 1970 */
  observedAt: number;
  /** from the pod's point of view */
  direction: Direction;
  /** of the frame: 2048 is IPv4 */
  etherType: number;
  /** network.transport as its IANA number */
  l4Protocol: number;
  /** source MAC of the frame */
  claimedMac: string;
  /** of the pod; empty if unknown */
  expectedMac: string;
  /** claimed source.address; the sender for ARP, the target for nd-target; empty without one */
  claimedAddress: string;
  /** first address of the pod in that family; empty if unknown */
  expectedAddress: string;
  /** destination.address; empty without one */
  destinationAddress: string;
  /** source.port; 0 without one */
  sourcePort: number;
  /** destination.port; 0 without one */
  destinationPort: number;
  /** By */
  length: number;
  /** packets on the wire for this buffer: more than 1 for GSO */
  gsoSegments: number;
  /** decimal; empty without a socket */
  cgroupId: string;
  /** decimal; empty without a socket */
  socketCookie: string;
  /** first 64 bytes */
  head: Buffer;
  /** null: LSM programs did not observe its creation */
  process: SocketProcess | null;
}

export type OperationOutcome = 'audit' | 'block' | 'kill';

/** A sampled operation that violates a runtime policy (kind lsm). */
export interface OperationSample {
  /** node clock; microseconds since 1970 */
  observedAt: number;
  /** execute, read, connect, socket, capability and so on */
  operation: string;
  /** what happened */
  outcome: OperationOutcome;
  /** a path, a name, or the value as text; cut at the front if too long */
  subject: string;
  /** empty without one */
  address: string;
  /** 0 without one */
  port: number;
  /** network.transport as its IANA number */
  protocol: number;
  /** process.pid on the node */
  tgid: number;
  /** thread.id */
  tid: number;
  /** process.parent_pid on the node */
  parentTgid: number;
  /** process.user.id */
  uid: number;
  /** process.group.id */
  gid: number;
  /** effective, hexadecimal */
  capabilities: string;
  /** process.executable.name as the kernel has it: 15 bytes */
  comm: string;
  /** process.executable.path */
  executable: string;
  /** of the parent; empty if it cannot be read */
  parentExecutable: string;
  /** process.command_args; empty if they cannot be read */
  arguments: string[];
  /** of the container, decimal */
  cgroupId: string;
  /** container.id; empty if unknown */
  containerId: string;
  /** k8s.container.name; empty if unknown */
  containerName: string;
  /** decimal; empty without a socket */
  socketCookie: string;
}

/** A fact about one counter epoch: a spoofed packet or a denied operation, with the exact cumulative count so far. */
export interface Violation {
  /** spoof: a packet; lsm: an operation of a program */
  kind: ViolationKind;
  /** one of the vectors, or <policy>/<rule> */
  vector: string;
  /** drop: prevented; audit: counted and passed */
  action: ViolationAction;
  /** certainty of the pod: unknown, provisional (from the node), programmed (confirmed by the bus) */
  state: InterfaceState;
  /** bootId/ifindex/generation/vector/action/state; for kind lsm bootId/lsm/generation/cell/vector/action. Cumulative values of an epoch only grow */
  counterEpoch: string;
  /** packets, or operations for kind lsm, since the epoch began; a reader uses the growth since the last value */
  cumulativePackets: number;
  /** kernel buffers since the epoch began; one may contain many packets (GSO) */
  cumulativeSkbs: number;
  /** By */
  cumulativeBytes: number;
  /** sampled packets of this violation */
  count: number;
  /** packets since the last violation of this epoch that were counted but not sampled */
  suppressed: number;
  /** node clock; microseconds since 1970 */
  firstSeenAt: number;
  /** node clock; microseconds since 1970 */
  lastSeenAt: number;
  /** last value: the interface or container is gone, or its policies changed */
  final: boolean;
  /** host side */
  interfaceName: string;
  /** host side; 0 for kind lsm */
  ifindex: number;
  /** of the interface, or of the policy subject for kind lsm; a reused ifindex has another generation */
  generation: number;
  /** null: the pod of the interface is unknown */
  pod: PodRef | null;
  /** newest sampled packet; null: only counted, or kind lsm */
  sample: PacketSample | null;
  /** text for a finding of user space (identity-mismatch, interface-moved); else empty */
  detail: string;
  /** newest sampled operation; null: only counted, or kind spoof */
  operation: OperationSample | null;
  /** key of the runtime policy; empty without one */
  policy: string;
  /** revision of that key */
  policyRevision: number;
  /** of the policy: informational to critical; empty without one */
  severity: string;
  /** of the policy */
  tags: string[];
  /** of the policy */
  message: string;
}

/** Packets that a new interface sent before it was guarded, once per generation. */
export interface GuardGap {
  /** host side */
  interfaceName: string;
  /** host side */
  ifindex: number;
  /** of the interface */
  generation: number;
  /** rx_packets at attach - packets seen by the program */
  packetsBeforeGuard: number;
  /** microseconds from the netlink event of the interface to the attached program; -1: unknown, the interface existed before the collector */
  appearedToGuardedMicros: number;
}

/** The violations of one node in one flush: one message on bailiff.v1.violations.<partition>.<node>.<kind>. */
export interface ViolationFrame {
  /** k8s.node.name as configured in the collector */
  nodeName: string;
  /** host.boot.id: /proc/sys/kernel/random/boot_id */
  bootId: string;
  /** grows by one per frame for the life of the pinned maps */
  frameSequence: number;
  /** node clock when the frame was closed; microseconds since 1970 */
  publishedAt: number;
  /** of the collector that wrote it */
  collectorVersion: string;
  /** at most 64 */
  violations: Violation[];
  /** interfaces guarded since the last frame */
  coverage: GuardGap[];
}

export type RuleType = 'event_count' | 'value_count' | 'temporal' | 'temporal_ordered';

export type Level = 'informational' | 'low' | 'medium' | 'high' | 'critical';

export type GroupBy = 'pod' | 'owner' | 'namespace' | 'node';

/** A pod according to the list of its node at the time of the frame. */
export interface VerdictPod {
  /** k8s.pod.uid */
  uid: string;
  /** k8s.namespace.name */
  namespace: string;
  /** k8s.pod.name */
  name: string;
  /** top of the owner chain; empty without an owner */
  ownerKind: string;
  /** empty without an owner */
  ownerName: string;
  /** empty without an owner */
  ownerUid: string;
}

/** The process of the newest operation, or the process that created the packet's socket. */
export interface EvidenceProcess {
  /** process.pid on the node */
  tgid: number;
  /** process.user.id */
  uid: number;
  /** process.executable.name as the kernel has it: 15 bytes */
  comm: string;
  /** process.executable.path */
  executable: string;
  /** empty if unknown */
  parentExecutable: string;
  /** k8s.container.name; empty if unknown */
  containerName: string;
  /** the operation; empty for a packet */
  operation: string;
  /** object of the operation */
  subject: string;
}

/** One counted violation. */
export interface Evidence {
  /** in VIOLATIONS */
  streamSequence: number;
  /** of the violation in the frame */
  index: number;
  /** of the violation */
  vector: string;
  /** operations for kind lsm */
  packets: number;
  /** null if unknown */
  process: EvidenceProcess | null;
}

/** A verdict with its rule, level and evidence. On bailiff.v1.verdicts.<level>.<namespace>.<pod>.<verdictId>. */
export interface Verdict {
  /** hash(rule, group, floor(trigger time / cooldown)): equal for every replica */
  verdictId: string;
  /** name of the correlation rule */
  rule: string;
  /** type of the rule */
  ruleType: RuleType;
  /** of the rule */
  level: Level;
  /** groupBy of the rule */
  groupBy: GroupBy;
  /** pod uid, namespace/owner uid, namespace or node name */
  groupKey: string;
  /** sequence in CONFIG_LOG of the newest configuration used; 0 = built-in defaults */
  configRevision: number;
  /** event time; microseconds since 1970 */
  triggeredAt: number;
  /** event time; microseconds since 1970 */
  windowStartAt: number;
  /** packets, distinct values or matched sub-rules in the window */
  observed: number;
  /** threshold of the rule */
  threshold: number;
  /** of the violations in the window */
  vectors: string[];
  /** k8s.node.name, by the subject of the frames */
  nodeName: string;
  /** the pod whose violation reached the threshold; of a rule by owner or namespace the one with most packets in the evidence; null for a node that reported foreign pods */
  pod: VerdictPod | null;
  /** the newest, at most 32 */
  evidence: Evidence[];
  /** number of omitted entries */
  evidenceOmitted: number;
  /** one sentence for a person */
  reason: string;
  /** of the rule */
  tags: string[];
  /** the window contains violations that were audited and passed; no response without `match.actions: [audit]` */
  audited: boolean;
}

export type ResponseAction = 'observe' | 'label' | 'quarantine' | 'evict' | 'delete' | 'cordon' | 'capture';

export type ResponsePhase =
  | 'started'
  | 'succeeded'
  | 'dryrun'
  | 'refused'
  | 'failed'
  | 'undone'
  | 'pending'
  | 'approved';

/** One process of a capture. */
export interface CapturedProcess {
  /** on the node, as parentPid */
  pid: number;
  /** process.parent_pid */
  parentPid: number;
  /** start of the process; microseconds since 1970 */
  startedAt: number;
  /** effective, on the node */
  uid: number;
  /** container name, or cgroup name if that is unknown */
  container: string;
  /** process.name */
  comm: string;
  /** process.executable.path; empty when it cannot be read */
  executable: string;
  /** process.command_args */
  args: string[];
  /** whether arguments are omitted */
  argsCut: boolean;
}

/** One socket of a capture. */
export interface CapturedSocket {
  /** tcp, udp, raw, packet, unix */
  protocol: string;
  /** address:port, a path, or @ and an abstract name */
  local: string;
  /** empty without one */
  remote: string;
  /** state of a connection, or listen; empty without one */
  state: string;
  /** processes of the pod that hold it; empty: none */
  pids: number[];
}

/** Processes and sockets of the pod, read from /proc on its node. At most 64 KiB as JSON. */
export interface PodCapture {
  /** when it was read, node clock; microseconds since 1970 */
  takenAt: number;
  /** how arguments are recorded: none, redacted, full */
  arguments: string;
  /** processes of the evidence first, then the oldest */
  processes: CapturedProcess[];
  /** omitted processes */
  processesOmitted: number;
  /** of the network namespaces of its processes */
  sockets: CapturedSocket[];
  /** omitted sockets */
  socketsOmitted: number;
}

/** A response to a verdict, carried out or refused, with the reason. On bailiff.v1.responses.<action>.<namespace>.<pod>.<responseId>. */
export interface Response {
  /** hash(verdictId, policy, action, phase group): differs between started and terminal phases, equal for a retry */
  responseId: string;
  /** the verdict */
  verdictId: string;
  /** name of the response policy */
  policy: string;
  /** the action; a reader treats an unknown one as observe */
  action: ResponseAction;
  /** pending: waits for approval; approved: written by the operator's command; every other one is the responder's */
  phase: ResponsePhase;
  /** stable, kebab-case: protected-namespace, uid-changed, budget-exhausted, …; empty when succeeded */
  reasonCode: string;
  /** one sentence for a person */
  reason: string;
  /** of the verdict */
  level: string;
  /** of the verdict */
  rule: string;
  /** k8s.pod.uid; empty for a node */
  podUid: string;
  /** k8s.namespace.name; empty for a node */
  podNamespace: string;
  /** k8s.pod.name; empty for a node */
  podName: string;
  /** k8s.node.name */
  nodeName: string;
  /** the pod's controller according to the API server; empty without one, or if it was not read */
  ownerKind: string;
  /** empty without an owner */
  ownerName: string;
  /** used for budgets per owner */
  ownerUid: string;
  /** the bus's time as the responder knows it; of an approval, denial or release, the operator's clock; microseconds since 1970 */
  recordedAt: number;
  /** from 1 */
  attempt: number;
  /** verb of the Kubernetes request; empty without a request */
  apiVerb: string;
  /** path of that request */
  apiPath: string;
  /** HTTP status; 0 without a request */
  apiStatus: number;
  /** when it is undone automatically; null: never; microseconds since 1970 */
  expiresAt: number | null;
  /** only for a successful capture */
  capture: PodCapture | null;
  /** controller that the pod references and whose selector matches, if the pod does not run its template: it protects the pod from removal, and its budgets are not charged */
  claimedOwnerUid: string;
}
