/**
 * Reads correlation rules from CONFIG_LOG into the rule history. Each start reads the log from its
 * beginning. A refused rule is logged, and its last valid version stays in force.
 */
import { type Bus, type ConfigChange, ConfigLog } from '@bailiff/bus';
import type { RuleHistory } from '@bailiff/correlation';
import type { Clock } from '@bailiff/service';
import type { Logger } from 'pino';
import type { Metrics } from './metrics.ts';

export interface RuleLogOptions {
  bus: Bus;
  rules: RuleHistory;
  clock: Clock;
  metrics: Pick<Metrics, 'verdicts' | 'ruleRead'>;
  log: Logger;
  /** Called after each change of the rules. Must not throw. */
  onChange(): void;
}

/** Starts reading at once; the caller closes the log. */
export function readRules({ bus, rules, clock, metrics, log, onChange }: RuleLogOptions): ConfigLog {
  /** The latency metric ignores changes that the bus stored before this time. */
  const startedMicros = clock.nowMicros();
  /** PromQL's `increase()` ignores the first value of a series, so each rule's counter starts with 0. */
  const initVerdictCounters = () => {
    for (const { name, level } of rules.latest().rules)
      metrics.verdicts.inc({ outcome: 'stored', level, rule: name }, 0);
  };
  const apply = (change: ConfigChange) => {
    const set = rules.apply(change);
    if (set === null) return;
    initVerdictCounters();
    onChange();
    if (change.timestampMicros >= startedMicros)
      metrics.ruleRead.observe(Math.max(0, clock.nowMicros() - change.timestampMicros) / 1e6);
    const problem = set.problems.find(({ sequence }) => sequence === change.sequence);
    if (problem) log.warn(problem, 'a rule is refused');
    else log.info({ key: change.key, revision: set.revision, rules: set.rules.length }, 'rules changed');
  };
  initVerdictCounters();
  return new ConfigLog(bus, { onChange: apply, onRecreated: () => rules.streamRecreated() });
}
