/** What the server sends about trials, simulations and proposals. Types only, part of wire.ts. */
import type { SectionView } from './table-wire.ts';

export interface RuleView {
  /** Key of the configuration. */
  key: string;
  name: string;
  /** `spoof`: modes of packets. */
  kind: 'correlation' | 'response' | 'spoof';
  /** What the rule is for; empty: its value does not say. */
  description: string;
  /** The value in force. */
  yaml: string;
  fields: { path: string; label: string; value: string; choices: string[] }[];
  /** Empty: the visitor may change it here. */
  whyNot: string;
}

/** A stored runtime policy that can be simulated. */
export interface PolicyChoiceView {
  key: string;
  name: string;
}

export interface RulesView {
  rules: RuleView[];
  policies: PolicyChoiceView[];
}

/** A policy as a file that can be applied again. */
export interface PolicyTextView {
  yaml: string;
}

/** Body of POST /api/simulation. */
export interface SimulationBody {
  /** A policy file: one or several documents. */
  policy: string;
  since: string;
}

/** Events of a trial, a simulation or a proposal: progress, then one result or error. */
export type TrialEvent = { frames: number; left: number } | { result: TrialView } | { error: string; remedy: string };

export interface TrialView {
  /** One sentence. */
  headline: string;
  isSame: boolean;
  sections: SectionView[];
  /** That stores the tried value, or the file below. */
  apply: string;
  /** Prints the same, with the file below. */
  command: string;
  fileName: string;
  yaml: string;
  notes: string[];
}
