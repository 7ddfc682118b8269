/** Metrics of the evidence-log. Values are read where they are kept, when they are scraped. */
import { MetricFamily, type Values } from '@bailiff/service';
import type { Registry } from 'prom-client';

/** Values read at each scrape, as they are before the first head. */
export const NO_READINGS = {
  size: 0,
  lagSeconds: 0,
  missed: 0,
  /** By stream. */
  pending: {} as Values,
  /** By name of the witness. */
  witnessed: {} as Values,
  failing: {} as Values,
};
export type Readings = typeof NO_READINGS;

export function makeMetrics(registry: Registry, read: () => Readings): void {
  const family = new MetricFamily(registry, 'bailiff_evidence_log_', read);
  family.gauge('size', 'Messages that the newest head covers', (r) => r.size);
  family.gauge(
    'lag_seconds',
    'Age of the oldest message that is known and that no head covers; 0 if there is none',
    (r) => r.lagSeconds,
  );
  family.gaugeBy('pending_messages', 'Unread messages on the bus', 'stream', (r) => r.pending);
  family.gaugeBy('witnessed_size', 'Messages that the newest cosigned head covers', 'witness', (r) => r.witnessed);
  family.gaugeBy('witness_failing', '1 while a witness does not cosign', 'witness', (r) => r.failing);
  family.total(
    'missed_messages_total',
    'Messages that a stream deleted before they were read: the log does not have them',
    (r) => r.missed,
  );
}
