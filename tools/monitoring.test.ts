// Alert rules and dashboard compared with the declared metrics: every metric, label and runbook
// exists. test/cluster/metrics.test.ts checks results in a running lab, and promtool.
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { appMetrics, processMetrics } from './app-metrics.ts';
import { PROMETHEUS_RULE_FILE, prometheusRule } from './prometheus-rule.ts';
import { askedBy, groupedBy, readAlertTests, readPanels, readRules } from './promql.ts';

const apps = await appMetrics();
const declared = new Map([...apps.values(), processMetrics()].flat().map((metric) => [metric.name, metric]));
/** Labels that Prometheus and the scrape configurations add to every series, and labels of histograms. */
const OF_PROMETHEUS = ['job', 'instance', 'node', 'le'];
/** Series that other programs serve. */
const KUBELET = ['kubelet_volume_stats_available_bytes', 'kubelet_volume_stats_capacity_bytes'];
const CLAIM = ['namespace', 'persistentvolumeclaim'];
for (const name of KUBELET) declared.set(name, { name, type: 'gauge', help: '', labels: CLAIM, buckets: [] });
declared.set('up', { name: 'up', type: 'gauge', help: '', labels: [], buckets: [] });

const rules = readRules();
const panels = readPanels();
const queries = [
  ...rules.map(({ alert, expr }) => [alert, expr] as const),
  ...panels.flatMap(({ title, targets = [] }) => targets.map(({ expr }) => [title, expr] as const)),
];

describe('queries', () => {
  it.each(queries)('%s - metrics and labels exist', (_name, expr) => {
    const asked = askedBy(expr);
    expect(asked.length).toBeGreaterThan(0);
    for (const { metric, labels } of asked) {
      const known = declared.get(metric);
      expect(known, metric).toBeDefined();
      for (const label of labels) expect([...OF_PROMETHEUS, ...(known?.labels ?? [])], metric).toContain(label);
    }
    const made = [...expr.matchAll(/label_replace\([^"]*"(\w+)"/g)].map(([, label]) => label);
    const anywhere = new Set([
      ...OF_PROMETHEUS,
      ...made,
      ...asked.flatMap(({ metric }) => declared.get(metric)?.labels ?? []),
    ]);
    for (const label of groupedBy(expr)) expect([...anywhere]).toContain(label);
  });

  it.each(queries)('%s - rates are of counters and histograms only', (_name, expr) => {
    for (const [, metric = ''] of expr.matchAll(/\b(?:rate|increase)\((\w+)/g)) {
      const name = metric.replace(/_bucket$/, '');
      expect(declared.get(name)?.type, name).toBe(name === metric ? 'counter' : 'histogram');
    }
  });
});

describe('alerts', () => {
  const text = readFileSync(path.resolve(import.meta.dirname, '../docs/alerts.md'), 'utf8');
  const sections = new Map(
    text
      .split('\n### ')
      .slice(1)
      .map((section) => [section.split('\n', 1)[0] as string, section]),
  );

  it('runbook - every alert has a section that says what it means, what to check, what to do; and no other has', () => {
    expect([...sections.keys()].sort()).toEqual(rules.map(({ alert }) => alert).sort());
  });

  it.each(rules.map((rule) => [rule.alert, rule] as const))('%s - severity, words and runbook', (alert, rule) => {
    expect(['critical', 'warning']).toContain(rule.labels.severity);
    expect(rule.annotations.summary).toMatch(/^\S.{10,100}$/);
    expect(rule.annotations.description).toMatch(/\S/);
    expect(rule.annotations.runbook).toBe(`docs/alerts.md#${alert.toLowerCase()}`);
    const wait = rule.for === undefined ? '' : `, after ${rule.for}`;
    expect(sections.get(alert)).toContain(`*${rule.labels.severity}${wait}*`);
    for (const part of ['Means', 'Check', 'Do'])
      expect(sections.get(alert)).toMatch(new RegExp(`- \\*\\*${part}:\\*\\* .{20}`));
  });

  it('on call - ten critical alerts, each with what it means and one command to look, to act and to be sure', () => {
    const page = readFileSync(path.resolve(import.meta.dirname, '../docs/on-call.md'), 'utf8');
    const parts = page.split('\n## ').filter((part) => part.startsWith('Bailiff'));
    const critical = rules.filter(({ labels }) => labels.severity === 'critical').map(({ alert }) => alert);
    expect(parts.length).toBe(10);
    for (const part of parts) {
      expect(critical).toContain(part.split('\n', 1)[0]);
      expect(part).toMatch(/^- \*\*Means:\*\* .{20}/m);
      for (const name of ['Look', 'Act', 'Be sure']) {
        const [, text = ''] = new RegExp(`^- \\*\\*${name}:\\*\\* (.+)$`, 'm').exec(part) ?? [];
        expect(text.match(/`(bailiff|kubectl) [^`]+`/g) ?? [], `${name} of ${part}`).toHaveLength(1);
      }
    }
    expect(critical.filter((alert) => !page.includes(alert))).toEqual([]);
  });

  const ALL_QUIET = 'ALERTS{alertstate="firing"}';
  const scenarios = readAlertTests().map(({ input_series, promql_expr_test = [], alert_rule_test = [] }) => ({
    metrics: new Set(input_series.flatMap(({ series }) => askedBy(series)).map(({ metric }) => metric)),
    /** At one time no alert fires. */
    quiet: promql_expr_test.some(({ expr, exp_samples = [] }) => expr === ALL_QUIET && exp_samples.length === 0),
    fires: [
      ...promql_expr_test.flatMap(({ expr, exp_samples = [] }) =>
        expr.includes('ALERTS{alertstate="firing"')
          ? exp_samples.map(({ labels }) => /alertname="(\w+)"/.exec(labels)?.[1])
          : [],
      ),
      ...alert_rule_test.flatMap(({ alertname, exp_alerts = [] }) => (exp_alerts.length > 0 ? [alertname] : [])),
    ],
  }));

  it.each(rules.map(({ alert, expr }) => [alert, expr]))(
    '%s - alerts.test.yaml has it firing, and not firing with all of its metrics there',
    (alert, expr) => {
      expect(scenarios.filter(({ fires }) => fires.includes(alert)).length, 'firing').toBeGreaterThan(0);
      const asked = askedBy(expr).map(({ metric }) => metric);
      const quiet = scenarios.filter((one) => one.quiet && asked.every((metric) => one.metrics.has(metric)));
      expect(quiet.length, `not firing, with ${asked.join(', ')}`).toBeGreaterThan(0);
    },
  );

  it('prometheus-rule.yaml - made of alerts.yaml', () => {
    expect(readFileSync(PROMETHEUS_RULE_FILE, 'utf8')).toBe(prometheusRule());
  });
});

describe('dashboard', () => {
  it.each(panels.map((panel) => [panel.title, panel] as const))('%s - unit, words and legends', (_title, panel) => {
    expect(panel.fieldConfig?.defaults.unit).toMatch(/^(short|s|ops|reqps|bytes|percentunit)$/);
    expect(panel.description).toMatch(/\.$/);
    for (const { legendFormat, expr } of panel.targets ?? []) {
      for (const [, label = ''] of legendFormat.matchAll(/\{\{(\w+)\}\}/g))
        expect(groupedBy(expr), legendFormat).toContain(label);
    }
  });
});
