/**
 * Rule history: the rule set in force at each time. CONFIG_LOG overrides the built-in rules by
 * name. Pure. Data path: CONFIG_LOG → here → rule-engine.ts.
 *
 * Invariants: the same log produces the same rule sets in every process. A refused revision leaves
 * the last valid one in force, and is a problem of the set until a valid revision or a deletion
 * follows. So does one without a required signature, deletions included (ADR 36). Bounds: MAX_RULES, MAX_RULE_SETS; sets share compiled rules.
 */
import assert from 'node:assert/strict';
import {
  BUILT_IN_RULES,
  ConfigError,
  type CorrelationRule,
  FORMER_CONFIG_MICROS,
  parseConfigKey,
  parseConfigValue,
  SignedConfig,
} from '@bailiff/policy';
import type { CompiledRule } from '../windows/compiled-rule.ts';
import { compileRule } from './rules.ts';

/** Stored rules. A further one is refused. */
export const MAX_RULES = 1_024;
/** Rule sets kept, one for each change of a rule. The oldest one also covers earlier times. */
export const MAX_RULE_SETS = 1_024;

/** One change in the log; `json` null = deleted. */
export interface RuleChange {
  /** In CONFIG_LOG; increasing. */
  sequence: number;
  /** When the bus stored it. */
  timestampMicros: number;
  key: string;
  json: string | null;
  /** As in the bus; absent: unsigned. */
  signature?: string;
}

/** A revision that was refused. */
export interface RuleProblem {
  key: string;
  /** Sequence of the refused change in CONFIG_LOG. */
  sequence: number;
  code: ConfigError['code'];
  /** Dotted paths of the invalid fields. */
  fields: readonly string[];
  message: string;
  /** The revision in force instead. */
  inForce: 'last-good' | 'default' | 'nothing';
}

export interface RuleSet {
  /** Sequence in CONFIG_LOG of the newest change of a rule; 0 = built-in defaults. */
  readonly revision: number;
  /** Server time of that change. */
  readonly fromMicros: number;
  /** Enabled rules, sorted by name. */
  readonly rules: readonly CompiledRule[];
  readonly problems: readonly RuleProblem[];
}

const PREFIX = 'correlation.';

export class RuleHistory {
  readonly #defaults: ReadonlyMap<string, CompiledRule>;
  readonly #signed: SignedConfig;
  /** By rule name: the version in force; null = disabled. */
  readonly #stored = new Map<string, CompiledRule | null>();
  /** Rules of a deleted log that the new one has not written yet, and the time until which they stay. */
  #former: { rules: Map<string, CompiledRule | null>; untilMicros: number } | null = null;
  readonly #problems = new Map<string, RuleProblem>();
  readonly #sets: RuleSet[];
  /** Index of the set that `at` returned last. */
  #at = 0;
  /** Sequence of the newest change of a rule. */
  #sequence = 0;

  constructor(
    defaults: Readonly<Record<string, CorrelationRule>> = BUILT_IN_RULES,
    signed: SignedConfig = new SignedConfig(),
  ) {
    this.#signed = signed;
    const enabled = Object.entries(defaults).filter(([, rule]) => rule.enabled);
    this.#defaults = new Map(enabled.map(([name, rule]) => [name, compileRule(name, rule)]));
    this.#sets = [{ revision: 0, fromMicros: 0, rules: this.#compiled(), problems: [] }];
  }

