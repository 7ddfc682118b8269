/**
 * Lists the metrics of every app without starting one, for the generated reference and for tests of
 * alert rules and dashboard. An app's src/metrics.ts exports `makeMetrics(registry, read)` and
 * `NO_READINGS`.
 */
import { existsSync, readdirSync } from 'node:fs';
import path from 'node:path';
import { addProcessMetrics } from '@bailiff/service';
import { Registry } from 'prom-client';

const APPS = path.resolve(import.meta.dirname, '../apps');

/** Declaration of one metric. */
export interface MetricDeclaration {
  name: string;
  type: 'counter' | 'gauge' | 'histogram';
  help: string;
  labels: readonly string[];
  /** Upper bounds of a histogram; otherwise empty. */
  buckets: readonly number[];
}

/** Metrics of a registry by name, without reading values. */
function listMetrics(registry: Registry): MetricDeclaration[] {
  type Declared = { name: string; type: MetricDeclaration['type']; help: string };
  const declared = registry.getMetricsAsArray() as unknown as (Declared & {
    labelNames: string[];
    upperBounds?: number[];
  })[];
  return declared
    .map(({ name, type, help, labelNames, upperBounds }) => {
      return { name, type, help, labels: labelNames.filter((label) => label !== 'le'), buckets: upperBounds ?? [] };
    })
    .sort((a, b) => (a.name < b.name ? -1 : 1));
}

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
