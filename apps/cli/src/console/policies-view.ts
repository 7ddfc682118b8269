/**
 * Runtime policies and audited vectors as a view of the console: what `bailiff policy status`, `bailiff
 * policy list` and `bailiff doctor --would-drop` print. Pure but for reading.
 */
import type { MaySee, PoliciesView, PolicyReasonView, PromotionView } from '@bailiff/console';
import { clockTime, type Reader, readConfigValues, restText, type TallyGroup } from '@bailiff/insight';
import {
  type ConfigValue,
  type PlaceState,
  type PolicyPlaces,
  plural,
  STALE_NODE_MS,
  shortList,
} from '@bailiff/response';
import { parsePolicyName, shortName } from '../shared/policy/names.ts';
import {
  placesExitCode,
  readPlaces,
  reasonsOf,
  type Snapshot,
  STATUS_COLUMNS,
  statusCells,
} from '../shared/policy/places.ts';
import { namedPolicies, type StoredPolicy, selectsText } from '../shared/policy/stored.ts';
import { denies } from '../shared/policy/would-deny.ts';
import { levelCell } from '../shared/rows/verdict-cells.ts';
import type { Column } from '../shared/text/table.ts';
import { uncountedReasons } from '../shared/uncounted.ts';
import { incompleteOf } from '../shared/unsent.ts';
import {
  AUDITED_COLUMNS,
  type AuditedRule,
  type Audits,
  adviceOf,
  auditedCells,
  droppedText,
  readAudits,
} from '../shared/would-drop.ts';
import { keyLink, podLink, rowOf, tableOf } from './tables.ts';
import { emptyText, vectorsTable } from './vectors-view.ts';

const MAX_POLICIES = 200;
const MAX_ROWS = 50;
const MAX_REASONS = 40;
const MAX_NODES = 4;
const MAX_PROMOTIONS = 20;
/** Rules named in one sentence. */
const MAX_RULES = 6;

const COLUMNS: readonly Column[] = [
  ...STATUS_COLUMNS,
  { title: 'SEVERITY' },
  { title: 'SELECTS', min: 12 },
  { title: 'CHANGED (UTC)', spare: true },
  { title: 'BY', min: 8, spare: true },
  { title: 'WHY', min: 12, spare: true },
];
const OPERATION_COLUMNS: readonly Column[] = [
  { title: 'POLICY/RULE', min: 12 },
  { title: 'OPERATIONS', align: 'right' },
  { title: 'TO DENY THEM', min: 12 },
];
const TONES: Readonly<Record<PlaceState, PolicyReasonView['tone']>> = {
  'in-force': 'dim',
  off: 'dim',
  pending: 'warn',
  refused: 'bad',
  unavailable: 'bad',
  silent: 'bad',
  missing: 'bad',
};

export async function readPoliciesView(
  reader: Reader & { notes: string[] },
  { since, sinceMs, maySee }: { since: string; sinceMs: number; maySee: MaySee },
): Promise<PoliciesView> {
  const [snapshot, audits] = [await readPlaces(reader, STALE_NODE_MS), await readAudits(reader, sinceMs, maySee)];
  const config = await readConfigValues(reader);
  if (maySee(null)) {
    const limits = [await incompleteOf(reader, { ...audits, sinceMs }), await uncountedReasons(reader, sinceMs)];
    for (const reason of limits.flat()) reader.note(reason);
  }
  return policiesView(snapshot, audits, { since, maySee, nowMs: reader.nowMs(), notes: reader.notes, config });
}

interface Options {
  since: string;
  maySee: MaySee;
  nowMs: number;
  notes: readonly string[];
  /** Everything that is stored, and why a value is not in force. */
  config: readonly ConfigValue[];
}

export function policiesView({ stored, places }: Snapshot, audits: Audits, options: Options): PoliciesView {
  const { since, maySee, nowMs, notes, config } = options;
  const seesNodes = maySee(null);
  const seen = stored.map((one, index) => [one, places[index] as PolicyPlaces] as const);
  const own = seen.filter(([{ namespace }]) => maySee(namespace));
  const groups = audits.packets.groups();
  const { packets } = audits.packets;
  const operations = byEffect(audits.operations.groups(), stored);
  return {
    since,
    ...headlineOf(
      own.map(([one]) => one),
      own.map(([, place]) => place),
      seesNodes,
    ),
    policies: tableOf(
      COLUMNS,
      own.map((one) => policyRow(one, seesNodes, nowMs)),
      MAX_POLICIES,
    ),
    reasons: seesNodes ? reasonViews(own.map(([, place]) => place)) : [],
    operations: tableOf(
      OPERATION_COLUMNS,
      operations.denied.map((group) =>
        operationRow(
          group,
          own.map(([one]) => one),
        ),
      ),
      MAX_ROWS,
    ),
    operationsNotes: notesOf(operations),
    promotions: seesNodes ? promotionsOf(stored) : [],
    choices: seesNodes ? namedPolicies(stored).map((one) => ({ key: one.key, name: shortName(one) })) : null,
    vectors: vectorsTable(config, maySee),
    vectorsEmpty: emptyText(maySee),
    packets: tableOf(
      AUDITED_COLUMNS,
      groups.map((group, index) =>
        rowOf(AUDITED_COLUMNS, String(index), auditedCells(group, nowMs), { POD: podLink(group.key.pod) }),
      ),
      MAX_ROWS,
    ),
    packetsText: packets === 0 ? '' : `${droppedText(groups, packets)}.`,
    // They change the cluster.
    advice: seesNodes && groups.length > 0 ? adviceOf(groups) : [],
    commands: {
      vectors: 'bailiff config list --kind spoof',
      status: 'bailiff policy status',
      list: 'bailiff policy list',
      wouldDrop: `bailiff doctor --would-drop --since ${since}`,
      operations: `bailiff events --kind lsm --action audit --since ${since}`,
    },
    notes: [
      ...(seesNodes
        ? notes
        : [
            'Policies of the whole cluster, and where policies are in force, are for those who may see all namespaces.',
            ...(audits.cut ? ['Only the newest violations were read: there are too many.'] : []),
          ]),
      ...(audits.packets.inexact ? ['There are too many counters: some packets may be counted twice.'] : []),
      ...(seesNodes ? audits.refusals.refusedLines() : []),
      ...[restText(audits.packets.rest)].filter((text) => text !== ''),
    ],
  };
}

