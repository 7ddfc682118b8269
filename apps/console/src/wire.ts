/**
 * What the server sends to the page. Types only: both sides compile against them.
 *
 * Tables have the columns and cells of the CLI, so a page shows what the command of the same name prints.
 * All text is plain text. Lists are bounded, and `omitted` counts the rest.
 */

import type { Cell, SectionView, Style, TableView } from './table-wire.ts';
import type { PolicyChoiceView } from './trial-wire.ts';

export type * from './table-wire.ts';
export type * from './trial-wire.ts';

export interface ProblemView {
  severity: 'shout' | 'warn';
  /** Nodes, services, streams or scopes. */
  where: string;
  text: string;
  remedy: string;
}

/** What `bailiff status` prints. */
export interface StatusView {
  atMs: number;
  ok: boolean;
  /** Of `bailiff status`; null without the right to see nodes. */
  exitCode: number | null;
  /** One sentence for the head of the page. */
  headline: string;
  summary: string;
  services: { name: string; text: string }[];
  streams: string;
  problems: ProblemView[];
  problemsOmitted: number;
  nodes: TableView;
  guarded: number;
  guardable: number;
  /** Guarded ones that drop everything that is dropped by default, as far as their nodes report. */
  enforced: number;
  /** Sentences about what could not be read. */
  notes: string[];
}

/** Counts in equal steps of server time, oldest first; the last step is the current one. */
export interface RatesView {
  /** Start of the first step. */
  fromMs: number;
  stepMs: number;
  series: { name: string; action: string; total: number; counts: number[] }[];
  /** Total of the vectors beyond the series. */
  otherTotal: number;
  total: number;
  /** Of the total, what was only audited, and got through. */
  passed: number;
}

export interface AttackerView {
  namespace: string;
  pod: string;
  uid: string;
  node: string;
  count: number;
  /** Of those, what was only audited. */
  passed: number;
  /** Vectors with the outcome: `ipv4-source drop`. */
  vectors: string[];
  lastMs: number;
}

export interface LiveView {
  rates: RatesView;
  attackers: AttackerView[];
  attackersOmitted: number;
  /** Newest first. */
  verdicts: TableView;
  /** Newest first. */
  responses: TableView;
  /** All responses by action and phase (`delete refused`), most first. */
  responseCounts: { kind: string; count: number }[];
  /** False until the stored messages of the window were read. */
  complete: boolean;
  /** Messages of violations that were read, and those that are stored behind them; 0 for a part of the namespaces. */
  read: number;
  left: number;
  /** Sentences about what is not counted. */
  notes: string[];
}

export interface ConnectionView {
  /** Address of the bus, and the login. */
  bus: string;
  user: string;
  connected: boolean;
  /** Why the last reading failed; empty: it did not. */
  problem: string;
}

/** Whose violations a visitor sees. */
export interface ScopeView {
  isAll: boolean;
  /** Empty with `isAll`. */
  namespaces: string[];
  omitted: number;
}

export interface NowView {
  nowMs: number;
  connection: ConnectionView;
  scope: ScopeView;
  /** Null until the first reading. */
  status: StatusView | null;
  /** Responses that wait for approval. Null until the first reading. */
  waiting: TableView | null;
  live: LiveView;
}

export interface FactView {
  name: string;
  text: string;
  style?: Style;
  link?: string;
}

export interface VerdictView {
  id: string;
  /** Pod and node. */
  title: string;
  /** `, of StatefulSet web`; empty without one. */
  owner: string;
  level: Cell;
  rule: string;
  reason: string;
  /** The page of its pod; empty for a node. */
  podLink: string;
  /** The page What if with its rule; empty: not for this visitor. */
  trialLink: string;
  facts: FactView[];
  sections: SectionView[];
  latency: string;
  command: string;
  /** That writes its evidence; empty: not for this visitor. */
  evidenceCommand: string;
  notes: string[];
}

/** A file to save. Its text is never shown, and is sent as it is. */
export interface FileView {
  name: string;
  file: string;
}

/** A file of evidence, and what its verification found. */
export interface EvidenceView extends FileView {
  /** One sentence. */
  headline: string;
  tone: 'plain' | 'bad';
  /** Sentences: when and by whom it was made, about what. */
  about: string[];
  sections: SectionView[];
  /** That verifies the saved file. */
  command: string;
}

