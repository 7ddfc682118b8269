/**
 * `policy status`: the number of nodes on which each policy is in force, and the reasons on the
 * other nodes.
 */

import { type Reader, readBusTime, readExpectedNodes, readNodes } from '@bailiff/insight';
import { type PlaceState, type PolicyPlaces, plural, policyPlaces, shortList } from '@bailiff/response';
import { EXIT } from '@bailiff/service';
import { CliError } from '../shared/errors.ts';
import { poll } from '../shared/poll.ts';
import type { Session } from '../shared/session.ts';
import { wrap } from '../shared/text/clean.ts';
import type { Style } from '../shared/text/paint.ts';
import { type Cell, type Column, table } from '../shared/text/table.ts';
import { parsePolicyName, shortName } from './names.ts';
import { modeCell, storedByName } from './show.ts';
import { placesExitCode, type Reason, reasonsOf } from './status-rules.ts';
import { readPolicies, type StoredPolicy } from './stored.ts';

export interface StatusOptions {
  namespace?: string;
  json: boolean;
  staleMs: number;
  /** 0 = do not wait. */
  waitMs: number;
}

/** Maximum of nodes named per reason. --json has all. */
const MAX_NODES = 4;

const STYLES: Record<PlaceState, Style> = {
  'in-force': 'green',
  pending: 'yellow',
  refused: 'red',
  unavailable: 'red',
  off: 'dim',
  silent: 'red',
  missing: 'red',
};

export const STATUS_COLUMNS: readonly Column[] = [
  { title: 'POLICY' },
  { title: 'MODE' },
  { title: 'REVISION', align: 'right' },
  { title: 'IN FORCE' },
  { title: 'PODS, CONTAINERS', align: 'right' },
];

export function statusCells(stored: StoredPolicy, { inForce, nodes, subjects, enabled }: PolicyPlaces): Cell[] {
  const { policy } = stored;
  const name = shortName(stored);
  if (!policy) return [name, { text: 'REFUSED', style: 'red' }, String(stored.stored.revision), 'nowhere', ''];
  const style: Style = !enabled ? 'dim' : inForce === nodes ? 'green' : 'yellow';
  const where = enabled ? `on ${inForce} of ${plural(nodes, 'node')}` : 'off';
  return [
    name,
    modeCell(policy),
    String(stored.stored.revision),
    { text: where, style },
    enabled ? String(subjects) : '',
  ];
}

function reasonLines(reasons: readonly Reason[], { out }: Session): string[] {
  const { width } = out.table;
  return reasons.flatMap(({ policies, nodes, state, reason, remedy }) => {
    const what = policies ? ` ${policies.map((key) => shortName(parsePolicyName(key))).join(', ')}:` : '';
    const [first = '', ...more] = wrap(`${shortList(nodes, MAX_NODES)}:${what} ${reason}`, width > 0 ? width - 2 : 0);
    const sign = out.paint(state === 'off' ? '-' : state === 'pending' ? '!' : '✗', STYLES[state]);
    const [arrow = '', ...rest] = remedy === '' ? [] : wrap(`→ ${remedy}`, width > 0 ? width - 4 : 0);
    return [
      `${sign} ${first}`,
      ...more.map((line) => `  ${line}`),
      ...(arrow === '' ? [] : [`  ${arrow}`]),
      ...rest.map((line) => `    ${line}`),
    ];
  });
}

const NODE_COLUMNS: readonly Column[] = [
  { title: 'NODE' },
  { title: 'STATE' },
  { title: 'REVISION', align: 'right' },
  { title: 'PODS, CONTAINERS', align: 'right' },
  { title: 'WHY', min: 16 },
];

function placeLines({ places }: PolicyPlaces, { out }: Session): string[] {
  const rows = places.map(({ node, state, revision, subjects, reason, remedy }): Cell[] => [
    node,
    { text: state, style: STYLES[state] },
    revision === null ? '-' : String(revision),
    String(subjects),
    [reason, remedy].filter(Boolean).join(' → '),
  ]);
  return table(NODE_COLUMNS, rows, out.table);
}

export interface Snapshot {
  stored: StoredPolicy[];
  places: PolicyPlaces[];
}

/** Where all policies are in force. @throws BusError */
export async function readPlaces(reader: Reader, staleMs: number): Promise<Snapshot> {
  return placesOf(reader, await readPolicies(reader), staleMs);
}

async function readSnapshot(
  session: Session,
  name: string | undefined,
  { namespace, staleMs }: StatusOptions,
): Promise<Snapshot> {
  const all =
    name === undefined
      ? await readPolicies(session)
      : await storedByName(session, name, namespace).then((one) => [one]);
  const stored = namespace === undefined || name !== undefined ? all : all.filter((one) => one.namespace === namespace);
  return placesOf(session, stored, staleMs);
}

async function placesOf(reader: Reader, stored: StoredPolicy[], staleMs: number): Promise<Snapshot> {
  const [nodes, expected, nowMs] = await Promise.all([
    readNodes(reader),
    readExpectedNodes(reader),
    readBusTime(reader),
  ]);
  const policies = stored.map(({ key, policy, stored: { revision } }) => ({
    key,
    revision,
    enabled: policy?.enabled ?? true,
  }));
  return { stored, places: policyPlaces({ policies, nodes, expected, nowMs, staleMs }) };
}

/** Repeats until all policies are in force, or until the time has passed. */
const waitUntilInForce = (session: Session, name: string | undefined, options: StatusOptions): Promise<Snapshot> =>
  poll(
    session.io,
    { withinMs: options.waitMs },
    () => readSnapshot(session, name, options),
    ({ places }) => placesExitCode(places) === EXIT.ok,
  );

/**
 * @returns the exit code; 0 if all policies are in force. @throws CliError CLI_NOT_FOUND, BusError
 */
export async function status(session: Session, name: string | undefined, options: StatusOptions): Promise<number> {
  const { out } = session;
  const { stored, places } = await waitUntilInForce(session, name, options);
  const exitCode = placesExitCode(places);
  if (options.json) {
    out.json({ ok: exitCode === EXIT.ok, exitCode, policies: places });
    return exitCode;
  }
  if (stored.length === 0) {
    out.note('no runtime policy is stored; to apply those of Bailiff: bailiff policy apply policies/');
    return exitCode;
  }
  if (places[0]?.nodes === 0) throw new CliError('CLI_STATE', 'no node has reported yet', { remedy: 'bailiff status' });
  const rows = stored.map((one, index) => statusCells(one, places[index] as PolicyPlaces));
  out.lines(table(STATUS_COLUMNS, rows, out.table));
  if (name !== undefined) out.lines(['', ...placeLines(places[0] as PolicyPlaces, session)]);
  else {
    const lines = reasonLines(reasonsOf(places), session);
    if (lines.length > 0) out.lines(['', ...lines]);
  }
  return exitCode;
}
