/**
 * Order of imports inside apps and libraries: the table of layers, and the search for cycles.
 *
 * A layer is a folder below `src`, or a single file of `src` by its name; `.` holds the other files
 * of `src`. A file imports from its own layer and from layers listed after it. Layers in a list of
 * their own are beside each other, and neither imports the other. A cycle is a set of files that
 * reach each other by imports, type imports included.
 */

type Layers = readonly (string | readonly string[])[];

/** Layers by `src` folder, from the top down. A folder that is not listed has no order yet. */
export const LAYERS: Readonly<Record<string, Layers>> = {
  'apps/cli/src': ['.', 'console', ['watch', 'investigate', 'configure', 'policies', 'operate'], 'shared'],
  'apps/cli/src/watch': [['events.ts', 'responses.ts', 'status.ts', 'top.ts', 'verdicts.ts']],
  'apps/cli/src/investigate': [['evidence', 'explain.ts', 'replay', 'timeline.ts', 'why.ts', 'witness']],
  'apps/cli/src/configure': [['backtest.ts', 'config', 'rules']],
  'apps/cli/src/policies': ['.', ['learn', 'simulate'], 'explain'],
  'apps/cli/src/operate': [
    [
      'backup',
      'bus',
      'completion.ts',
      'credentials',
      'disarm.ts',
      'doctor',
      'lab.ts',
      'logs.ts',
      'quarantine.ts',
      'responder.ts',
      'schemas.ts',
      'support-bundle',
      'version.ts',
    ],
  ],
  'apps/cli/src/shared': [
    'backtest',
    'evidence',
    'config-tree',
    'policy',
    'would-drop.ts',
    'uncounted.ts',
    'event-listing.ts',
    'listing.ts',
    'cases.ts',
    'config',
    'publish-response.ts',
    'quarantined.ts',
    'read-pod.ts',
    'one-of.ts',
    'unsent.ts',
    'rows',
    'session.ts',
    'bus',
    'output.ts',
    'files.ts',
    'confirm.ts',
    'progress.ts',
    'poll.ts',
    'checkout.ts',
    'arguments.ts',
    'key-file.ts',
    'errors.ts',
    'config-keys',
    'text',
    'io.ts',
    'tar.ts',
  ],
  'apps/collector/src': [
    'main.ts',
    'collector.ts',
    'status',
    'cni',
    'offline',
    'capture',
    ['packets', 'operations'],
    'engine.ts',
    'desired',
    'publishing',
    'identity',
    'process',
    'metrics.ts',
    'config.ts',
  ],
  'apps/collector/src/packets': ['.', 'kernel', 'publishing', 'subjects', 'counting'],
  'apps/collector/src/operations': ['.', 'kernel', 'publishing', 'subjects', 'counting'],
  'apps/console/src': [
    'index.ts',
    'server',
    'live',
    'json.ts',
    'data.ts',
    'access',
    'config.ts',
    'metrics.ts',
    'browser',
    'wire.ts',
    'trial-wire.ts',
    'table-wire.ts',
  ],
  'apps/correlator/src': [
    'main.ts',
    'correlator.ts',
    'config.ts',
    'violation-reader.ts',
    'rule-log.ts',
    'idle-watermark.ts',
    'frame-consumer.ts',
    'missing-verdicts.ts',
    'skipped-messages.ts',
    'dead-letters.ts',
    'pods-log.ts',
    'verdict-publisher.ts',
    'metrics.ts',
  ],
  'apps/ipam-sync/src': [
    'main.ts',
    'start.ts',
    'ipam-sync.ts',
    'status-reporter.ts',
    'controllers.ts',
    'readings.ts',
    'metrics.ts',
    'mirror',
    'taint',
    'snapshots',
    'settings',
    'services',
    'pods',
    'config.ts',
  ],
  'apps/responder/src': [
    'main.ts',
    'responder.ts',
    'outside.ts',
    'bus-time.ts',
    'config.ts',
    'rights.ts',
    'streams',
    'tasks',
    'scheduling',
    'planning',
    'actions',
    'metrics.ts',
    'ports.ts',
  ],
  'libs/bpf/src': ['.', 'spoof', 'runtime', 'core'],
  'libs/bus/src': ['.', 'auth', 'setup', 'backup', 'status', 'config', 'kv', 'streams', 'connection', 'topology'],
  'libs/correlation/src': ['.', 'sigma', 'replay', 'engine', 'counting', 'attribution', 'shares', 'windows'],
  'libs/evidence/src': ['index.ts', 'testing', 'testing.ts', 'keep', 'verify', 'format', 'log', 'error.ts'],
  'libs/insight/src': ['index.ts', 'read', 'rows', 'reader.ts', 'decoder.ts', 'pod-selector.ts', 'text.ts'],
  'libs/policy/src': ['.', 'crd', 'signing', 'configuration', 'documents'],
  'libs/response/src': ['.', 'problems', 'status', 'records', 'guards', 'planning', 'effects'],
  'libs/runtime/src': ['.', 'model', 'compile', 'policies', 'sets'],
  'libs/schemas/src': ['generate', '.', 'fast', 'documents', 'codec', 'generated'],
  'test/lab/src': [
    'index.ts',
    'node.ts',
    'demo',
    'main.ts',
    'command',
    'attack',
    'supervisor',
    'services',
    'apiserver',
    'kubelet',
    'cni',
    'state',
    'net',
    'plan.ts',
    'cgroup.ts',
    'native-tool.ts',
    'process',
    'names.ts',
    'until.ts',
    'frames.ts',
    'text.ts',
    'errors.ts',
  ],
  'test/lab/src/apiserver': [
    'index.ts',
    'main.ts',
    'server.ts',
    'http',
    'table',
    'controllers',
    'verbs',
    'access',
    'request',
    'store',
    'kinds',
    'times.ts',
    'errors.ts',
    'types.ts',
  ],
};

