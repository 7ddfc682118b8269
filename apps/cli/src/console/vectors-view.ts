/** Vectors of packets that are not enforced, by scope, and the command that enforces them. Pure. */

import type { MaySee, TableView } from '@bailiff/console';
import {
  defaultMode,
  effectiveMode,
  parseConfigKey,
  parseConfigValue,
  SPOOF_CLUSTER_KEY,
  type SpoofCluster,
  TUNABLE_VECTORS,
} from '@bailiff/policy';
import { type ConfigValue, enforcementOf, scopeName, shortList, type Weakened } from '@bailiff/response';
import type { Cell } from '../shared/text/table.ts';
import { keyLink, rowOf, tableOf } from './tables.ts';

const MAX_ROWS = 100;
/** Vectors named in a cell, and set by one command. */
const MAX_VECTORS = 8;
const COLUMNS = [
  { title: 'SCOPE', min: 8 },
  { title: 'MODE' },
  { title: 'VECTORS', min: 12 },
  { title: 'EFFECT' },
  { title: 'ENFORCED IN', min: 12 },
  { title: 'TO ENFORCE THEM', min: 12 },
];
const EFFECTS = { audit: 'counted, and pass', off: 'pass uncounted' };
const STYLES = { audit: 'yellow', off: 'red' } as const;

/** Vectors that only watch unless they are configured otherwise. */
function builtInAudits(config: readonly ConfigValue[]): Weakened[] {
  const stored = config.find(({ key, refused }) => key === SPOOF_CLUSTER_KEY && refused === '');
  const cluster = stored && (parseConfigValue(parseConfigKey(stored.key), stored.json) as SpoofCluster);
  const vectors = TUNABLE_VECTORS.filter(
    (vector) => defaultMode(vector) === 'audit' && effectiveMode(vector, [cluster]) === 'audit',
  );
  if (vectors.length === 0) return [];
  return [{ key: SPOOF_CLUSTER_KEY, namespace: null, workload: null, mode: 'audit', vectors, restoredIn: [] }];
}

function commandOf({ key, vectors }: Weakened): string {
  const modes = vectors.map((vector) =>
    vector === 'unknown-interface' ? 'unknown=enforce' : `modes.${vector}=enforce`,
  );
  return vectors.length > MAX_VECTORS ? `bailiff config get ${key}` : `bailiff config set ${key} ${modes.join(' ')}`;
}

function rowOfScope(one: Weakened, scope: string, index: number) {
  const { key, mode, vectors, restoredIn } = one;
  const cells: Cell[] = [
    scope,
    { text: mode, style: STYLES[mode] },
    shortList(vectors, MAX_VECTORS),
    EFFECTS[mode],
    shortList(restoredIn, MAX_VECTORS),
    commandOf(one),
  ];
  return rowOf(COLUMNS, `${key} ${mode} ${index}`, cells, { SCOPE: keyLink(key) });
}

/** What an empty table says: others may have a policy that the visitor may not see. */
export const emptyText = (maySee: MaySee): string =>
  maySee(null)
    ? 'Every vector is enforced in every scope.'
    : 'No policy of a namespace that you may see weakens a vector. Policies of the whole cluster are not shown to you.';

export function vectorsTable(config: readonly ConfigValue[], maySee: MaySee): TableView {
  const { weakened } = enforcementOf(config);
  const own = [
    ...weakened.map((one) => [one, scopeName(one)] as const),
    ...builtInAudits(config).map((one) => [one, 'cluster, built in'] as const),
  ].filter(([{ namespace }]) => maySee(namespace));
  return tableOf(
    COLUMNS,
    own.map(([one, scope], index) => rowOfScope(one, scope, index)),
    MAX_ROWS,
  );
}
