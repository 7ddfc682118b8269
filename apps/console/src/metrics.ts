/** Metrics of the console in the cluster. */
import { MetricFamily } from '@bailiff/service';
import type { Registry } from 'prom-client';

/** Values read at each scrape, as they are before the first page. */
export const NO_READINGS = { pages: 0 };
type Readings = typeof NO_READINGS;

/** Statuses of refused visitors. */
const STATUSES = ['401', '403', '421', '503'] as const;

export function makeMetrics(registry: Registry, read: () => Readings) {
  const family = new MetricFamily(registry, 'bailiff_console_', read);
  family.gauge('pages', 'Open pages', (r) => r.pages);
  return {
    refused: family.counter(
      'refused_total',
      'Requests without data: 401 the visitor is unknown, 403 has no right or comes from another page, 421 asks for another host, 503 too many at once or no API server',
      ['status'],
      STATUSES.map((status) => ({ status })),
    ),
    failed: family.counter('failed_requests_total', 'Requests that failed for no fault of the visitor: see the log'),
    displaced: family.counter(
      'displaced_connections_total',
      'Older connections that were closed, because the limit of the listener was reached',
    ),
  };
}
