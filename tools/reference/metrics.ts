/** docs/reference/metrics.md: the declared metrics of each app. */
import { appMetrics, type MetricDeclaration, processMetrics } from '../app-metrics.ts';
import { code, codes, page, section, table } from './markdown.ts';
import { uncapped } from './source-text.ts';

const rows = (metrics: readonly MetricDeclaration[]): string =>
  table(
    ['metric', 'type', 'labels', 'what'],
    metrics.map(({ name, type, labels, help, buckets }) => [
      code(name),
      buckets.length === 0 ? type : `histogram to ${buckets.at(-1)}`,
      codes(labels),
      uncapped(help),
    ]),
  );

export async function metricsPage(): Promise<string> {
  const apps = await appMetrics();
  return page(
    'Metrics',
    'Served at `/metrics` of `metricsAddress`. Values ending in `_total` only grow while the process runs. Label values come from the code or the configuration only.',
    [section('Every app', rows(processMetrics())), ...[...apps].map(([app, metrics]) => section(app, rows(metrics)))],
  );
}
