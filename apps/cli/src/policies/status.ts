/**
 * `policy status`: the number of nodes on which each policy is in force, and the reasons on the
 * other nodes.
 */

import { type PlaceState, type PolicyPlaces, shortList } from '@bailiff/response';
import { EXIT } from '@bailiff/service';
import { CliError } from '../shared/errors.ts';
import { parsePolicyName, shortName } from '../shared/policy/names.ts';
import {
  placesExitCode,
  placesOf,
  type Reason,
  reasonsOf,
  type Snapshot,
  STATUS_COLUMNS,
  statusCells,
} from '../shared/policy/places.ts';
import { readPolicies } from '../shared/policy/stored.ts';
import { poll } from '../shared/poll.ts';
import type { Session } from '../shared/session.ts';
import { wrapAfter } from '../shared/text/clean.ts';
import type { Style } from '../shared/text/paint.ts';
import { type Cell, type Column, table } from '../shared/text/table.ts';
import { storedByName } from './show.ts';

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

function reasonLines(reasons: readonly Reason[], { out }: Session): string[] {
  const { width } = out.table;
  return reasons.flatMap(({ policies, nodes, state, reason, remedy }) => {
    const what = policies ? ` ${policies.map((key) => shortName(parsePolicyName(key))).join(', ')}:` : '';
    const sign = out.paint(state === 'off' ? '-' : state === 'pending' ? '!' : '✗', STYLES[state]);
    return [
      ...wrapAfter(`${sign} `, `${shortList(nodes, MAX_NODES)}:${what} ${reason}`, width, 2),
      ...(remedy === '' ? [] : wrapAfter('  ', `→ ${remedy}`, width, 4)),
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
  out.rows(STATUS_COLUMNS, stored, (one, _nowMs, index) => statusCells(one, places[index] as PolicyPlaces));
  if (name !== undefined) out.lines(['', ...placeLines(places[0] as PolicyPlaces, session)]);
  else {
    const lines = reasonLines(reasonsOf(places), session);
    if (lines.length > 0) out.lines(['', ...lines]);
  }
  return exitCode;
}
