// The pods that k8s/monitoring selects in the manifests, and the configuration in docs/alerts.md as
// promtool reads it.

import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { temporaryDirectory } from '@bailiff/service/testing';
import { describe, expect, it } from 'vitest';
import { parse, stringify } from 'yaml';
import { helmProgram, NO_HELM, template } from '../../tools/helm.ts';
import {
  documentsOf,
  type Json,
  METRICS_PORT,
  named,
  OVERLAYS,
  objectsOf,
  type Workload,
  workloadsOf,
} from './rendered.ts';

const ROOT = path.resolve(import.meta.dirname, '../..');
const MONITORING = path.join(ROOT, 'k8s/monitoring');
const monitor = parse(readFileSync(path.join(MONITORING, 'pod-monitor.yaml'), 'utf8')) as Json;
const { scrape_configs } = parse(readFileSync(path.join(MONITORING, 'scrape.yaml'), 'utf8')) as Json;
const [scrape] = scrape_configs as Json[];
const page = readFileSync(path.join(ROOT, 'docs/alerts.md'), 'utf8');
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

const program = helmProgram();
describe('values of the chart for the Prometheus operator and Grafana', () => {
  if (program === null) {
    it('helm', (context) => context.skip(NO_HELM));
    return;
  }
  const objectsWith = (...set: string[]) =>
    new Map(
      documentsOf(template(program, { set })).map((object) => [`${object.kind} ${object.metadata.name}`, object]),
    );
  const rules = ['monitoring.prometheusRule.enabled=true', 'monitoring.prometheusRule.labels.release=prom'];

  it('PrometheusRule - has the alerts of this folder, and a link to each runbook if there is an address', () => {
    const shipped = parse(readFileSync(path.join(MONITORING, 'prometheus-rule.yaml'), 'utf8')) as Json;
    const ruleWith = (...set: string[]) => objectsWith(...rules, ...set).get('PrometheusRule bailiff');
    const plain = ruleWith();
    expect(plain.spec).toEqual(shipped.spec);
    expect(plain.metadata.labels.release).toBe('prom');
    const linked = ruleWith('monitoring.runbookBaseUrl=https://git.example/b/blob/main/');
    const annotations = linked.spec.groups.flatMap((group: Json) => group.rules).map((rule: Json) => rule.annotations);
    expect(annotations.length).toBeGreaterThan(50);
    const anchors = new Set([...page.matchAll(/^#+ (Bailiff\w+)$/gm)].map(([, name = '']) => name.toLowerCase()));
    for (const { runbook, runbook_url } of annotations) {
      expect(runbook_url).toBe(`https://git.example/b/blob/main/${runbook}`);
      expect(anchors).toContain(runbook_url.split('docs/alerts.md#')[1]);
    }
  }, 120_000);

  it('ServiceMonitor and PodMonitor - select the same pods, with the labels and the interval of the values', () => {
    const byService = objectsWith(
      ...['prometheus.serviceMonitor.enabled=true', 'prometheus.serviceMonitor.interval=15s'],
      'prometheus.serviceMonitor.labels.release=prom',
    );
    const { spec, metadata } = byService.get('ServiceMonitor bailiff');
    const service = byService.get('Service bailiff-metrics');
    expect(metadata.labels.release).toBe('prom');
    expect(service.metadata.labels).toMatchObject(spec.selector.matchLabels);
    const selected = [...byService.values()].filter(
      (object) =>
        object.kind === 'Service' &&
        Object.entries(spec.selector.matchLabels).every(([name, value]) => object.metadata.labels[name] === value),
    );
    expect(selected).toEqual([service]);
    expect(spec.endpoints).toEqual([expect.objectContaining({ port: service.spec.ports[0].name, interval: '15s' })]);
    const byPod = objectsWith(
      ...['prometheus.podMonitor.enabled=true', 'prometheus.podMonitor.interval=15s'],
      'prometheus.podMonitor.labels.release=prom',
    ).get('PodMonitor bailiff');
    expect(byPod.metadata.labels.release).toBe('prom');
    const [endpoint] = byPod.spec.podMetricsEndpoints;
    expect([endpoint.interval, endpoint.port]).toEqual(['15s', service.spec.ports[0].targetPort]);
    expect(byPod.spec.selector.matchLabels).toEqual(service.spec.selector);
    expect(endpoint.relabelings).toEqual(spec.endpoints[0].relabelings);
  }, 120_000);

  it('dashboard - a ConfigMap with the label of the sidecar', () => {
    const { data, metadata } = objectsWith('monitoring.dashboard.enabled=true').get('ConfigMap bailiff-dashboard');
    expect(metadata.labels.grafana_dashboard).toBe('1');
    const shipped = JSON.parse(readFileSync(path.join(MONITORING, 'dashboard.json'), 'utf8')) as unknown;
    expect(JSON.parse(data['bailiff.json'])).toEqual(shipped);
  }, 120_000);
});

describe('promtool', () => {
  const text = /<!-- test: prometheus\.yml -->\n```yaml\n(.*?)```/s.exec(page)?.[1] ?? '';
  const check = (config: Json) => {
    const directory = temporaryDirectory();
    const file = path.join(directory, 'prometheus.yml');
    writeFileSync(file, stringify(config));
    return execFileSync('promtool', ['check', 'config', file], {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'pipe'],
    });
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
