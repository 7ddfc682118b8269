/**
 * Metrics of every process. prom-client's default set is not used, because its event-loop histogram
 * needs a native timer. Each value here is read when scraped.
 */
import { Gauge, type Registry } from 'prom-client';
import type { HealthReport } from './health.ts';
import type { Listener } from './http.ts';
import { MetricFamily } from './metrics.ts';

/** Listeners of a process, as in the label `listener`. */
export type ListenerName = 'metrics' | 'probes';

/** Ends of certificates by kind, such as `server certificate`. */
export type ReadCertificates = () => readonly { what: string; notAfterMs: number }[];

/** @param app as in `apps/<name>` */
export function addProcessMetrics(
  registry: Registry,
  app: string,
  version: string,
  read: {
    logLinesDropped(): number;
    ready(): Promise<HealthReport>;
    listeners(): Partial<Record<ListenerName, Listener>>;
    certificates: ReadCertificates;
    metricsRepeated(): number;
  },
): void {
  new Gauge({
    name: 'bailiff_build_info',
    help: 'Version of the build and of Node.js; always 1',
    labelNames: ['app', 'version', 'node_version'],
    registers: [registry],
  })
    .labels(app, version, process.versions.node)
    .set(1);
  const own = new MetricFamily(registry, 'bailiff_');
  own.total('log_lines_dropped_total', 'Log lines dropped because stdout was blocked', read.logLinesDropped);
  new Gauge({
    name: 'bailiff_ready',
    help: 'Checks of /readyz: 1 if it passes, otherwise 0',
    labelNames: ['check'],
    registers: [registry],
    async collect() {
      const { checks } = await read.ready();
      this.reset();
      for (const [check, answer] of Object.entries(checks)) this.set({ check }, Number(answer === 'ok'));
    },
  });
  new Gauge({
    name: 'bailiff_bus_certificate_not_after_seconds',
    help: 'When certificates of the bus, of Redis and of the console end, in seconds since 1970, by kind; none without TLS, and of apps that do not check it',
    labelNames: ['certificate'],
    registers: [registry],
    collect() {
      this.reset();
      for (const { what, notAfterMs } of read.certificates()) this.set({ certificate: what }, notAfterMs / 1000);
    },
  });
  const each = () => Object.entries(read.listeners());
  own.gaugeBy('http_connections', 'Open connections, by listener', 'listener', () =>
    Object.fromEntries(each().map(([name, listener]) => [name, listener.connections()])),
  );
  own.totals(
    'http_connections_closed_total',
    'Connections that a listener closed before its response was complete, by reason',
    ['listener', 'reason'],
    () =>
      each().flatMap(([name, listener]) =>
        Object.entries(listener.closed()).map(([reason, n]) => [[name, reason], n] as const),
      ),
  );
  own.total(
    'http_metrics_repeated_total',
    'Responses of /metrics that repeated the last values, because readers asked too often',
    read.metricsRepeated,
  );
  const ofProcess = new MetricFamily(registry, 'process_');
  ofProcess.gauge(
    'start_time_seconds',
    'Start of the process since the Unix epoch',
    () => Math.round(performance.timeOrigin) / 1000,
  );
  ofProcess.gauge('resident_memory_bytes', 'Resident memory', () => process.memoryUsage.rss());
  ofProcess.total('cpu_seconds_total', 'User and system CPU time spent', () => {
    const { user, system } = process.cpuUsage();
    return (user + system) / 1e6;
  });
  new MetricFamily(registry, 'nodejs_').gauge(
    'eventloop_utilization',
    'Share of the time since start in which the event loop was busy',
    () => performance.eventLoopUtilization().utilization,
  );
}
