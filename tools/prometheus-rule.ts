// Converts k8s/monitoring/alerts.yaml for the Prometheus operator. Usage: tsx
// tools/prometheus-rule.ts
import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { ALERTS_FILE } from './promql.ts';

export const PROMETHEUS_RULE_FILE = path.join(path.dirname(ALERTS_FILE), 'prometheus-rule.yaml');

export function prometheusRule(): string {
  const groups = readFileSync(ALERTS_FILE, 'utf8')
    .split('\n')
    .filter((line) => !line.startsWith('#'));
  const head = [
    '# Made of alerts.yaml by tools/prometheus-rule.ts: change that file.',
    'apiVersion: monitoring.coreos.com/v1',
    'kind: PrometheusRule',
    'metadata:',
    '  name: bailiff',
    '  namespace: bailiff-system',
    'spec:',
  ];
  return [...head, ...groups.map((line) => (line === '' ? '' : `  ${line}`))].join('\n');
}

if (process.argv[1] === import.meta.filename) writeFileSync(PROMETHEUS_RULE_FILE, prometheusRule());
