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
  /** k8s.serviceaccount.name */
  serviceAccount: string;
  /** top of the owner chain, empty when bare */
  ownerKind: string;
  /** likewise */
  ownerName: string;
  /** likewise */
  ownerUid: string;
}

export type Direction = 'transmit' | 'receive';

/** Which process made the raw or packet socket that the packet came from. */
export interface SocketProcess {
  /** when the socket was made, node clock; microseconds since 1970 */
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
  /** empty when it is not known */
  containerName: string;
}

/** The first bytes of a packet that was judged, and what was expected instead. */
export interface PacketSample {
  /** node clock; microseconds since 1970 */
  observedAt: number;
  /** as the pod sees it */
  direction: Direction;
  /** of the frame, as the wire has it: 2048 is IPv4 */
  etherType: number;
  /** network.transport as its IANA number */
  l4Protocol: number;
  /** source MAC of the frame */
  claimedMac: string;
  /** of the pod; empty when it is not known */
  expectedMac: string;
  /** source.address as claimed, of ARP the sender, of nd-target the target; empty when the packet has none */
  claimedAddress: string;
  /** first address of the pod of that family; empty when it is not known */
  expectedAddress: string;
  /** destination.address; empty when the packet has none */
  destinationAddress: string;
  /** source.port; 0 when there is none */
  sourcePort: number;
  /** destination.port; 0 when there is none */
  destinationPort: number;
  /** By */
  length: number;
  /** packets on the wire that this one buffer stands for: 1, or more of a GSO buffer */
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
  /** node clock; microseconds since 1970 */
  observedAt: number;
  /** execute, read, connect, socket, capability and so on */
  operation: string;
  /** as carried out */
  outcome: OperationOutcome;
  /** a path, a name, or the value in words; its front is cut when it was too long */
  subject: string;
  /** empty when it is about none */
  address: string;
  /** 0 when it is about none */
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
  /** of the parent, as far as it could be read */
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
  /** spoof: a packet; lsm: an operation of a program */
  kind: ViolationKind;
  /** what was judged: one of the vectors, or <policy>/<rule> */
  vector: string;
  /** drop: prevented; audit: counted and passed */
  action: ViolationAction;
  /** how surely the interface was bound to its pod: unknown, by the node alone, by the bus too */
  state: InterfaceState;
  /** bootId/ifindex/generation/vector/action/state, of kind lsm bootId/lsm/generation/cell/vector/action: within it cumulative values only grow */
  counterEpoch: string;
  /** packets, of kind lsm operations, since the epoch began; a reader takes max - last seen */
  cumulativePackets: number;
  /** kernel buffers since the epoch began; one may be many packets (GSO) */
  cumulativeSkbs: number;
  /** By */
  cumulativeBytes: number;
  /** packets of this violation that were sampled */
  count: number;
  /** packets since the last violation of this epoch that were counted and not sampled */
  suppressed: number;
  /** of what this violation tells, node clock; microseconds since 1970 */
  firstSeenAt: number;
  /** likewise; microseconds since 1970 */
  lastSeenAt: number;
  /** the interface or the container went, or its policies changed; this is its last value */
  final: boolean;
  /** host side */
  interfaceName: string;
  /** host side; 0 of kind lsm */
  ifindex: number;
  /** of the interface or, of kind lsm, of the policy subject on this node: an ifindex that is given again is another generation */
  generation: number;
  /** null: whose interface it is nobody knows */
  pod: PodRef | null;
  /** newest packet that was sampled; null: only counted, or of kind lsm */
  sample: PacketSample | null;
  /** words for what user space found (identity-mismatch, interface-moved); else empty */
  detail: string;
  /** newest operation that was sampled; null: only counted, or of kind spoof */
  operation: OperationSample | null;
  /** key of the runtime policy; empty when the violation is of none */
  policy: string;
  /** of the value under that key */
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
  /** host side */
  interfaceName: string;
  /** host side */
  ifindex: number;
  /** of the interface */
  generation: number;
  /** rx_packets at attach - packets seen by the program */
  packetsBeforeGuard: number;
  /** from the kernel telling of the interface to the program being attached, microseconds; -1: not known, as it was there before the collector */
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
  /** of the collector that wrote it */
  collectorVersion: string;
  /** at most 64 */
  violations: Violation[];
  /** interfaces that were guarded since the last frame */
  coverage: GuardGap[];
}

export type RuleType = 'event_count' | 'value_count' | 'temporal' | 'temporal_ordered';

export type Level = 'informational' | 'low' | 'medium' | 'high' | 'critical';

export type GroupBy = 'pod' | 'owner' | 'namespace' | 'node';

/** A pod as the list of its node had it at the time of the frame. */
export interface VerdictPod {
  /** k8s.pod.uid */
  uid: string;
  /** k8s.namespace.name */
  namespace: string;
  /** k8s.pod.name */
  name: string;
  /** top of the owner chain, empty when bare */
  ownerKind: string;
  /** likewise */
  ownerName: string;
  /** likewise */
  ownerUid: string;
}