  /**
   * Applies the next change of the log. Returns the new rule set, or null if the change is of
   * another kind.
   */
  apply(change: RuleChange): RuleSet | null {
    if (!change.key.startsWith(PREFIX)) return null;
    if (this.#former?.untilMicros === Number.POSITIVE_INFINITY && !this.#signed.requires('correlation'))
      this.#former.untilMicros = change.timestampMicros + FORMER_CONFIG_MICROS;
    this.#endFormer(change.timestampMicros);
    const last = this.latest();
    assert(change.sequence > this.#sequence, 'changes are applied in the order of the log');
    this.#sequence = change.sequence;
    const refused = this.#store(change);
    if (refused) this.#problems.set(change.key, refused);
    else this.#problems.delete(change.key);
    const set: RuleSet = {
      revision: change.sequence,
      // A new leader's clock may be behind: a later change must not take effect before an earlier
      // one.
      fromMicros: Math.max(change.timestampMicros, last.fromMicros),
      rules: this.#compiled(),
      problems: [...this.#problems.values()],
    };
    this.#push(set);
    return set;
  }

  #push(set: RuleSet): void {
    this.#sets.push(set);
    if (this.#sets.length > MAX_RULE_SETS) {
      this.#sets.shift();
      this.#at = Math.max(0, this.#at - 1);
    }
  }

  /**
   * The log was recreated and is read again from its first change. A rule stays in force until the
   * new log has its key, at most FORMER_CONFIG_MICROS after the first change of a rule there. If rules
   * need a signature, it stays until a signed change.
   */
  streamRecreated(): void {
    const { revision, rules } = this.latest();
    const former = new Map([...(this.#former?.rules ?? []), ...this.#stored]);
    this.#former = { rules: former, untilMicros: Number.POSITIVE_INFINITY };
    this.#stored.clear();
    this.#problems.clear();
    this.#sets.splice(0, this.#sets.length, { revision, fromMicros: 0, rules, problems: [] });
    this.#at = 0;
    this.#sequence = 0;
  }

  /** The rule set in force at a time. Increasing times cost one comparison. */
  at(timeMicros: number): RuleSet {
    this.#endFormer(timeMicros);
    const sets = this.#sets;
    if ((sets[this.#at] as RuleSet).fromMicros > timeMicros) this.#at = 0;
    while (this.#at + 1 < sets.length && (sets[this.#at + 1] as RuleSet).fromMicros <= timeMicros) this.#at++;
    return sets[this.#at] as RuleSet;
  }

  #endFormer(timeMicros: number): void {
    if (this.#former === null || timeMicros < this.#former.untilMicros) return;
    const { untilMicros } = this.#former;
    this.#former = null;
    const last = this.latest();
    this.#push({ ...last, fromMicros: Math.max(untilMicros, last.fromMicros), rules: this.#compiled() });
  }

  latest(): RuleSet {
    return this.#sets.at(-1) as RuleSet;
  }

  /** The longest timespan and the longest cooldown of all rules in force at or after a time. */
  longestSince(timeMicros: number): { timespanMicros: number; cooldownMicros: number } {
    const longest = { timespanMicros: 0, cooldownMicros: 0 };
    this.#sets.forEach((set, index) => {
      if ((this.#sets[index + 1]?.fromMicros ?? Number.POSITIVE_INFINITY) < timeMicros) return;
      for (const rule of set.rules) {
        longest.timespanMicros = Math.max(longest.timespanMicros, rule.timespanMicros);
        longest.cooldownMicros = Math.max(longest.cooldownMicros, rule.cooldownMicros);
      }
    });
    return longest;
  }

  #store(change: RuleChange): RuleProblem | null {
    let name = '';
    try {
      const key = parseConfigKey(change.key);
      name = key.name;
      const refusal = this.#signed.refusal({ ...change, signature: change.signature ?? '' });
      if (refusal !== '') throw new ConfigError('CONFIG_SIGNATURE', `${change.key}: ${refusal}`);
      if (change.json === null) {
        this.#stored.delete(name);
        this.#former?.rules.delete(name);
        return null;
      }
      const rule = parseConfigValue(key, change.json) as CorrelationRule;
      if (!this.#stored.has(name) && this.#stored.size >= MAX_RULES)
        throw new ConfigError('CONFIG_KEY', `more than ${MAX_RULES} rules are not read`);
      this.#stored.set(name, rule.enabled ? compileRule(name, rule) : null);
      this.#former?.rules.delete(name);
      return null;
    } catch (error) {
      if (!(error instanceof ConfigError)) throw error;
      const isKept = this.#stored.has(name) || this.#former?.rules.has(name);
      const inForce = isKept ? 'last-good' : this.#defaults.has(name) ? 'default' : 'nothing';
      const { code, fields, message } = error;
      return { key: change.key, sequence: change.sequence, code, fields, message, inForce };
    }
  }

  #compiled(): CompiledRule[] {
    const all = new Map<string, CompiledRule | null>(this.#defaults);
    const stored = [...(this.#former?.rules ?? []), ...this.#stored];
    for (const [name, compiled] of stored) all.set(name, compiled);
    return [...all.values()]
      .filter((rule) => rule !== null)
      .sort((a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : 0));
  }
}
