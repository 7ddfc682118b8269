/**
 * `config effective`: reads the stored configuration and renders the effective one (effective.ts).
 */
import { CONFIG_BUCKET, openBucket, type StoredConfig, storedConfig } from '@bailiff/bus';
import {
  clockTime,
  configValue,
  isoMicros,
  type PlacedPod,
  type PodSelector,
  readBusTime,
  readConfigReaders,
  readNodes,
  readPods,
} from '@bailiff/insight';
import { ConfigError, type ConfigKey, parseConfigKey, parseConfigValue, requireReadKey } from '@bailiff/policy';
import { type ConfigValue, initialModeProblems, plural, podName, refusersOf } from '@bailiff/response';
import { workloadOf } from '@bailiff/schemas';
import { readHistory } from '../../shared/config/history.ts';
import { CliError } from '../../shared/errors.ts';
import { onePod } from '../../shared/one-of.ts';
import { notInForce } from '../../shared/policy/in-force.ts';
import type { Session } from '../../shared/session.ts';
import { wrap } from '../../shared/text/clean.ts';
import { type Cell, type Column, table } from '../../shared/text/table.ts';
import { type Effective, effectiveFor, type InForce, type Origin, type Setting, type Target } from './effective.ts';

/** A pod, or the pods of a namespace. */
export type Scope = { pod: PodSelector } | { pod: null; namespace: string };

function parseStored(key: ConfigKey, stored: StoredConfig, lastGood: boolean): InForce | null {
  try {
    const value = parseConfigValue(key, stored.json);
    return { key, value, written: JSON.parse(stored.json), stored, lastGood };
  } catch (error) {
    if (error instanceof ConfigError) return null;
    throw error;
  }
}

/** The reasons of libs/policy (signed-config.ts). */
const NEEDS_SIGNATURE = /\bsign(ed|ature)\b/;

/**
 * The newest earlier value that readers accepted: where they require signatures, a signed one, which is not
 * verified here. None if the key was deleted since.
 * @param refused why they refuse the newest value
 */
async function lastGood(
  session: Session,
  key: ConfigKey,
  newest: StoredConfig,
  refused: string,
): Promise<InForce | null> {
  const history = (await readHistory(session, key)).reverse();
  for (const one of history) {
    if (one.value === undefined) return null;
    const { revision, owner, by, why, storedAtMicros: timestampMicros, text: json, signature } = one;
    if (json === newest.json && signature === newest.signature) continue;
    if (signature === '' && NEEDS_SIGNATURE.test(refused)) continue;
    const found = parseStored(key, { ...newest, json, revision, owner, by, why, timestampMicros }, true);
    if (found) return found;
  }
  return null;
}

type Refused = Pick<ConfigValue, 'key' | 'refusedHere'>;

/** Values in force, and keys whose newest value readers refuse. @throws BusError */
export async function readInForce(session: Session): Promise<{ inForce: InForce[]; refused: Refused[] }> {
  const bucket = openBucket(session.bus, CONFIG_BUCKET);
  const [entries, readers] = await Promise.all([bucket.entries(), readConfigReaders(session)]);
  const inForce: InForce[] = [];
  const refused: Refused[] = [];
  for (const entry of entries) {
    const stored = storedConfig(entry);
    let key: ConfigKey;
    try {
      key = parseConfigKey(stored.key);
      requireReadKey(key);
    } catch (error) {
      if (!(error instanceof ConfigError)) throw error;
      refused.push({ key: stored.key });
      continue;
    }
    const { refused: reason, refusedHere } = configValue(entry, readers);
    if (reason !== '') refused.push({ key: stored.key, refusedHere });
    if (refusedHere) continue;
    const holds = reason === '' ? parseStored(key, stored, false) : await lastGood(session, key, stored, reason);
    if (holds) inForce.push(holds);
  }
  return { inForce, refused };
}

const targetOf = (pod: PlacedPod): Target => ({
  namespace: pod.namespace,
  workload: workloadOf(pod),
  node: pod.nodeName,
  labels: pod.labels,
  ownerKind: pod.owners[0]?.kind ?? null,
});

const COLUMNS: readonly Column[] = [
  { title: 'SETTING' },
  { title: 'VALUE', min: 10 },
  { title: 'FROM', min: 14, cut: 'within' },
  { title: 'REV', align: 'right' },
  { title: 'OWNER', min: 12, cut: 'within', spare: true },
  { title: 'BY', min: 8, spare: true },
  { title: 'CHANGED (UTC)', spare: true },
  { title: 'WHY', min: 10, spare: true },
];

