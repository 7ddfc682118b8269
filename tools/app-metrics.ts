/**
 * What every app tells Prometheus, listed without starting one: the reference of metrics is made of it, and alert rules and the dashboard
 * are held to it. An app's src/metrics.ts exports `makeMetrics(registry, read)` and `NO_READINGS`.
 */
import { existsSync, readdirSync } from 'node:fs';
import path from 'node:path';
import { addProcessMetrics, listMetrics, type MetricDeclaration } from '@bailiff/service';
import { Registry } from 'prom-client';

const APPS = path.resolve(import.meta.dirname, '../apps');

/** Told by every app: which build, its process, its log. */
export function processMetrics(): MetricDeclaration[] {
  const registry = new Registry();
  addProcessMetrics(registry, '', '', { logLinesDropped: () => 0, ready: async () => ({ ok: true, checks: {} }) });
  return listMetrics(registry);
}

/** By app, in the order of their names; each app's own. */
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
