// Prometheus' conventions for the metrics of every app: the checks of promtool, and forbidden
// labels.
import { expect, it } from 'vitest';
import { appMetrics, processMetrics } from './app-metrics.ts';

const APPS = await appMetrics();
/** Labels with thousands of values. */
const UNBOUNDED = /^(pod|uid|namespace|node|container|address|ip|mac|verdict|task|key|subject|message|error)/;
/** Units of histograms; others are no base units. */
const UNIT = /_(seconds|bytes)$/;

it('metrics - every app except the command has some', () => {
  expect([...APPS.keys()]).toEqual(
    expect.arrayContaining(['bus-auth', 'collector', 'correlator', 'ipam-sync', 'responder', 'siem-relay']),
  );
});

it.each([...APPS])('metrics of %s - names, types, help and labels by convention', (app, metrics) => {
  const prefix = `bailiff_${app.replaceAll('-', '_')}_`;
  expect(metrics.length).toBeGreaterThan(0);
  expect(metrics.filter(({ name }) => !name.startsWith(prefix))).toEqual([]);
  expect(metrics.filter(({ name, type }) => name.endsWith('_total') !== (type === 'counter'))).toEqual([]);
  expect(metrics.filter(({ name, type }) => type === 'histogram' && !UNIT.test(name))).toEqual([]);
  expect(metrics.filter(({ name }) => /_(ms|milliseconds|micros|percent|kib|mib)(_|$)/.test(name))).toEqual([]);
  expect(metrics.filter(({ help }) => !/^[A-Z0-9].*[^.]$/.test(help))).toEqual([]);
  expect(metrics.filter(({ labels }) => labels.some((label) => UNBOUNDED.test(label)))).toEqual([]);
});

it('metrics - those of the process are the same everywhere', () => {
  expect(processMetrics().map(({ name }) => name)).toEqual([
    'bailiff_build_info',
    'bailiff_bus_certificate_not_after_seconds',
    'bailiff_http_connections',
    'bailiff_http_connections_closed_total',
    'bailiff_http_metrics_repeated_total',
    'bailiff_log_lines_dropped_total',
    'bailiff_ready',
    'nodejs_eventloop_utilization',
    'process_cpu_seconds_total',
    'process_resident_memory_bytes',
    'process_start_time_seconds',
  ]);
});
