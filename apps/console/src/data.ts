/**
 * What the console reads. The only interface between its server and the readers of the bus.
 *
 * Every reading is bounded by its reader, and ends with the signal. It asks `maySee` for the namespace of
 * everything before it is counted or shown.
 */
import type { Guest } from './access/door.ts';
import type { MaySee } from './access/scope.ts';
import type {
  AppliedView,
  ColumnView,
  EvidenceView,
  FileView,
  GraphView,
  HistoryView,
  PodView,
  PoliciesView,
  PolicyTextView,
  ProposalView,
  RowView,
  RulesView,
  StatusView,
  TableView,
  TrialView,
  VerdictView,
} from './wire.ts';

/** An accepted violation. */
export interface SeenViolation {
  /** Server time of its frame. */
  storedMs: number;
  node: string;
  vector: string;
  action: string;
  /** Null: the interface has no known pod. */
  pod: { namespace: string; name: string; uid: string } | null;
  /** Packets or operations that it adds to those before it. */
  count: number;
}

/** A row; times in it depend on the current day. */
export type RowAt = (nowMs: number) => RowView;

/** A verdict or a response. */
export interface SeenRow {
  row: RowAt;
  /** Server time. */
  storedMs: number;
  /** Of its pod; null: of a node. */
  namespace: string | null;
  /** Action and phase of a response: `delete refused`. Empty for a verdict. */
  kind: string;
}

export interface LiveEvents {
  onViolation(violation: SeenViolation): void;
  /** Violations that a node may not report: in no count. */
  onRefused(): void;
  onVerdict(verdict: SeenRow): void;
  onResponse(response: SeenRow): void;
  /** @param left messages that are stored behind this one */
  onProgress(stream: LiveStream, left: number): void;
  /** Messages that are not read, because the reading is too far behind. */
  onSkipped(stream: LiveStream, messages: number): void;
  /** Called for each stream: every stored message since the start was read. @param cut not all of them */
  onCaughtUp(stream: LiveStream, cut: boolean): void;
}

export const LIVE_STREAMS = ['VIOLATIONS', 'VERDICTS', 'RESPONSES'] as const;
export type LiveStream = (typeof LIVE_STREAMS)[number];

export interface PodRequest {
  /** `namespace/name`, a name or a uid. */
  pod: string;
  /** Null: any that the pod's text does not name. */
  namespace: string | null;
  since: string;
}

export interface HistoryRequest {
  /** Null = all keys. */
  key: string | null;
  since: string;
}

export interface EvidenceRequest {
  /** Of a verdict, or its first characters. */
  id: string;
  /** Without arguments and addresses. */
  isRedacted: boolean;
  /** Name of the visitor; empty: the user of this machine. */
  by: string;
}

type OnProgress = (messages: number, left: number) => void;

export interface TrialRequest {
  /** Of a rule, a response policy or modes of packets. */
  key: string;
  /** As of `config set`: `condition.gte=5`. */
  assignments: readonly string[];
  since: string;
  onProgress: OnProgress;
}

export interface SimulationRequest {
  /** A policy file. */
  policy: string;
  since: string;
  onProgress: OnProgress;
}

export interface LearnRequest {
  /** `namespace/name`, a name or a uid. */
  pod: string;
  since: string;
  onProgress: OnProgress;
}

export interface ConsoleData {
  /** Address of the bus and login, for people. */
  readonly bus: string;
  readonly user: string;
  readonly columns: { verdicts: readonly ColumnView[]; responses: readonly ColumnView[] };
  connected(): boolean;
  /** Nodes, services and problems are of no namespace: without them, the guards of the pods that one may see. */
  status(maySee: MaySee, signal: AbortSignal): Promise<StatusView>;
  waiting(maySee: MaySee, signal: AbortSignal): Promise<TableView>;
  /** Reads a stream since a time, and on until the signal. @throws what ends the reading early */
  follow(stream: LiveStream, sinceMs: number, events: LiveEvents, signal: AbortSignal): Promise<void>;
  verdict(id: string, maySee: MaySee, signal: AbortSignal): Promise<VerdictView>;
  /** For those who may see everything: it has frames of a whole node. */
  evidence(request: EvidenceRequest, signal: AbortSignal): Promise<EvidenceView>;
  pod(request: PodRequest, maySee: MaySee, signal: AbortSignal): Promise<PodView>;
  podFile(request: PodRequest, maySee: MaySee, signal: AbortSignal): Promise<FileView>;
  history(request: HistoryRequest, maySee: MaySee, signal: AbortSignal): Promise<HistoryView>;
  graph(since: string, maySee: MaySee, signal: AbortSignal): Promise<GraphView>;
  policies(since: string, maySee: MaySee, signal: AbortSignal): Promise<PoliciesView>;
  /** Rules, response policies and modes in force. For those who may see everything. */
  rules(signal: AbortSignal): Promise<RulesView>;
  /** Judges stored violations again, under a changed rule. For those who may see everything. */
  trial(request: TrialRequest, signal: AbortSignal): Promise<TrialView>;
  /** A stored runtime policy. For those who may see everything. */
  policyText(key: string, signal: AbortSignal): Promise<PolicyTextView>;
  /** Decides recorded operations under policies, as if they were enforced. For those who may see everything. */
  simulate(request: SimulationRequest, signal: AbortSignal): Promise<TrialView>;
  /** Proposes a policy from recorded operations of a pod. For those who may see everything. */
  learn(request: LearnRequest, signal: AbortSignal): Promise<TrialView>;
  /** What failed and what to do, for people. */
  describe(error: unknown): { status: 400 | 403 | 404 | 409 | 500 | 503; error: string; remedy: string };
}

export interface ChangeRequest {
  /** Of a rule, a response policy or a runtime policy. */
  key: string;
  /** As of `config set`: `condition.gte=5`. */
  assignments: readonly string[];
}

export interface ConfirmedChange extends ChangeRequest {
  /** Of the proposal that the visitor saw. */
  basis: string;
  reason: string;
}

/**
 * Changes by visitors, each with the visitor's own rights. For those who may see everything: the values
 * hold for the whole cluster.
 */
export interface Changes {
  /** Whether to offer a change of these keys. @returns by key, why not; empty: the visitor may */
  whyNot(keys: readonly string[], guest: Guest, signal: AbortSignal): Promise<ReadonlyMap<string, string>>;
  /** The change as it would be written, checked; writes nothing. */
  propose(request: ChangeRequest, guest: Guest, signal: AbortSignal): Promise<ProposalView>;
  /** @throws if the visitor may not, or if something else than `basis` is stored now; then nothing was written */
  apply(change: ConfirmedChange, guest: Guest, signal: AbortSignal): Promise<AppliedView>;
}