export interface TimelineItemView {
  lane: string;
  atMicros: number;
  untilMicros: number;
  at: string;
  after: string;
  what: string;
  detail: string;
  tone: 'plain' | 'good' | 'warn' | 'bad' | 'act';
  weight: number;
  place: string;
  link: string;
}

export interface PodView {
  title: string;
  facts: string[];
  notes: string[];
  lanes: string[];
  items: TimelineItemView[];
  /** Violations by vector, as `bailiff explain` counts them. */
  violations: TableView;
  command: string;
  explainCommand: string;
}

export interface ChangeView {
  sequence: number;
  at: string;
  atMs: number;
  key: string;
  revision: string;
  lines: string;
  /** One side of the lines is the built-in value. */
  isOverBuiltIn: boolean;
  owner: string;
  /** As the bus states; empty: unsigned. */
  signedAs: string;
  by: string;
  why: string;
  diff: { sign: ' ' | '-' | '+' | '…'; text: string }[];
  diffOmitted: number;
}

export interface HistoryView {
  changes: ChangeView[];
  omitted: number;
  command: string;
  notes: string[];
}

export interface GraphNodeView {
  id: string;
  column: 'attacker' | 'claim' | 'target';
  namespace: string | null;
  label: string;
  link: string;
  /** Pods, nodes and vectors of an attacker; addresses of the others. */
  details: string[];
  /** Of an attacker, exact. */
  packets: number | null;
  /** Packets of an attacker that were only audited. */
  passed: number | null;
}

/** Sampled packets of an attacker with one claim, to one destination: ids of nodes. */
export interface GraphLinkView {
  from: string;
  claim: string;
  target: string;
  samples: number;
}

export interface GraphView {
  since: string;
  nodes: GraphNodeView[];
  links: GraphLinkView[];
  packets: number;
  /** Attackers and links that are not shown. */
  omitted: number;
  command: string;
  notes: string[];
}

export interface PolicyReasonView {
  tone: 'warn' | 'bad' | 'dim';
  where: string;
  text: string;
  remedy: string;
}

/** A policy in mode audit, and what enforces it. */
export interface PromotionView {
  key: string;
  name: string;
  command: string;
  /** Empty: the visitor may change it here. */
  whyNot: string;
}

export interface PoliciesView {
  since: string;
  /** One sentence: is every policy in force? */
  headline: string;
  tone: 'good' | 'warn' | 'bad' | 'plain';
  policies: TableView;
  reasons: PolicyReasonView[];
  /** What enforcing would have denied. */
  operations: TableView;
  /** Sentences about recorded operations that are not in the table. */
  operationsNotes: string[];
  promotions: PromotionView[];
  /** Policies that can be simulated; null: not for this visitor. */
  choices: PolicyChoiceView[] | null;
  /** Vectors of packets that are not enforced, by scope. */
  vectors: TableView;
  /** Instead of an empty table. */
  vectorsEmpty: string;
  packets: TableView;
  packetsText: string;
  /** Commands that enforce what is audited. */
  advice: string[];
  commands: { status: string; list: string; vectors: string; wouldDrop: string; operations: string };
  notes: string[];
}

/** A change that is not confirmed yet. */
export interface ProposalView {
  key: string;
  /** `changes revision 3 by anna` */
  heading: string;
  diff: ChangeView['diff'];
  diffOmitted: number;
  /** The name under which the change is recorded. */
  by: string;
  /** Sent back with the confirmation: the change is refused if something else is stored by then. */
  basis: string;
  /** Sentences to read before the change is confirmed. */
  notes: string[];
}

/** Body of POST /api/change. */
export interface ConfirmationView {
  key: string;
  set: string[];
  basis: string;
  reason: string;
}

export interface AppliedView {
  /** One sentence. */
  text: string;
  /** Whether it is in the configuration log already. */
  isWritten: boolean;
  notes: string[];
}

/** Body of GET /api/session. */
export interface DoorView {
  /** `link`: a link opens the session. `proxy`: the proxy in front of the console names the visitor. */
  kind: 'link' | 'proxy';
}

/** Body of every response with a status of 400 or more. */
export interface ErrorView {
  error: string;
  remedy: string;
}
