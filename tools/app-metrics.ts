/**
 * Lists the metrics of every app without starting one, for the generated reference and for tests of
 * alert rules and dashboard. An app's src/metrics.ts exports `makeMetrics(registry, read)` and
 * `NO_READINGS`.
 */
import { existsSync, readdirSync } from 'node:fs';
import path from 'node:path';
import { addProcessMetrics, listMetrics, type MetricDeclaration } from '@bailiff/service';
import { Registry } from 'prom-client';

const APPS = path.resolve(import.meta.dirname, '../apps');

/** Metrics of every app: build, process and log. */
export function processMetrics(): MetricDeclaration[] {
  const registry = new Registry();
  addProcessMetrics(registry, '', '', {
    logLinesDropped: () => 0,
    ready: async () => ({ ok: true, checks: {} }),
    listeners: () => ({}),
    certificates: () => [],
    metricsRepeated: () => 0,
  });
  return listMetrics(registry);
}

/** Each app's own metrics, sorted by app. */
export async function appMetrics(): Promise<ReadonlyMap<string, readonly MetricDeclaration[]>> {
  const apps = readdirSync(APPS)
    .filter((app) => existsSync(path.join(APPS, app, 'src/metrics.ts')))
    .sort();
  return new Map(await Promise.all(apps.map(async (app) => [app, await declaredBy(app)] as const)));
}

async function declaredBy(app: string): Promise<MetricDeclaration[]> {
  const file = path.join(APPS, app, 'src/metrics.ts');
  const { makeMetrics, NO_READINGS } = (await import(file)) as Record<string, unknown>;
  if (typeof makeMetrics !== 'function' || NO_READINGS === undefined)
    throw new Error(`${file} must export makeMetrics(registry, read) and NO_READINGS, as those of the other apps do`);
  const registry = new Registry();
  makeMetrics(registry, () => NO_READINGS);
  return listMetrics(registry);
}
