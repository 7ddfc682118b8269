/**
 * Which rules are in force when: the built-in ones, overridden by name by what CONFIG_LOG says, revision after revision. Pure.
 *
 * Place in the path: CONFIG_LOG → rule-book.ts → fold.ts. Invariants: the same log gives the same rule sets in every process; a revision that
 * is refused leaves the last good one of its key in force and is listed as a problem until a good one or a deletion follows.
 * Bounds: as many rule sets as the log keeps changes of correlation rules; rules are shared between them.
 */
import assert from 'node:assert/strict';
import { BUILT_IN_RULES, ConfigError, type CorrelationRule, parseConfigKey, parseConfigValue } from '@bailiff/policy';
import { type CompiledRule, compileRule } from './rules.ts';

/** One change as the log has it; `json` null = deleted. */
export interface RuleChange {
  /** In CONFIG_LOG, growing. */
  sequence: number;
  /** When the bus stored it. */
  timestampMicros: number;
  key: string;
  json: string | null;
}

/** A revision that was refused. */
export interface RuleProblem {
  key: string;
  /** Of the refused change in CONFIG_LOG. */
  sequence: number;
  code: ConfigError['code'];
  /** Dotted paths of what is wrong. */
  fields: readonly string[];
  message: string;
  /** What is in force instead. */
  inForce: 'last-good' | 'default' | 'nothing';
}

export interface RuleSet {
  /** Sequence in CONFIG_LOG of the newest change of a rule; 0 = built-in defaults. */
  readonly revision: number;
  /** Server time of that change. */
  readonly fromMicros: number;
  /** Enabled ones, by name. */
  readonly rules: readonly CompiledRule[];
  readonly problems: readonly RuleProblem[];
}

const PREFIX = 'correlation.';

export class RuleBook {
  readonly #defaults: ReadonlyMap<string, CompiledRule>;
  /** Of each name that was written: what is in force of it; null = switched off. */
  readonly #written = new Map<string, { revision: number; compiled: CompiledRule | null }>();
  readonly #problems = new Map<string, RuleProblem>();
  readonly #sets: RuleSet[];
  #at = 0;
  /** Of the newest change of a rule. */
  #sequence = 0;

  constructor(defaults: Readonly<Record<string, CorrelationRule>> = BUILT_IN_RULES) {
    const enabled = Object.entries(defaults).filter(([, rule]) => rule.enabled);
    this.#defaults = new Map(enabled.map(([name, rule]) => [name, compileRule(name, rule)]));
    this.#sets = [{ revision: 0, fromMicros: 0, rules: this.#compiled(), problems: [] }];
  }

  /** Takes the next change of the log; answers the new rule set, or null when the change is about something else. */
  apply(change: RuleChange): RuleSet | null {
    if (!change.key.startsWith(PREFIX)) return null;
    const last = this.latest();
    assert(change.sequence > this.#sequence, 'changes come in the order of the log');
    this.#sequence = change.sequence;
    const refused = this.#take(change);
    if (refused) this.#problems.set(change.key, refused);
    else this.#problems.delete(change.key);
    const set: RuleSet = {
      revision: change.sequence,
      // A clock that was set back between two leaders must not hide a change behind an older one.
      fromMicros: Math.max(change.timestampMicros, last.fromMicros),
      rules: this.#compiled(),
      problems: [...this.#problems.values()],
    };
    this.#sets.push(set);
    return set;
  }

  /**
   * The log was made anew: its changes come from the first again. What is in force stands until the new log says something of rules; from
   * then on only that log counts.
   */
  startOver(): void {
    const { revision, rules } = this.latest();
    this.#written.clear();
    this.#problems.clear();
    this.#sets.splice(0, this.#sets.length, { revision, fromMicros: 0, rules, problems: [] });
    this.#at = 0;
    this.#sequence = 0;
  }

  /** The rule set in force at a time. Asking forwards in time costs one comparison. */
  at(timeMicros: number): RuleSet {
    const sets = this.#sets;
    if ((sets[this.#at] as RuleSet).fromMicros > timeMicros) this.#at = 0;
    while (this.#at + 1 < sets.length && (sets[this.#at + 1] as RuleSet).fromMicros <= timeMicros) this.#at++;
    return sets[this.#at] as RuleSet;
  }

  latest(): RuleSet {
    return this.#sets.at(-1) as RuleSet;
  }

  /** The longest timespan and cooldown of any rule that was in force at or after a time. */
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

  #take(change: RuleChange): RuleProblem | null {
    let name = '';
    try {
      const key = parseConfigKey(change.key);
      name = key.name;
      if (change.json === null) {
        this.#written.delete(name);
        return null;
      }
      const rule = parseConfigValue(key, change.json) as CorrelationRule;
      const before = this.#written.get(name);
      if (before && rule.revision < before.revision) {
        const message = `${change.key}: revision ${rule.revision} is older than ${before.revision}, which is in force`;
        throw new ConfigError('CONFIG_REVISION', message, ['revision']);
      }
      this.#written.set(name, { revision: rule.revision, compiled: rule.enabled ? compileRule(name, rule) : null });
      return null;
    } catch (error) {
      if (!(error instanceof ConfigError)) throw error;
      const inForce = this.#written.has(name) ? 'last-good' : this.#defaults.has(name) ? 'default' : 'nothing';
      const { code, fields, message } = error;
      return { key: change.key, sequence: change.sequence, code, fields, message, inForce };
    }
  }

  #compiled(): CompiledRule[] {
    const all = new Map<string, CompiledRule | null>(this.#defaults);
    for (const [name, { compiled }] of this.#written) all.set(name, compiled);
    return [...all.values()]
      .filter((rule) => rule !== null)
      .sort((a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : 0));
  }
}