/** Imported files by file, both relative to the workspace. */
export type ImportGraph = ReadonlyMap<string, readonly string[]>;

/**
 * Sets of files that reach each other, each sorted, in the order of their first file. Tarjan's
 * algorithm.
 */
export function cyclesOf(graph: ImportGraph): string[][] {
  const index = new Map<string, number>();
  const low = new Map<string, number>();
  const stack: string[] = [];
  const cycles: string[][] = [];
  const lower = (file: string, value: number) => low.set(file, Math.min(low.get(file) ?? value, value));
  const visit = (file: string): void => {
    const number = index.size;
    index.set(file, number);
    low.set(file, number);
    stack.push(file);
    for (const target of graph.get(file) ?? []) {
      if (!index.has(target)) {
        visit(target);
        lower(file, low.get(target) ?? number);
      } else if (stack.includes(target)) lower(file, index.get(target) ?? number);
    }
    if (low.get(file) !== number) return;
    const set = stack.splice(stack.indexOf(file));
    if (set.length > 1) cycles.push(set.sort());
  };
  for (const file of graph.keys()) if (!index.has(file)) visit(file);
  return cycles.sort(([a = ''], [b = '']) => (a < b ? -1 : 1));
}

/** Imports into a layer above or beside, files in unlisted layers, and listed layers without files. */
export function importsAgainst(graph: ImportGraph, folder: string, layers: Layers): string[] {
  const names = layers.flat();
  const layerOf = (file: string): string | null => {
    if (!file.startsWith(`${folder}/`)) return null;
    const [first = '', ...rest] = file.slice(folder.length + 1).split('/');
    return names.includes(first) || rest.length > 0 ? first : '.';
  };
  const files = [...graph.keys()].filter((file) => layerOf(file) !== null);
  const placeOf = (file: string) => layers.findIndex((layer) => [layer].flat().includes(layerOf(file) ?? 'elsewhere'));
  const upwards = files.flatMap((file) => {
    if (placeOf(file) < 0) return [`${file} is in no listed layer`];
    return (graph.get(file) ?? []).flatMap((target) => {
      const distance = placeOf(file) - placeOf(target);
      if (placeOf(target) < 0 || distance < 0 || layerOf(target) === layerOf(file)) return [];
      return [`${file} imports ${target}, which is ${distance > 0 ? 'above' : 'beside'} it`];
    });
  });
  const used = new Set(files.map(layerOf));
  return [...upwards, ...names.filter((layer) => !used.has(layer)).map((layer) => `${folder}/${layer} has no files`)];
}