/** Is what should be in force, in force? */
function headlineOf(
  stored: readonly StoredPolicy[],
  places: readonly PolicyPlaces[],
  seesNodes: boolean,
): Pick<PoliciesView, 'headline' | 'tone'> {
  if (stored.length === 0) {
    const where = seesNodes ? '' : ' in the namespaces that you may see';
    return { headline: `No policy for programs is stored${where}`, tone: 'plain' };
  }
  const audited = stored.filter(({ policy }) => policy?.enabled && policy.mode !== 'enforce').length;
  const auditText = audited === 0 ? '' : `; ${audited} only watch (audit) and deny nothing`;
  if (!seesNodes) return { headline: `${plural(stored.length, 'policy', 'policies')}${auditText}`, tone: 'plain' };
  if (places[0]?.nodes === 0)
    return { headline: 'No node has reported yet: what is in force is unknown', tone: 'warn' };
  const asked = places.filter(({ enabled }) => enabled);
  const missing = asked.filter(({ inForce, nodes }) => inForce < nodes).length;
  if (placesExitCode(places) !== 0 && missing > 0) {
    return { headline: `${missing} of ${asked.length} policies are not in force everywhere${auditText}`, tone: 'bad' };
  }
  const all = `${plural(asked.length, 'policy', 'policies')} in force on every node${auditText}`;
  return { headline: all, tone: audited === 0 ? 'good' : 'warn' };
}

function policyRow([one, places]: readonly [StoredPolicy, PolicyPlaces], seesNodes: boolean, nowMs: number) {
  const [name = '', mode = '', revision = '', inForce = '', subjects = ''] = statusCells(one, places);
  const { policy, namespace, key } = one;
  const more = policy ? [levelCell(policy.severity), selectsText(policy, namespace)] : ['', one.refused];
  const cells = seesNodes ? [name, mode, revision, inForce, subjects] : [name, mode, revision, '', ''];
  const { timestampMicros, by, why } = one.stored;
  return rowOf(COLUMNS, key, [...cells, ...more, clockTime(timestampMicros, nowMs), by, why], { POLICY: keyLink(key) });
}

function reasonViews(places: readonly PolicyPlaces[]): PolicyReasonView[] {
  return reasonsOf(places)
    .slice(0, MAX_REASONS)
    .map(({ policies, nodes, state, reason, remedy }) => ({
      tone: TONES[state],
      where: shortList(nodes, MAX_NODES),
      text: `${policies ? `${policies.map((key) => shortName(parsePolicyName(key))).join(', ')}: ` : ''}${reason}`,
      remedy,
    }));
}

/** Policies that only watch, with the command that enforces each. */
const promotionsOf = (stored: readonly StoredPolicy[]): PromotionView[] =>
  stored
    .filter(({ policy }) => policy?.enabled && policy.mode === 'audit')
    .slice(0, MAX_PROMOTIONS)
    .map((one) => ({
      key: one.key,
      name: shortName(one),
      command: `bailiff policy promote ${shortName(one)} --reason "…"`,
      whyNot: '',
    }));

type Audited = TallyGroup<AuditedRule>;

/** What enforcing would change about recorded operations. */
interface ByEffect {
  denied: Audited[];
  /** The policy is enforced by now. */
  enforced: Audited[];
  /** The policy is off, or not stored any more; or its rule denies nothing. */
  unaffected: Audited[];
}

function byEffect(groups: readonly Audited[], stored: readonly StoredPolicy[]): ByEffect {
  const found: ByEffect = { denied: [], enforced: [], unaffected: [] };
  for (const group of groups) {
    const { policy: key, vector } = group.key;
    const one = stored.find((candidate) => candidate.key === key);
    // Of no policy: `onUnresolvable` of one of them decides.
    if (key === '') found.denied.push(group);
    else if (!one?.policy?.enabled || !denies(one.policy, one.name, vector)) found.unaffected.push(group);
    else found[one.policy.mode === 'enforce' ? 'enforced' : 'denied'].push(group);
  }
  return found;
}

function notesOf({ enforced, unaffected }: ByEffect): string[] {
  const textOf = (groups: readonly Audited[]) =>
    shortList(
      groups.map(({ key, packets }) => `${key.vector} ${packets}`),
      MAX_RULES,
    );
  return [
    ...(enforced.length > 0
      ? [
          `Not in this list, because the policy is in mode enforce now; these passed before, or where it is not in force: ${textOf(enforced)}.`,
        ]
      : []),
    ...(unaffected.length > 0
      ? [`Not in this list, because no enabled policy would deny them: ${textOf(unaffected)}.`]
      : []),
  ];
}

/** @param stored policies that the visitor may see */
function operationRow({ key: { policy: key, vector }, packets }: Audited, stored: readonly StoredPolicy[]) {
  const one = stored.find((candidate) => candidate.key === key);
  const command = one ? `bailiff policy promote ${shortName(one)}` : '';
  return rowOf(OPERATION_COLUMNS, `${key} ${vector}`, [vector, String(packets), command]);
}
