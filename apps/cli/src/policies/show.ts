/** `policy list` and `policy show`. */

import { clockTime, isoMicros } from '@bailiff/insight';
import { valueIn } from '../shared/config/change.ts';
import { readHistory } from '../shared/config/history.ts';
import { ownerJson, ownerNote, ownerText } from '../shared/config/owner.ts';
import { CliError } from '../shared/errors.ts';
import { parsePolicyName, shortName } from '../shared/policy/names.ts';
import { modeCell, readPolicies, type StoredPolicy, selectsText, storedPolicy } from '../shared/policy/stored.ts';
import { levelCell } from '../shared/rows/verdict-cells.ts';
import type { Session } from '../shared/session.ts';
import type { Cell, Column } from '../shared/text/table.ts';
import { documentText, objectOf, withoutDefaults } from '../shared/text/yaml.ts';

const COLUMNS: readonly Column[] = [
  { title: 'POLICY' },
  { title: 'MODE' },
  { title: 'SEVERITY' },
  { title: 'RULES', align: 'right' },
  { title: 'SELECTS', min: 12 },
  { title: 'REVISION', align: 'right' },
  { title: 'CHANGED (UTC)', spare: true },
  { title: 'OWNER', min: 12, cut: 'within', spare: true },
  { title: 'BY', min: 8, spare: true },
  { title: 'WHY', min: 10, spare: true },
];

function cellsOf({ policy, refused, stored, ...name }: StoredPolicy, nowMs: number): Cell[] {
  const changed = [clockTime(stored.timestampMicros, nowMs), ownerText(stored), stored.by];
  const revision = String(stored.revision);
  if (!policy) return [shortName(name), { text: 'REFUSED', style: 'red' }, '', '', refused, revision, ...changed, ''];
  const postures = Object.values(policy.defaultPosture).some((posture) => posture !== 'allow') ? '+' : '';
  const selects = selectsText(policy, name.namespace);
  const rules = `${policy.rules.length}${postures}`;
  return [
    shortName(name),
    modeCell(policy),
    levelCell(policy.severity),
    rules,
    selects,
    revision,
    ...changed,
    stored.why,
  ];
}

function listJson({ key, name, namespace, policy, refused, stored }: StoredPolicy) {
  const { revision, timestampMicros, by, why } = stored;
  const keptBy = ownerJson(stored);
  return { key, name, namespace, revision, changedAt: isoMicros(timestampMicros), by, why, keptBy, refused, policy };
}

export async function list(session: Session, namespace: string | undefined, json: boolean): Promise<void> {
  const { out } = session;
  const all = await readPolicies(session);
  const policies = namespace === undefined ? all : all.filter((one) => one.namespace === namespace);
  if (json) return out.json(policies.map(listJson));
  if (policies.length === 0)
    return out.note(
      `no runtime policy${namespace === undefined ? '' : ` of namespace ${namespace}`}: bailiff policy apply policies/`,
    );
  out.rows(COLUMNS, policies, cellsOf);
  const withPosture = policies.some(
    ({ policy }) => policy && Object.values(policy.defaultPosture).some((p) => p !== 'allow'),
  );
  if (withPosture) out.note('+ has a default posture that denies or audits');
  for (const { key, refused } of policies)
    if (refused !== '') out.note(`${key} is refused by readers of this version: ${refused}`);
}

/** @throws CliError CLI_NOT_FOUND */
export async function storedByName(
  session: Session,
  text: string,
  namespace: string | undefined,
): Promise<StoredPolicy> {
  const key = parsePolicyName(text, namespace);
  const all = await readPolicies(session);
  const found = all.find((one) => one.namespace === key.namespace && one.name === key.name);
  if (found) return found;
  const sameName = all.filter((one) => one.name === key.name).map(shortName);
  throw new CliError('CLI_NOT_FOUND', `no policy "${shortName(key)}" exists`, {
    remedy: sameName.length > 0 ? `did you mean ${sameName.join(', ')}?` : '`bailiff policy list` lists the policies',
  });
}

async function atRevision(session: Session, one: StoredPolicy, revision: number): Promise<StoredPolicy> {
  const key = parsePolicyName(one.key);
  const history = await readHistory(session, key);
  const found = history.findLast((past) => past.revision === revision && past.value !== undefined);
  const past =
    found &&
    storedPolicy({
      ...one.stored,
      json: found.text,
      revision,
      timestampMicros: found.storedAtMicros,
      by: found.by,
      why: found.why,
      owner: found.owner,
    });
  if (past) return past;
  throw new CliError('CLI_NOT_FOUND', `${one.key} has no revision ${revision}`, {
    remedy: `see \`bailiff policy history ${shortName(one)}\``,
  });
}

export interface ShowOptions {
  namespace?: string;
  revision: number | null;
  json: boolean;
}

/** Prints YAML that can be applied again, without default values. */
export async function show(session: Session, text: string, { namespace, revision, json }: ShowOptions): Promise<void> {
  const { out, io } = session;
  const newest = await storedByName(session, text, namespace);
  const one = revision === null ? newest : await atRevision(session, newest, revision);
  const { policy, stored, refused } = one;
  if (json) return out.json({ ...listJson(one), policy: policy ?? valueIn(stored) ?? stored.json });
  const by = stored.by === '' ? '' : ` by ${stored.by}`;
  const why = stored.why === '' ? '' : `: ${stored.why}`;
  out.note(
    `revision ${stored.revision}, ${clockTime(stored.timestampMicros, io.nowMs())}${by}${why}${ownerNote(stored)}`,
  );
  if (refused !== '') out.note(`refused by readers of this version: ${refused}`);
  const spec = policy ? withoutDefaults(policy) : (valueIn(stored) ?? stored.json);
  io.stdout.write(documentText(objectOf(one, spec)));
}
