/**
 * Extracts the metrics and labels that alert rules and a dashboard query, with as much of PromQL's
 * grammar as that needs.
 */
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { parse } from 'yaml';

const MONITORING = path.resolve(import.meta.dirname, '../k8s/monitoring');

export interface Rule {
  alert: string;
  expr: string;
  for?: string;
  labels: { severity: string };
  annotations: { summary: string; description: string; runbook: string };
}

export interface Panel {
  title: string;
  type: string;
  description?: string;
  targets?: { expr: string; legendFormat: string }[];
  fieldConfig?: { defaults: { unit?: string } };
}

export const ALERTS_FILE = path.join(MONITORING, 'alerts.yaml');
export const ALERTS_TEST_FILE = path.join(MONITORING, 'alerts.test.yaml');

export function readRules(): Rule[] {
  const { groups } = parse(readFileSync(ALERTS_FILE, 'utf8')) as { groups: { rules: Rule[] }[] };
  return groups.flatMap(({ rules }) => rules);
}

export interface AlertTest {
  input_series: { series: string }[];
  promql_expr_test?: { expr: string; exp_samples?: { labels: string; value: number }[] }[];
  alert_rule_test?: { alertname: string; exp_alerts?: unknown[] }[];
}

/** Scenarios of `promtool test rules`. */
export function readAlertTests(): AlertTest[] {
  return (parse(readFileSync(ALERTS_TEST_FILE, 'utf8')) as { tests: AlertTest[] }).tests;
}

/** Without row panels, which have no queries. */
export function readPanels(): Panel[] {
  const { panels } = JSON.parse(readFileSync(path.join(MONITORING, 'dashboard.json'), 'utf8')) as { panels: Panel[] };
  return panels.filter(({ type }) => type !== 'row');
}

/** As sent by Grafana, for a lab that has run for seconds. */
export const resolved = (expr: string): string =>
  expr.replaceAll('$__rate_interval', '1m').replaceAll('$instance', '.*');

const METRIC = /\b((?:bailiff|process|nodejs|kubelet)_\w+|up)\b(?:\{([^}]*)\})?/g;
const GROUPING = /\b(?:by|without|on|ignoring|group_left|group_right) ?\(([^)]*)\)/g;

export interface Asked {
  /** As declared: a histogram without `_bucket`. */
  metric: string;
  /** Labels in its selector. */
  labels: string[];
}

export function askedBy(expr: string): Asked[] {
  return [...expr.matchAll(METRIC)].map(([, name = '', selector = '']) => ({
    metric: name.replace(/_(bucket|sum|count)$/, ''),
    labels: [...selector.matchAll(/(\w+) ?(?:=~|!~|!=|=)/g)].map(([, label = '']) => label),
  }));
}

/** Labels for grouping or joining results. */
export const groupedBy = (expr: string): string[] =>
  [...expr.matchAll(GROUPING)].flatMap(([, list = '']) => list.split(/, ?/)).filter(Boolean);
