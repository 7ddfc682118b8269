// The table of shares is complete where names can be listed, and names only what exists.
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { consumerConfigs, streamConfigs } from '@bailiff/bus';
import { expect, it } from 'vitest';
import { parseAllDocuments } from 'yaml';
import { appMetrics, processMetrics } from '../app-metrics.ts';
import { BUCKETS_OF, CONSUMERS, STREAMS } from './shares/bus.ts';
import { NOT_SHARED, SECTIONS } from './shares/index.ts';
import { LISTENERS } from './shares/listeners.ts';
import { MEMORY_OF } from './shares/machine.ts';
import { numberOf } from './shares/share.ts';
import { memoryLimits } from './shares.ts';
import { ROOT, readSource, sourceFiles } from './source-text.ts';

const ROWS = Object.values(SECTIONS).flat();
const ALL = [...ROWS, ...LISTENERS, ...Object.values({ ...STREAMS, ...BUCKETS_OF, ...CONSUMERS })];
const sorted = (names: Iterable<string>) => [...new Set(names)].sort();

it('streams, buckets and consumers - each has a row', () => {
  const names = streamConfigs().map(({ name }) => name.replace(/^KV_/, ''));
  expect(sorted([...Object.keys(STREAMS), ...Object.keys(BUCKETS_OF)])).toEqual(sorted(names));
  expect(sorted(Object.keys(CONSUMERS))).toEqual(sorted(consumerConfigs().map(({ config }) => config.durable_name)));
});

it('listeners - each port of a container has a row, and no code listens elsewhere', () => {
  const base = path.join(ROOT, 'k8s/base');
  interface Container {
    name: string;
    ports?: { containerPort: number }[];
  }
  const containersIn = (document: unknown): Container[] => {
    const { spec } = document as { spec?: { template?: { spec?: { containers?: Container[] } } } };
    return spec?.template?.spec?.containers ?? [];
  };
  const declared = readdirSync(base)
    .flatMap((file) => parseAllDocuments(readFileSync(path.join(base, file), 'utf8')))
    .flatMap((document) => containersIn(document.toJS() ?? {}))
    .flatMap(({ name, ports = [] }) => ports.map(({ containerPort }) => `${name}:${containerPort}`));
  // These are not part of the base.
  const ofServers = ['nats', 'redis'].flatMap((name) =>
    [...readSource(`k8s/chart/templates/${name}.yaml`).matchAll(/containerPort: (\d+)/g)].map(
      ([, port]) => `${name}:${port}`,
    ),
  );
  expect(sorted(LISTENERS.flatMap(({ ports }) => ports))).toEqual(sorted([...declared, ...ofServers]));
  const listening = sourceFiles().filter(
    (file) => !file.startsWith('apps/cli/') && /\bcreateServer\(/.test(readSource(file)),
  );
  expect(sorted(listening)).toEqual([
    'apps/collector/src/cni/socket-server.ts',
    'apps/console/src/server/server.ts',
    'libs/service/src/http.ts',
  ]);
});

it('memory - each limit of the chart has a row', () => {
  expect(sorted(Object.keys(MEMORY_OF))).toEqual(sorted(memoryLimits().keys()));
});

/** A collection that belongs to an object or a module. */
const COLLECTION =
  /^ {2}(?:private |protected |static )?(?:readonly )?#?\w+(?:: [^=\n]+)? =\s+(?:new (?:Map|Set|Array|RecentMap)\b|\[\];)|^(?:export )?(?:const|let) [a-z]\w*(?:: [^=\n]+)? = new (?:Map|Set|RecentMap)\b/m;

it('collections - each file with one that outlives a call has a row, or a reason why it is not shared', () => {
  const found = sourceFiles().filter((file) => !file.startsWith('apps/cli/') && COLLECTION.test(readSource(file)));
  expect(found.length).toBeGreaterThan(80);
  const known = new Set([...ROWS.map(({ file }) => file), ...Object.keys(NOT_SHARED)]);
  expect(found.filter((file) => !known.has(file))).toEqual([]);
  const rows = new Set(ROWS.map(({ file }) => file));
  expect(
    Object.keys(NOT_SHARED).filter((file) => !found.includes(file) || rows.has(file)),
    'reasons for nothing',
  ).toEqual([]);
});

it('rows - files, tests and metrics exist', async () => {
  const files = [...ROWS.map(({ file }) => file), ...ALL.flatMap(({ tests }) => tests)];
  const named = [...files, ...Object.values(MEMORY_OF).flatMap(({ tests }) => tests)];
  expect(named.filter((file) => !existsSync(path.join(ROOT, file)))).toEqual([]);
  const metrics = [...processMetrics(), ...[...(await appMetrics()).values()].flat()].map(({ name }) => name);
  const shown = ALL.flatMap(({ counter }) => [...counter.matchAll(/`(bailiff_\w+)`/g)].map(([, name = '']) => name));
  expect(shown.length).toBeGreaterThan(50);
  expect(shown.filter((name) => !metrics.includes(name))).toEqual([]);
});

it('values - of constants with arithmetic, of other files, and none that does not exist', () => {
  expect(numberOf('apps/collector/src/cni/socket-server.ts', 'MAX_PENDING_BYTES')).toBe(16 * 1024 ** 2);
  expect(numberOf('cni/src/cni.h', 'MAX_STDIN_BYTES')).toBe(1024 ** 2);
  expect(numberOf('libs/correlation/src/engine/verdict-cap.ts', 'VERDICT_SHARE')).toBe(0.25);
  expect(() => numberOf('libs/correlation/src/engine/verdict-cap.ts', 'MAX_NOTHING')).toThrow(
    'no constant MAX_NOTHING',
  );
});
