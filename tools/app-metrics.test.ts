// Prometheus' conventions, held for what every app declares: what promtool says of a scrape, and the labels that may not be.
import { expect, it } from 'vitest';
import { appMetrics, processMetrics } from './app-metrics.ts';

const APPS = await appMetrics();
/** Names of what there are thousands of. */
const UNBOUNDED = /^(pod|uid|namespace|node|container|address|ip|mac|verdict|task|key|subject|message|error)/;
/** What a histogram measures here; anything else is no base unit. */
const UNIT = /_(seconds|bytes)$/;

it('metrics - every app but the command tells some', () => {
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
    'bailiff_log_lines_dropped_total',
    'bailiff_ready',
    'nodejs_eventloop_utilization',
    'process_cpu_seconds_total',
    'process_resident_memory_bytes',
    'process_start_time_seconds',
  ]);
});
