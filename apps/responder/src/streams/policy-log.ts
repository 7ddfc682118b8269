/**
 * Reads response policies and disarmings from CONFIG_LOG into the policy history, from the
 * beginning at every start. A refused value is logged once, and the last valid one stays in force.
 */
import { type Bus, type ConfigChange, ConfigLog } from '@bailiff/bus';
import type { PolicyHistory } from '@bailiff/response';
import type { Clock } from '@bailiff/service';
import type { Logger } from 'pino';
import type { Metrics } from '../metrics.ts';

export interface PolicyLogOptions {
  bus: Bus;
  policies: PolicyHistory;
  clock: Clock;
  metrics: Metrics;
  log: Logger;
}

export class PolicyLog {
  readonly #o: PolicyLogOptions;
  readonly #log: ConfigLog;
  /** Changes stored before it are not part of the latency metric. */
  readonly #startedMicros: number;

  /** Starts reading at once; the caller closes it. */
  constructor(options: PolicyLogOptions) {
    this.#o = options;
    this.#startedMicros = options.clock.nowMicros();
    this.#log = new ConfigLog(options.bus, {
      onChange: (change) => this.#apply(change),
      // The policies stay in force until the new log changes them.
      onRecreated: () => options.policies.streamRecreated(),
    });
  }

  /** Resolves when every change stored up to a time is applied. */
  whenReadTo(timeMicros: number): Promise<void> {
    return this.#log.whenCaughtUpTo(timeMicros);
  }

  /** Adds a listener, called after each applied change of a policy or disarming. */
  onChange(listener: () => void): void {
    this.#log.onChange((change) => {
      if (isOurs(change)) listener();
    });
  }

  #apply(change: ConfigChange): void {
    const { policies, clock, metrics, log } = this.#o;
    const before = new Set(policies.refused().map(({ sequence }) => sequence));
    policies.apply(change);
    if (isOurs(change) && change.timestampMicros >= this.#startedMicros)
      metrics.policyRead.observe(Math.max(0, clock.nowMicros() - change.timestampMicros) / 1e6);
    for (const { key, sequence, reason } of policies.refused()) {
      if (!before.has(sequence))
        log.error({ key, sequence, reason }, 'configuration refused; the last valid version stays in force');
    }
  }

  close(): Promise<void> | void {
    return this.#log.close();
  }
}

const isOurs = ({ key }: ConfigChange): boolean => /^(response|disarm)\./.test(key);
