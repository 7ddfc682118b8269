/** Metrics of bus-auth. */
import { FAST_BUCKETS, MetricFamily } from '@bailiff/service';
import type { Registry } from 'prom-client';
import { REASONS } from './connection-shares.ts';
import { REFUSALS } from './decide.ts';

/** Values read at each scrape, as they are before the first login. */
export const NO_READINGS = { inFlight: 0, waiting: 0, limitedSources: 0, signingKeys: 0, watching: 0 };
export type Readings = typeof NO_READINGS;

/** Requests without a response; the server refuses the client after its timeout. */
export const DROPS = ['unreadable', 'over-share', 'flooding', 'late', 'failed'] as const;

export type Metrics = ReturnType<typeof makeMetrics>;

export function makeMetrics(registry: Registry, read: () => Readings) {
  const family = new MetricFamily(registry, 'bailiff_bus_auth_', read);
  family.gauge('logins_in_flight', 'TokenReviews in flight', (r) => r.inFlight);
  family.gauge('logins_waiting', 'Logins that wait for a TokenReview', (r) => r.waiting);
  family.gauge('sources_with_failures', 'Pods and addresses with recorded failures', (r) => r.limitedSources);
  family.gauge(
    'signing_keys',
    'Public keys of the API server that verify tokens before a TokenReview; 0: none, and no token is proven',
    (r) => r.signingKeys,
  );
  family.gauge(
    'connections_watched',
    '1: the servers list the connections of nodes, and excess ones end; 0: render nats.conf again',
    (r) => r.watching,
  );
  return {
    granted: family.counter('granted_total', 'Logins of collectors that were admitted'),
    refused: family.counter(
      'refused_total',
      'Logins that were refused',
      ['reason'],
      Object.keys(REFUSALS).map((reason) => ({ reason })),
    ),
    dropped: family.counter(
      'dropped_total',
      'Requests of the bus without a response',
      ['reason'],
      DROPS.map((reason) => ({ reason })),
    ),
    connectionsEnded: family.counter(
      'connections_ended_total',
      'Connections of nodes that were ended: too many of one user, or one that floods the bus',
      ['reason'],
      REASONS.map((reason) => ({ reason })),
    ),
    loginSeconds: family.histogram('login_seconds', 'From a request of the bus to the response', FAST_BUCKETS),
    reviewSeconds: family.histogram('review_seconds', 'Duration of a TokenReview', FAST_BUCKETS),
    busErrors: family.counter('bus_errors_total', 'Failed attempts to reach the bus', ['code']),
  };
}
