/** What the siem-relay counts. Most values are read where they are kept, when they are scraped. */
import { MetricFamily, oncePerScrape, SLOW_BUCKETS } from '@bailiff/service';
import type { Counter, Histogram, Registry } from 'prom-client';

/** Of one source stream, or of syslog. */
export interface ReaderReadings {
  pending: number;
  lagSeconds: number;
  messages: number;
  lost: number;
}

export interface Readings {
  /** By stream, and `syslog`. */
  readers: Readonly<Record<string, ReaderReadings>>;
  remade: number;
  syslog: { confirmed: number; connections: number; failures: number };
}

/** Before there is a reader. */
export const NO_READINGS: Readings = {
  readers: {},
  remade: 0,
  syslog: { confirmed: 0, connections: 0, failures: 0 },
};

export interface Metrics {
  events: Counter<'format'>;
  duplicates: Counter<'format'>;
  unreadable: Counter<'stream' | 'reason'>;
  refused: Counter;
  busErrors: Counter<'part'>;
  published: Histogram;
}

export function makeMetrics(registry: Registry, read: () => Readings): Metrics {
  const readings = oncePerScrape(read);
  const family = new MetricFamily(registry, 'bailiff_siem_relay_');
  const ofReaders = (value: (from: ReaderReadings) => number) => () =>
    Object.fromEntries(Object.entries(readings().readers).map(([stream, of]) => [stream, value(of)]));
  family.gaugeBy(
    'pending_messages',
    'Messages on the bus that are not read yet; of syslog: events',
    'stream',
    ofReaders((r) => r.pending),
  );
  family.gaugeBy(
    'lag_seconds',
    'Age of the oldest message that is read and not passed on; 0 when there is none',
    'stream',
    ofReaders((r) => r.lagSeconds),
  );
  family.totalBy(
    'messages_total',
    'Messages read; of syslog: events sent',
    'stream',
    ofReaders((r) => r.messages),
  );
  family.totalBy(
    'lost_messages_total',
    'Messages that their stream had let go before they were read',
    'stream',
    ofReaders((r) => r.lost),
  );
  const total = (name: string, help: string, value: (from: Readings) => number) =>
    family.total(name, help, () => value(readings()));
  total('streams_remade_total', 'Streams that were made anew and are read from their beginning', (r) => r.remade);
  total('syslog_confirmed_total', 'Events that the receiver has read for certain', (r) => r.syslog.confirmed);
  total('syslog_connections_total', 'Connections made to the receiver', (r) => r.syslog.connections);
  total(
    'syslog_failures_total',
    'Connections that failed or broke; what was not confirmed is sent again',
    (r) => r.syslog.failures,
  );
  return {
    events: family.counter('events_total', 'Events stored on the bus', ['format']),
    duplicates: family.counter('duplicate_events_total', 'Events that the bus had already', ['format']),
    unreadable: family.counter('unreadable_total', 'Messages that could not be read and were passed over', [
      'stream',
      'reason',
    ]),
    refused: family.counter(
      'refused_events_total',
      'Events left out: they could not be rendered, or the bus found them too large',
    ),
    busErrors: family.counter('errors_total', 'Failures that were tried again', ['part']),
    published: family.histogram(
      'stored_to_published_seconds',
      'From a message being stored to an event of it being stored',
      SLOW_BUCKETS,
    ),
  };
}
