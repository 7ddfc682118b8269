/** Metrics of the siem-relay. Most values are read where they are kept, when they are scraped. */
import { MetricFamily, SLOW_BUCKETS } from '@bailiff/service';
import type { Registry } from 'prom-client';

/** Values of one source stream, or of an output. */
export interface ReaderReadings {
  pending: number;
  lagSeconds: number;
  messages: number;
  lost: number;
}

export interface OutputReadings extends ReaderReadings {
  delivered: number;
  refused: number;
  failures: number;
  isFailing: boolean;
}

/** Values read at each scrape, as they are before the first reader. */
export const NO_READINGS = {
  /** By stream. */
  readers: {} as Readonly<Record<string, ReaderReadings>>,
  recreated: 0,
  repeated: 0,
  behind: false,
  /** By name of the output. */
  outputs: {} as Readonly<Record<string, OutputReadings>>,
  syslogConnections: 0,
  unkeptAlerts: 0,
};
export type Readings = typeof NO_READINGS;

const byName = <R>(all: Readonly<Record<string, R>>, value: (from: R) => number): Record<string, number> =>
  Object.fromEntries(Object.entries(all).map(([name, of]) => [name, value(of)]));

export type Metrics = ReturnType<typeof makeMetrics>;

export function makeMetrics(registry: Registry, read: () => Readings) {
  const family = new MetricFamily(registry, 'bailiff_siem_relay_', read);
  const ofReaders = (value: (from: ReaderReadings) => number) => (r: Readings) =>
    byName({ ...r.readers, ...r.outputs }, value);
  const ofOutputs = (value: (from: OutputReadings) => number) => (r: Readings) => byName(r.outputs, value);
  family.gaugeBy(
    'pending_messages',
    'Unread messages on the bus; for an output: events',
    'stream',
    ofReaders((r) => r.pending),
  );
  family.gaugeBy(
    'lag_seconds',
    'Age of the oldest message that is read but not relayed or delivered; 0 if there is none',
    'stream',
    ofReaders((r) => r.lagSeconds),
  );
  family.totalBy(
    'messages_total',
    'Messages read; for an output: events',
    'stream',
    ofReaders((r) => r.messages),
  );
  family.totalBy(
    'lost_messages_total',
    'Messages that the stream deleted before they were read',
    'stream',
    ofReaders((r) => r.lost),
  );
  family.gauge(
    'readers_behind',
    '1 if connectors or outputs have not read half of what SIEM can hold: the share of each node is lower',
    (r) => Number(r.behind),
  );
  family.total('streams_remade_total', 'Recreated streams, which are read from their beginning', (r) => r.recreated);
  family.total(
    'repeated_frames_total',
    'Frames that a collector sent again after a lost ack; skipped',
    (r) => r.repeated,
  );
  family.totalBy(
    'output_delivered_total',
    'Events that the receiver has confirmed',
    'output',
    ofOutputs((r) => r.delivered),
  );
  family.totalBy(
    'output_refused_total',
    'Events that the receiver refused for good: each has a dead letter',
    'output',
    ofOutputs((r) => r.refused),
  );
  family.totalBy(
    'output_failures_total',
    'Failed deliveries, which are retried',
    'output',
    ofOutputs((r) => r.failures),
  );
  family.gaugeBy(
    'output_failing',
    '1 while deliveries fail',
    'output',
    ofOutputs((r) => Number(r.isFailing)),
  );
  family.total(
    'unkept_alerts_total',
    'Alerts beyond a limit, which Alertmanager gets once and which are not sent again, and results that reports lost',
    (r) => r.unkeptAlerts,
  );
  const syslog = (value: (from: OutputReadings) => number) => (from: Readings) =>
    from.outputs['syslog'] ? value(from.outputs['syslog']) : 0;
  family.total(
    'syslog_confirmed_total',
    'Events with confirmed delivery to the receiver',
    syslog((r) => r.delivered),
  );
  family.total('syslog_connections_total', 'Connections made to the receiver', (r) => r.syslogConnections);
  family.total(
    'syslog_failures_total',
    'Connections that failed or broke; unconfirmed events are sent again',
    syslog((r) => r.failures),
  );
  return {
    events: family.counter('events_total', 'Events stored on the bus', ['format']),
    duplicates: family.counter('duplicate_events_total', 'Events that the bus already had', ['format']),
    unreadable: family.counter('unreadable_total', 'Unreadable messages, which are skipped', ['stream', 'reason']),
    refused: family.counter(
      'refused_events_total',
      'Skipped events: rendering failed, or they exceed the largest message of the bus',
    ),
    omitted: family.counter(
      'omitted_events_total',
      'Violations beyond the share of their node; one event a node names their number',
    ),
    busErrors: family.counter('errors_total', 'Failures that were retried', ['part']),
    published: family.histogram(
      'stored_to_published_seconds',
      'From storing a message to storing an event of it',
      SLOW_BUCKETS,
    ),
  };
}
