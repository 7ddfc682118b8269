// Names of outputs to Alertmanagers differ as their servers do.
import { expect, it } from 'vitest';
import { alertmanagerName } from './name.ts';

it('a short host - is the name; a slash at the end changes nothing', () => {
  expect(alertmanagerName('http://alertmanager.monitoring:9093')).toBe('alertmanager-alertmanager-monitoring-9093');
  expect(alertmanagerName('http://alertmanager.monitoring:9093/')).toBe('alertmanager-alertmanager-monitoring-9093');
});

const replica = (n: number) =>
  `http://alertmanager-my-kube-prometheus-stack-alertmanager-${n}.alertmanager-operated:9093`;
it.each([
  ['replicas with long names', replica(0), replica(1)],
  ['tenants of one server', 'http://mimir:9009/alertmanager/a', 'http://mimir:9009/alertmanager/b'],
])('%s - have different names, which fit a metric and a subject', (_, a, b) => {
  const names = [a, b].map(alertmanagerName);
  expect(new Set(names).size).toBe(2);
  for (const name of names) expect(name).toMatch(/^alertmanager-[a-z0-9-]{1,50}$/);
  // The control: their first 63 characters are the same.
  const plain = [a, b].map((url) => `alertmanager-${new URL(url).host.replaceAll(/[^a-z0-9-]+/g, '-')}`.slice(0, 63));
  expect(new Set(plain).size).toBe(1);
});
