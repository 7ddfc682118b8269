// The pods that k8s/monitoring selects in the manifests, and the configuration in docs/alerts.md as
// promtool reads it.
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { parse, stringify } from 'yaml';
import { type Json, METRICS_PORT, named, OVERLAYS, objectsOf, type Workload, workloadsOf } from './rendered.ts';

const ROOT = path.resolve(import.meta.dirname, '../..');
const MONITORING = path.join(ROOT, 'k8s/monitoring');
const monitor = parse(readFileSync(path.join(MONITORING, 'pod-monitor.yaml'), 'utf8')) as Json;
const { scrape_configs } = parse(readFileSync(path.join(MONITORING, 'scrape.yaml'), 'utf8')) as Json;
const [scrape] = scrape_configs as Json[];
const APPS = ['bus-auth', 'collector', 'correlator', 'ipam-sync', 'responder', 'siem-relay'];

const labelsOf = ({ object }: Workload): Record<string, string> => object.spec.template.metadata.labels;
const portsOf = ({ container }: Workload): Json[] => container.ports ?? [];

describe.each(OVERLAYS)('%s', (overlay) => {
  const workloads = workloadsOf(objectsOf(overlay));
  const components = (which: (workload: Workload) => boolean) =>
    workloads
      .filter(which)
      .map(({ component }) => component)
      .sort();

  it('PodMonitor - selects every app and nothing else, on its metrics port', () => {
    const { selector, podMetricsEndpoints } = monitor.spec;
    const [{ port }] = podMetricsEndpoints;
    const selected = (workload: Workload) =>
      Object.entries(selector.matchLabels).every(([name, value]) => labelsOf(workload)[name] === value) &&
      portsOf(workload).some(({ name, containerPort }) => name === port && containerPort === METRICS_PORT);
    expect(components(selected)).toEqual(APPS);
    expect(monitor.metadata.namespace).toBe(workloads[0]?.object.metadata.namespace);
  });

  it('scrape.yaml - keeps the same pods', () => {
    const [{ source_labels, regex, action }] = scrape.relabel_configs;
    expect([source_labels, action]).toEqual([
      ['__meta_kubernetes_pod_label_app_kubernetes_io_name', '__meta_kubernetes_pod_container_port_name'],
      'keep',
    ]);
    const kept = (workload: Workload) =>
      portsOf(workload).some(({ name }) =>
        new RegExp(`^(?:${regex})$`).test(`${labelsOf(workload)['app.kubernetes.io/name']};${name}`),
      );
    expect(components(kept)).toEqual(APPS);
    expect(scrape.kubernetes_sd_configs[0].namespaces.names).toEqual([monitor.metadata.namespace]);
  });
});

it('the network policies admit pods with the documented label', () => {
  const [{ from }] = named(objectsOf('included'), 'NetworkPolicy', 'bailiff-metrics').spec.ingress;
  const [[name, value]] = Object.entries(from[0].namespaceSelector.matchLabels) as [[string, string]];
  for (const file of ['k8s/monitoring/pod-monitor.yaml', 'k8s/monitoring/scrape.yaml', 'docs/alerts.md'])
    expect(readFileSync(path.join(ROOT, file), 'utf8')).toContain(`${name}=${value}`);
});

describe('promtool', () => {
  const page = readFileSync(path.join(ROOT, 'docs/alerts.md'), 'utf8');
  const text = /<!-- test: prometheus\.yml -->\n```yaml\n(.*?)```/s.exec(page)?.[1] ?? '';
  const check = (config: Json) => {
    const directory = mkdtempSync(path.join(tmpdir(), 'bailiff-promtool-'));
    try {
      const file = path.join(directory, 'prometheus.yml');
      writeFileSync(file, stringify(config));
      return execFileSync('promtool', ['check', 'config', file], {
        encoding: 'utf8',
        stdio: ['ignore', 'pipe', 'pipe'],
      });
    } finally {
      rmSync(directory, { recursive: true });
    }
  };
  const here = (place: string) => path.join(MONITORING, path.basename(place));

  it('accepts the configuration in docs/alerts.md, with the files that it names', () => {
    const { scrape_config_files, rule_files, ...rest } = parse(text) as Json;
    expect(rest).toEqual({});
    const config = { scrape_config_files: scrape_config_files.map(here), rule_files: rule_files.map(here) };
    expect(check(config)).toContain('SUCCESS');
    expect(check(config)).toMatch(/SUCCESS: \d+ rules found/);
  });

  it('accepts the scrape entry alone, and would reject an invalid one', () => {
    expect(check({ scrape_configs: [scrape] })).toContain('SUCCESS');
    expect(() => check({ scrape_configs: [{ ...scrape, relabel_configs: [{ action: 'kept' }] }] })).toThrow(/kept/);
  });

  it('accepts the relabelings of the PodMonitors, as the operator writes them', () => {
    const relabel_configs = monitor.spec.podMetricsEndpoints[0].relabelings.map(
      ({ sourceLabels: source_labels, targetLabel: target_label }: Json) => ({ source_labels, target_label }),
    );
    expect(check({ scrape_configs: [{ ...scrape, relabel_configs }] })).toContain('SUCCESS');
  });
});
