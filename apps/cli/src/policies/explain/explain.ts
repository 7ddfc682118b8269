/**
 * `policy explain <pod>`: a pod's policies, rules, postures and conflicts, or the decision about
 * one operation.
 */

import type { PodSelector } from '@bailiff/insight';
import { readPods } from '@bailiff/insight';
import {
  EXECUTE_OPERATIONS,
  FILE_OPERATIONS,
  NETWORK_OPERATIONS,
  POSTURE_CLASSES,
  UNIX_OPERATIONS,
} from '@bailiff/policy';
import { plural } from '@bailiff/response';
import { describeRule, type PolicySet, type RuleAction, selectsPod } from '@bailiff/runtime';
import { onePod } from '../../shared/one-of.ts';
import {
  asHypothetical,
  type PodPlace,
  type PodPlaceState,
  placeText,
  podObstacle,
  readPodPlaces,
} from '../../shared/policy/in-force.ts';
import { parsePolicyName, shortName } from '../../shared/policy/names.ts';
import { modeCell, namedPolicies, readPolicies, type StoredPolicy, selectsText } from '../../shared/policy/stored.ts';
import { levelCell } from '../../shared/rows/verdict-cells.ts';
import type { Session } from '../../shared/session.ts';
import { wrap, wrapAfter } from '../../shared/text/clean.ts';
import type { Style } from '../../shared/text/paint.ts';
import { type Cell, type Column, table } from '../../shared/text/table.ts';
import {
  containersText,
  decisionsOf,
  type ExplainedSet,
  explainedJson,
  explainedSets,
  podTitle,
  shortMatches,
} from './container-sets.ts';
import type { parseOperation } from './parse-operation.ts';

const INDENT = '  ';
/** Matches shown per rule; --json has all. */
const MAX_MATCHES = 4;

const OPERATION_GROUPS: readonly (readonly [string, readonly string[]])[] = [
  ['any', FILE_OPERATIONS],
  ['change', FILE_OPERATIONS.filter((op) => op !== 'read')],
  ['run,map', EXECUTE_OPERATIONS.map((op) => (op === 'map' ? 'map-execute' : op))],
  ['any', NETWORK_OPERATIONS],
  ['unix-any', UNIX_OPERATIONS.map((op) => `unix-${op}`)],
];

export const ACTION_STYLE: Readonly<Record<RuleAction, Style>> = {
  'allow-audit': 'dim',
  allow: 'green',
  audit: 'yellow',
  block: 'red',
  kill: 'red',
};

const POLICY_COLUMNS: readonly Column[] = [
  { title: 'POLICY' },
  { title: 'MODE' },
  { title: 'SEVERITY' },
  { title: 'REVISION', align: 'right' },
  { title: 'HERE' },
  { title: 'SELECTS', min: 12, spare: true },
];

const PLACE_STYLE: Readonly<Record<PodPlaceState, Style>> = {
  'in force': 'green',
  'not yet': 'yellow',
  refused: 'red',
  'not in force': 'red',
  'not known': 'yellow',
};

function policyLines(
  all: readonly StoredPolicy[],
  sets: readonly ExplainedSet[],
  places: readonly PodPlace[],
  session: Session,
): string[] {
  const { out } = session;
  const inForce = new Set(sets.flatMap(({ policies }) => policies.map(({ key }) => key)));
  const stateOf = new Map(places.map(({ key, state }) => [key, state]));
  const placeCell = (key: string): Cell => {
    const state = stateOf.get(key) ?? 'not known';
    return { text: state, style: PLACE_STYLE[state] };
  };
  const rows = all.flatMap(({ key, policy, stored, ...name }): Cell[][] =>
    policy && inForce.has(key)
      ? [
          [
            shortName(name),
            modeCell(policy),
            levelCell(policy.severity),
            String(stored.revision),
            placeCell(key),
            selectsText(policy, name.namespace),
          ],
        ]
      : [],
  );
  const others = all.length - inForce.size;
  const rest =
    others > 0 ? [`${INDENT}${out.paint(`${plural(others, 'other')} not for this pod, or disabled`, 'dim')}`] : [];
  if (rows.length === 0) return [out.paint('POLICIES', 'bold'), `${INDENT}none in force: all operations pass`, ...rest];
  return [out.paint('POLICIES', 'bold'), ...table(POLICY_COLUMNS, rows, { ...out.table, indent: INDENT }), ...rest];
}

/** Each reason why policies are not in force, with the policies concerned. */
function obstacleLines(places: readonly PodPlace[], { out }: Session): string[] {
  const reasons = new Map<string, PodPlace[]>();
  for (const place of places)
    if (place.reason !== '') reasons.set(place.reason, [...(reasons.get(place.reason) ?? []), place]);
  return [...reasons.values()].flatMap((those) => {
    const names =
      those.length === places.length ? '' : `${those.map(({ key }) => shortName(parsePolicyName(key))).join(', ')}: `;
    const [first] = those as [PodPlace];
    const rest = first.state === 'not known' ? '' : '; the following would apply';
    const lines = wrap(`! ${names}${placeText(first)}${rest}`, Math.max(0, out.table.width - INDENT.length));
    return lines.map((line) => `${INDENT}${out.paint(line, 'yellow')}`);
  });
}

const POSTURE_COLUMNS: readonly Column[] = [
  { title: 'CLASS' },
  { title: 'WITHOUT AN ALLOW RULE' },
  { title: 'BY', min: 10 },
];

