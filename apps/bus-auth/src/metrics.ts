/** What bus-auth counts. */
import { FAST_BUCKETS, MetricFamily, oncePerScrape } from '@bailiff/service';
import type { Counter, Histogram, Registry } from 'prom-client';
import { REFUSALS } from './decide.ts';

/** Read at each scrape. */
export interface Readings {
  inFlight: number;
  waiting: number;
  limitedSources: number;
  signingKeys: number;
}

/** Before anybody asked. */
export const NO_READINGS: Readings = { inFlight: 0, waiting: 0, limitedSources: 0, signingKeys: 0 };

/** Requests that are not answered: the bus refuses the client itself when it has waited long enough. */
export const DROPS = ['unreadable', 'late', 'failed'] as const;

export interface Metrics {
  granted: Counter;
  refused: Counter<'reason'>;
  dropped: Counter<'reason'>;
  loginSeconds: Histogram;
  reviewSeconds: Histogram;
  busErrors: Counter<'code'>;
}

export function makeMetrics(registry: Registry, read: () => Readings): Metrics {
  const readings = oncePerScrape(read);
  const family = new MetricFamily(registry, 'bailiff_bus_auth_');
  family.gauge('logins_in_flight', 'Logins about which the API server is being asked', () => readings().inFlight);
  family.gauge('logins_waiting', 'Logins that wait until it can be asked about them', () => readings().waiting);
  family.gauge('sources_with_failures', 'Pods and addresses whose failures are kept', () => readings().limitedSources);
  family.gauge(
    'signing_keys',
    'Public keys of the API server by which tokens are proven before it is asked; 0: it gives none, and all are strangers',
    () => readings().signingKeys,
  );
  return {
    granted: family.counter('granted_total', 'Logins of collectors that were let onto the bus'),
    refused: family.counter(
      'refused_total',
      'Logins that were refused',
      ['reason'],
      Object.keys(REFUSALS).map((reason) => ({ reason })),
    ),
    dropped: family.counter(
      'dropped_total',
      'Requests of the bus that were not answered',
      ['reason'],
      DROPS.map((reason) => ({ reason })),
    ),
    loginSeconds: family.histogram('login_seconds', 'From a request of the bus to the answer', FAST_BUCKETS),
    reviewSeconds: family.histogram('review_seconds', 'Time the API server took to judge a token', FAST_BUCKETS),
    busErrors: family.counter('bus_errors_total', 'Attempts to reach the bus that failed', ['code']),
  };
}