/** The process of the newest operation, or the one that made the packet's socket. */
export interface EvidenceProcess {
  /** process.pid on the node */
  tgid: number;
  /** process.user.id */
  uid: number;
  /** process.executable.name as the kernel has it: 15 bytes */
  comm: string;
  /** process.executable.path */
  executable: string;
  /** empty when it is not known */
  parentExecutable: string;
  /** k8s.container.name; empty when it is not known */
  containerName: string;
  /** what it did; empty when it sent a packet */
  operation: string;
  /** to what */
  subject: string;
}

/** One violation that counted. */
export interface Evidence {
  /** in VIOLATIONS */
  streamSequence: number;
  /** of the violation in the frame */
  index: number;
  /** of the violation */
  vector: string;
  /** of kind lsm: operations */
  packets: number;
  /** null when no process is known */
  process: EvidenceProcess | null;
}

/** A judgement: which rule, at what level, on what evidence. On bailiff.v1.verdicts.<level>.<namespace>.<pod>.<verdictId>. */
export interface Verdict {
  /** hash(rule, group, floor(trigger time / cooldown)): the same whoever computes it */
  verdictId: string;
  /** name of the correlation rule */
  rule: string;
  /** what the rule weighs */
  ruleType: RuleType;
  /** of the rule */
  level: Level;
  /** of the rule: whose violations were counted together */
  groupBy: GroupBy;
  /** pod uid, owner uid, namespace or node name */
  groupKey: string;
  /** sequence in CONFIG_LOG of the newest configuration this was judged by; 0 = built-in defaults */
  configRevision: number;
  /** event time; microseconds since 1970 */
  triggeredAt: number;
  /** event time; microseconds since 1970 */
  windowStartAt: number;
  /** packets, distinct values or matched sub-rules in the window */
  observed: number;
  /** what observed had to reach */
  threshold: number;
  /** of the violations in the window */
  vectors: string[];
  /** k8s.node.name, by the subject of the frames */
  nodeName: string;
  /** the pod whose violation crossed the threshold; null when the group is a node judged for foreign pods */
  pod: VerdictPod | null;
  /** newest 32 at most */
  evidence: Evidence[];
  /** how many more there were */
  evidenceOmitted: number;
  /** one sentence for a person */
  reason: string;
  /** of the rule */
  tags: string[];
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
  /** when the process began; microseconds since 1970 */
  startedAt: number;
  /** effective, on the node */
  uid: number;
  /** its name, or its cgroup's where the name is not known */
  container: string;
  /** process.name */
  comm: string;
  /** process.executable.path; empty when it cannot be read */
  executable: string;
  /** process.command_args: the process's own words */
  args: string[];
  /** some of them are not told */
  argsCut: boolean;
}

/** One socket of a capture. */
export interface CapturedSocket {
  /** tcp, udp, raw, packet, unix */
  protocol: string;
  /** address:port, a path, or @ and an abstract name */
  local: string;
  /** empty when there is none */
  remote: string;
  /** of a connection, or listen; empty where there is none */
  state: string;
  /** who holds it; empty: nobody in the pod */
  pids: number[];
}

/** What ran in the pod, read from /proc on its node. At most 64 KiB as JSON. */
export interface PodCapture {
  /** when it was read, by the node's clock; microseconds since 1970 */
  takenAt: number;
  /** how arguments are told: none, redacted, full */
  arguments: string;
  /** those of the evidence first, then the oldest */
  processes: CapturedProcess[];
  /** processes that are not told */
  processesOmitted: number;
  /** of the network namespaces of its processes */
  sockets: CapturedSocket[];
  /** sockets that are not told */
  socketsOmitted: number;
}

/** What was done about a verdict, or refused, and why. On bailiff.v1.responses.<action>.<namespace>.<pod>.<responseId>. */
export interface Response {
  /** hash(verdictId, policy, action, phase group): started and terminal differ, a retry does not */
  responseId: string;
  /** what was answered */
  verdictId: string;
  /** name of the response policy */
  policy: string;
  /** what was to be done; one that a reader does not know is read as observe */
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
  /** k8s.pod.uid; empty when it is about a node */
  podUid: string;
  /** k8s.namespace.name; likewise */
  podNamespace: string;
  /** k8s.pod.name; likewise */
  podName: string;
  /** k8s.node.name */
  nodeName: string;
  /** the pod's controller as the API server named it; empty when it has none or was not read */
  ownerKind: string;
  /** likewise */
  ownerName: string;
  /** budgets per owner are folded from this */
  ownerUid: string;
  /** the responder's clock; microseconds since 1970 */
  recordedAt: number;
  /** 1 is the first */
  attempt: number;
  /** what was asked of Kubernetes, empty when nothing was */
  apiVerb: string;
  /** path of that request */
  apiPath: string;
  /** HTTP status; 0 when nothing was asked */
  apiStatus: number;
  /** when it is undone; null: not by itself; microseconds since 1970 */
  expiresAt: number | null;
  /** of action capture, when it succeeded */
  capture: PodCapture | null;
}