const SECTIONS: readonly (readonly [keyof Effective, string, string])[] = [
  // First, because it overrides all others.
  ['disarm', 'Break-glass', ''],
  ['spoof', 'Packets', ''],
  ['runtime', 'Runtime policies', 'none in force'],
  ['correlation', 'Correlation rules', 'none applies'],
  ['response', 'Response policies', 'none applies'],
];

function valueText(value: unknown): string {
  if (Array.isArray(value)) return value.length === 0 ? 'none' : value.join(', ');
  return value === null ? 'no' : String(value);
}

function cellsOf({ setting, value, from, note }: Setting, nowMs: number): Cell[] {
  const text = note === '' ? valueText(value) : `${valueText(value)} (${note})`;
  if (from.source === 'default') return [setting, text, { text: 'built in', style: 'dim' }, '', '', '', '', ''];
  const key: Cell = from.lastGood ? { text: `${from.key} (last good)`, style: 'red' } : from.key;
  const shown: Cell = setting.startsWith('disarmed') ? { text, style: 'yellow' } : text;
  return [setting, shown, key, String(from.revision), from.keptBy, from.by, clockTime(from.atMicros, nowMs), from.why];
}

function render(session: Session, effective: Effective, obstacle: string | null): void {
  const { out, io } = session;
  // One table, so that the columns of all sections align.
  const rows = SECTIONS.flatMap(([name]) => effective[name].map((setting) => cellsOf(setting, io.nowMs())));
  const [heading = '', ...lines] = table(COLUMNS, rows, { ...out.table, indent: '  ' });
  out.line(heading);
  for (const [name, title, none] of SECTIONS) {
    const mine = lines.splice(0, effective[name].length);
    const isIdle = name === 'runtime' && mine.length > 0 && obstacle !== null;
    const notes = isIdle ? wrap(obstacle, out.table.width - 2).map((line) => out.paint(`  ${line}`, 'yellow')) : [];
    out.lines([out.paint(title, 'bold'), ...notes, ...(mine.length > 0 ? mine : [out.paint(`  ${none}`, 'dim')])]);
  }
}

const originJson = (from: Origin) => {
  if (from.source === 'default') return from;
  const { atMicros, ...rest } = from;
  return { ...rest, changedAt: isoMicros(atMicros) };
};

const sectionsJson = (effective: Effective) =>
  Object.fromEntries(
    SECTIONS.map(([name]) => [name, effective[name].map(({ from, ...rest }) => ({ ...rest, from: originJson(from) }))]),
  );

/** @throws CliError CLI_NOT_FOUND | CLI_USAGE; BusError */
export async function showEffective(session: Session, scope: Scope, json: boolean): Promise<void> {
  const { out } = session;
  const [pods, { inForce, refused }, nowMs] = await Promise.all([
    readPods(session),
    readInForce(session),
    readBusTime(session),
  ]);
  const pod = scope.pod ? onePod(pods, scope.pod) : null;
  const target: Target = pod
    ? targetOf(pod)
    : {
        namespace: (scope as { namespace: string }).namespace,
        workload: null,
        node: null,
        labels: null,
        ownerKind: null,
      };
  const effective = effectiveFor(target, inForce, nowMs);
  const status = pod ? (await readNodes(session)).get(pod.nodeName) : undefined;
  const obstacle = pod ? notInForce(pod.nodeName, status, nowMs) : null;
  const [audits] = pod && typeof status === 'object' ? initialModeProblems(pod.nodeName, status) : [];
  if (audits) out.note(`${audits.node} ${audits.text}`);
  if (json) {
    const { namespace, workload, node } = target;
    return out.json({
      namespace,
      pod: pod && { uid: pod.uid, name: pod.name, workload, nodeName: node },
      ...sectionsJson(effective),
      runtimeNotInForce: obstacle,
      refused: refused.map(({ key }) => key),
    });
  }
  const title = pod
    ? `${podName(pod)} on ${pod.nodeName}, ${target.workload === null ? 'no confirmed workload' : `workload ${target.workload}`}`
    : `namespace ${target.namespace}: pods of any workload and node`;
  out.line(out.paint(title, 'bold'));
  out.line();
  render(session, effective, obstacle);
  for (const by of new Set(refused.map(refusersOf))) {
    const keys = refused.flatMap((one) => (refusersOf(one) === by ? [one.key] : []));
    out.note(`${plural(keys.length, 'stored value is', 'stored values are')} refused by ${by}: ${keys.join(', ')}`);
  }
}

/** A pod, or a namespace without one. @throws CliError CLI_USAGE */
export function requireScope(pod: PodSelector | null, namespace: string | undefined): Scope {
  if (pod) return { pod };
  if (namespace !== undefined) return { pod: null, namespace };
  throw new CliError('CLI_USAGE', 'no pod is given', {
    remedy: 'pass namespace/name, a name or a uid; or --namespace for future pods of a namespace',
  });
}
