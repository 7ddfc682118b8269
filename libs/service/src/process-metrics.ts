/**
 * What every process tells about itself. Written out instead of prom-client's default set, whose event-loop histogram costs a
 * native timer of its own: here each value is read when it is scraped.
 */
import { Gauge, type Registry } from 'prom-client';

export function addProcessMetrics(
  registry: Registry,
  name: string,
  version: string,
  logLinesDropped: () => number,
): void {
  const registers = [registry];
  new Gauge({
    name: 'bailiff_build_info',
    help: 'Which build this is; always 1',
    labelNames: ['app', 'version'],
    registers,
  })
    .labels(name, version)
    .set(1);
  new Gauge({
    name: 'process_start_time_seconds',
    help: 'Start of the process, seconds since the epoch',
    registers,
  }).set(Math.round(performance.timeOrigin) / 1000);
  new Gauge({
    name: 'process_resident_memory_bytes',
    help: 'Resident memory',
    registers,
    collect() {
      this.set(process.memoryUsage.rss());
    },
  });
  new Gauge({
    name: 'process_cpu_seconds_total',
    help: 'User and system CPU time spent',
    registers,
    collect() {
      const { user, system } = process.cpuUsage();
      this.set((user + system) / 1e6);
    },
  });
  new Gauge({
    name: 'nodejs_eventloop_utilization',
    help: 'Share of the time since start in which the event loop was busy',
    registers,
    collect() {
      this.set(performance.eventLoopUtilization().utilization);
    },
  });
  new Gauge({
    name: 'bailiff_log_lines_dropped_total',
    help: 'Log lines dropped because stdout did not take them',
    registers,
    collect() {
      this.set(logLinesDropped());
    },
  });
}
