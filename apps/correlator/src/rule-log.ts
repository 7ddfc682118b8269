/**
 * Reads correlation rules from CONFIG_LOG into the rule history. Each start reads the log from its
 * beginning. A refused rule is logged, and its last valid version stays in force.
 */
import { type Bus, type ConfigChange, ConfigLog } from '@bailiff/bus';
import type { RuleHistory } from '@bailiff/correlation';
import type { Clock } from '@bailiff/service';
import type { Logger } from 'pino';
import type { InputWatermark } from './frame-consumer.ts';
import type { Metrics } from './metrics.ts';

export interface RuleLogOptions {
  bus: Bus;
  rules: RuleHistory;
  clock: Clock;
  metrics: Pick<Metrics, 'verdicts' | 'ruleRead'>;
  log: Logger;
}

export class RuleLog implements InputWatermark {
  readonly #o: RuleLogOptions;
  readonly #log: ConfigLog;
  readonly #listeners: (() => void)[] = [];
  /** The latency metric ignores changes that the bus stored before this time. */
  readonly #startedMicros: number;

  /** Starts reading at once; the caller closes it. */
  constructor(options: RuleLogOptions) {
    this.#o = options;
    this.#startedMicros = options.clock.nowMicros();
    this.#initVerdictCounters();
    this.#log = new ConfigLog(options.bus, {
      onChange: (change) => this.#apply(change),
      // The rules of the old log stay in force until the new log changes them.
      onRecreated: () => options.rules.streamRecreated(),
    });
  }

  isCompleteTo(timeMicros: number): boolean {
    return this.#log.isCaughtUpTo(timeMicros);
  }

  whenCompleteTo(timeMicros: number): Promise<void> {
    return this.#log.whenCaughtUpTo(timeMicros);
  }

  /** Adds a listener, called after each change of the rules. It must not throw. */
  onChange(listener: () => void): void {
    this.#listeners.push(listener);
  }

  #apply(change: ConfigChange): void {
    const { rules, clock, metrics, log } = this.#o;
    const set = rules.apply(change);
    if (set === null) return;
    this.#initVerdictCounters();
    for (const listener of this.#listeners) listener();
    if (change.timestampMicros >= this.#startedMicros)
      metrics.ruleRead.observe(Math.max(0, clock.nowMicros() - change.timestampMicros) / 1e6);
    const problem = set.problems.find(({ sequence }) => sequence === change.sequence);
    if (problem) log.warn(problem, 'a rule is refused');
    else log.info({ key: change.key, revision: set.revision, rules: set.rules.length }, 'rules changed');
  }

  /**
   * Creates the verdict counters with value 0: PromQL's `increase()` ignores the first value of a
   * series.
   */
  #initVerdictCounters(): void {
    const { rules, metrics } = this.#o;
    for (const { name, level } of rules.latest().rules)
      metrics.verdicts.inc({ outcome: 'stored', level, rule: name }, 0);
  }

  close(): Promise<void> {
    return this.#log.close();
  }
}