function postureLines(set: PolicySet, { out }: Session): string[] {
  const rows = POSTURE_CLASSES.map((name): Cell[] => {
    const { block, audit } = set.postures[name];
    if (block) return [name, { text: 'is blocked', style: 'red' }, block.policyName];
    if (audit) return [name, { text: 'is audited', style: 'yellow' }, audit.policyName];
    return [name, { text: 'passes', style: 'dim' }, ''];
  });
  const deep = `${INDENT}paths deeper than the kernel resolves: ${set.onUnresolvable === 'block' ? 'is blocked' : 'is audited'}`;
  return [
    out.paint('POSTURES', 'bold'),
    ...table(POSTURE_COLUMNS, rows, { ...out.table, indent: INDENT }),
    out.paint(deep, 'dim'),
  ];
}

const RULE_COLUMNS: readonly Column[] = [
  { title: 'ACTION' },
  { title: 'POLICY/RULE' },
  { title: 'WHAT', min: 24 },
  { title: 'BY PROGRAMS', min: 6, spare: true },
];

function ruleLines(set: PolicySet, { out }: Session): string[] {
  if (set.rules.length === 0) return [];
  const rows = set.rules.map((rule): Cell[] => {
    const { action, vector, from, matches } = describeRule(rule);
    const what = shortMatches(matches, OPERATION_GROUPS, MAX_MATCHES);
    return [{ text: action, style: ACTION_STYLE[action] }, vector, what, from === 'any' ? '' : from];
  });
  return ['', out.paint('RULES', 'bold'), ...table(RULE_COLUMNS, rows, { ...out.table, indent: INDENT })];
}

function conflictLines({ conflicts, conflictsComplete }: ExplainedSet, { out }: Session): string[] {
  const { width } = out.table;
  const lines = conflicts.flatMap(({ text, operations }) => {
    const more = operations > 1 ? ` (and ${operations - 1} more operations)` : '';
    return wrapAfter(`${INDENT}${out.paint('!', 'yellow')} `, `${text}${more}`, width, 4);
  });
  if (!conflictsComplete) lines.push(`${INDENT}not all rules were checked: there are too many`);
  return lines.length === 0 ? [] : ['', out.paint('CONFLICTS', 'bold'), ...lines];
}

function setLines(one: ExplainedSet, groups: number, session: Session): string[] {
  const { out } = session;
  const title = groups === 1 ? [] : ['', out.paint(`IN ${containersText(one, groups)}`, 'bold', 'cyan')];
  if (!one.set) return [...title, ...(groups === 1 ? [] : [`${INDENT}no policy`])];
  const names = wrap(one.policies.map(shortName).join(', '), Math.max(0, out.table.width - INDENT.length));
  const which = groups === 1 ? [] : names.map((line) => `${INDENT}${out.paint(line, 'dim')}`);
  return [
    ...title,
    ...which,
    '',
    ...postureLines(one.set, session),
    ...ruleLines(one.set, session),
    ...conflictLines(one, session),
  ];
}

type OperationRequest = NonNullable<ReturnType<typeof parseOperation>>;

function decisionLines(
  sets: readonly ExplainedSet[],
  request: OperationRequest,
  obstacle: string | null,
  { out }: Session,
): string[] {
  const { width } = out.table;
  const decisions = decisionsOf(sets, request);
  return decisions.flatMap(({ outcome, text, matched }, index) => {
    const where = sets.length === 1 ? '' : `${containersText(sets[index] as ExplainedSet, sets.length)}: `;
    const isIdle = outcome !== 'pass' && obstacle !== null;
    const style = outcome === 'pass' ? 'green' : isIdle ? 'yellow' : 'red';
    const sentence = isIdle ? `${asHypothetical(text)}; ${obstacle}` : text;
    const [first = '', ...rest] = wrap(`${where}${sentence}`, width);
    const rules = matched.map(
      ({ rule, action }) => `${INDENT}${out.paint(action, ACTION_STYLE[action])} ${rule} matches`,
    );
    return [out.paint(first, style), ...rest.map((line) => out.paint(line, style)), ...rules];
  });
}

/**
 * @throws CliError CLI_NOT_FOUND | CLI_USAGE, PolicyError POLICY_LIMIT,
 * BusError
 */
export async function explainPod(
  session: Session,
  selector: PodSelector,
  request: OperationRequest | null,
  json: boolean,
): Promise<void> {
  const { out } = session;
  const [pods, stored] = await Promise.all([readPods(session), readPolicies(session)]);
  const pod = onePod(pods, selector);
  const policies = namedPolicies(stored).filter((named) => selectsPod(named, pod));
  const revisions = new Map(stored.map(({ key, stored: { revision } }) => [key, revision]));
  const withRevisions = policies.map(({ key }) => ({ key, revision: revisions.get(key) ?? 0 }));
  const places = await readPodPlaces(session, pod, withRevisions);
  const obstacle = podObstacle(places);
  const sets = explainedSets(policies, pod);
  if (json) return out.json({ ...explainedJson(pod, sets, request), notInForce: obstacle, inForce: places });
  for (const { key, refused } of stored)
    if (refused !== '') out.note(`${key} is refused by readers of this version: ${refused}`);
  if (request) {
    out.note(podTitle(pod));
    return out.lines(decisionLines(sets, request, obstacle, session));
  }
  const labels = Object.entries(pod.labels).map(([key, value]) => `${key}=${value}`);
  out.line(out.paint(podTitle(pod), 'bold'));
  out.lines(
    wrap(`labels ${labels.join(' ') || 'none'}`, Math.max(0, out.table.width - 2)).map((line) =>
      out.paint(`${INDENT}${line}`, 'dim'),
    ),
  );
  out.lines(['', ...policyLines(stored, sets, places, session)]);
  out.lines(obstacleLines(places, session));
  for (const one of sets) out.lines(setLines(one, sets.length, session));
}
