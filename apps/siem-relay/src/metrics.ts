/** What the siem-relay counts. Most values are read where they are kept, when they are scraped. */
import { Counter, Gauge, Histogram, type Registry } from 'prom-client';

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

export interface Metrics {
  events: Counter<'format'>;
  duplicates: Counter<'format'>;
  unreadable: Counter<'stream' | 'reason'>;
  refused: Counter<string>;
  busErrors: Counter<'part'>;
  published: Histogram;
}

export function makeMetrics(registry: Registry, read: () => Readings): Metrics {
  const registers = [registry];
  const each = (name: string, help: string, value: (readings: ReaderReadings) => number) =>
    new Gauge({
      name: `bailiff_siem_relay_${name}`,
      help,
      labelNames: ['stream'],
      registers,
      collect() {
        for (const [stream, readings] of Object.entries(read().readers)) this.labels(stream).set(value(readings));
      },
    });
  const gauge = (name: string, help: string, value: (readings: Readings) => number) =>
    new Gauge({
      name: `bailiff_siem_relay_${name}`,
      help,
      registers,
      collect() {
        this.set(value(read()));
      },
    });
  each('pending_messages', 'Messages on the bus that are not read yet; of syslog: events', (r) => r.pending);
  each(
    'lag_seconds',
    'Age of the oldest message that is read and not passed on; 0 when there is none',
    (r) => r.lagSeconds,
  );
  each('messages_total', 'Messages read; of syslog: events sent', (r) => r.messages);
  each('lost_messages_total', 'Messages that their stream had let go before they were read', (r) => r.lost);
  gauge('streams_remade_total', 'Streams that were made anew and are read from their beginning', (r) => r.remade);
  gauge('syslog_confirmed_total', 'Events that the receiver has read for certain', (r) => r.syslog.confirmed);
  gauge('syslog_connections_total', 'Connections made to the receiver', (r) => r.syslog.connections);
  gauge(
    'syslog_failures_total',
    'Connections that failed or broke; what was not confirmed is sent again',
    (r) => r.syslog.failures,
  );
  const counter = <L extends string>(name: string, help: string, labelNames: L[]) =>
    new Counter({ name: `bailiff_siem_relay_${name}`, help, labelNames, registers });
  return {
    events: counter('events_total', 'Events stored on the bus', ['format']),
    duplicates: counter('duplicate_events_total', 'Events that the bus had already', ['format']),
    unreadable: counter('unreadable_total', 'Messages that could not be read and were passed over', [
      'stream',
      'reason',
    ]),
    refused: counter(
      'refused_events_total',
      'Events left out: they could not be rendered, or the bus found them too large',
      [],
    ),
    busErrors: counter('errors_total', 'Failures that were tried again', ['part']),
    published: new Histogram({
      name: 'bailiff_siem_relay_stored_to_published_seconds',
      help: 'From a message being stored to an event of it being stored',
      buckets: [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5, 30],
      registers,
    }),
  };
}
