/**
 * Reads response policies and disarmings from CONFIG_LOG into the policy history, from the
 * beginning at every start. A refused value is logged once, and the last valid one stays in force.
 */
import {
  type Bus,
  type ConfigChange,
  ConfigLog,
  coverFrom,
  microsOf,
  type RetryOptions,
  retryTransient,
  streamInfo,
} from '@bailiff/bus';
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

/** Plans verdicts that are older than the log by what it begins with. @throws BusError that time does not heal */
export async function coverVerdicts(
  bus: Bus,
  log: ConfigLog,
  policies: PolicyHistory,
  options: RetryOptions,
): Promise<void> {
  try {
    const { state } = await retryTransient(bus, () => streamInfo(bus, 'VERDICTS'), options);
    if (state.messages === 0) return;
    await retryTransient(bus, () => coverFrom(bus, log, policies, microsOf(state.first_ts)), options);
  } catch (error) {
    if (!options.signal.aborted) throw error;
  }
}
