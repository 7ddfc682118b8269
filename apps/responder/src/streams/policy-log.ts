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
  /** Called after each applied change of a policy or disarming. Must not throw. */
  onChange(): void;
}

/** Starts reading at once; the caller closes the log. */
export function readPolicies({ bus, policies, clock, metrics, log, onChange }: PolicyLogOptions): ConfigLog {
  /** The latency metric ignores changes that the bus stored before this time. */
  const startedMicros = clock.nowMicros();
  const apply = (change: ConfigChange) => {
    const before = new Set(policies.refused().map(({ sequence }) => sequence));
    policies.apply(change);
    for (const { key, sequence, message: reason } of policies.refused()) {
      if (!before.has(sequence))
        log.error({ key, sequence, reason }, 'configuration refused; the last valid version stays in force');
    }
    if (!/^(response|disarm)\./.test(change.key)) return;
    if (change.timestampMicros >= startedMicros)
      metrics.policyRead.observe(Math.max(0, clock.nowMicros() - change.timestampMicros) / 1e6);
    onChange();
  };
  return new ConfigLog(bus, { onChange: apply, onRecreated: () => policies.streamRecreated() });
}
