/**
 * Rule history: the rule set in force at each time. CONFIG_LOG overrides the built-in rules by
 * name. Pure. Data path: CONFIG_LOG → here → rule-engine.ts. Bounds: MAX_RULES, MAX_RULE_SETS; sets share compiled rules.
 */
import {
  BUILT_IN_RULES,
  type ConfigVersion,
  type CorrelationRule,
  type LoggedChange,
  SignedConfig,
  VersionedConfig,
} from '@bailiff/policy';
import type { CompiledRule } from '../windows/compiled-rule.ts';
import { compileRule } from './rules.ts';

/** Stored rules. A further one is refused. */
export const MAX_RULES = 1_024;
/** Rule sets kept, one for each change of a rule. The oldest one also covers earlier times. */
export const MAX_RULE_SETS = 1_024;

export type RuleChange = LoggedChange;

interface Rules {
  /** Enabled rules, sorted by name. */
  readonly rules: readonly CompiledRule[];
}
export type RuleSet = Rules & ConfigVersion;

export class RuleHistory extends VersionedConfig<CorrelationRule, CompiledRule, Rules> {
  constructor(
    defaults: Readonly<Record<string, CorrelationRule>> = BUILT_IN_RULES,
    signed: SignedConfig = new SignedConfig(),
  ) {
    super({
      kind: 'correlation',
      defaults,
      signed,
      maxKeys: MAX_RULES,
      maxSets: MAX_RULE_SETS,
      compile: (name, rule) => (rule.enabled ? compileRule(name, rule) : null),
      setOf: (rules) => ({ rules: [...rules.values()].sort((a, b) => (a.name < b.name ? -1 : 1)) }),
    });
  }

  /** The longest timespan and the longest cooldown of all rules in force at or after a time. */
  longestSince(timeMicros: number): { timespanMicros: number; cooldownMicros: number } {
    const longest = { timespanMicros: 0, cooldownMicros: 0 };
    for (const { timespanMicros, cooldownMicros } of this.since(timeMicros).flatMap(({ rules }) => rules)) {
      longest.timespanMicros = Math.max(longest.timespanMicros, timespanMicros);
      longest.cooldownMicros = Math.max(longest.cooldownMicros, cooldownMicros);
    }
    return longest;
  }
}
