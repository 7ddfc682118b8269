/** Where policies are in force; exit code and reasons for those that are not. */
import { type Reader, readNodesInput } from '@bailiff/insight';
import { type PlaceState, type PolicyPlaces, plural, policyPlaces } from '@bailiff/response';
import { EXIT, type ExitCode } from '@bailiff/service';
import type { Style } from '../text/paint.ts';
import type { Cell, Column } from '../text/table.ts';
import { shortName } from './names.ts';
import { modeCell, readPolicies, type StoredPolicy } from './stored.ts';

const EXIT_OF: Partial<Record<PlaceState, ExitCode>> = {
  missing: EXIT.dependencyUnreachable,
  silent: EXIT.dependencyUnreachable,
  pending: EXIT.dependencyUnreachable,
  unavailable: EXIT.kernelLacksFeature,
  refused: EXIT.badConfiguration,
};
const ORDER = [EXIT.dependencyUnreachable, EXIT.kernelLacksFeature, EXIT.badConfiguration];

/** Exit code for a node in this state; 0 if it is in force or `off`. */
export const exitCodeOfState = (state: PlaceState): ExitCode => EXIT_OF[state] ?? EXIT.ok;

/** Severity order as in `bailiff status`. Disabled policies do not count. */
export function placesExitCode(policies: readonly PolicyPlaces[]): ExitCode {
  const asked = policies.filter(({ enabled }) => enabled);
  const codes = asked.flatMap(({ places }) => places.map(({ state }) => exitCodeOfState(state)));
  return ORDER.find((code) => codes.includes(code)) ?? EXIT.ok;
}

export interface Reason {
  /** Keys of the policies; null if the reason concerns the whole node. */
  policies: string[] | null;
  nodes: string[];
  state: PlaceState;
  reason: string;
  remedy: string;
}

/** Each reason once, with its nodes and policies; reasons of whole nodes first. */
export function reasonsOf(policies: readonly PolicyPlaces[]): Reason[] {
  const reasons = new Map<string, Reason>();
  for (const { key, enabled, places } of policies) {
    if (!enabled) continue;
    for (const { node, state, reason, remedy } of places) {
      if (state === 'in-force') continue;
      const ofNode = state !== 'pending' && state !== 'refused';
      const name = [ofNode ? '' : key, state, reason].join('\n');
      const known = reasons.get(name) ?? { policies: ofNode ? null : [key], nodes: [], state, reason, remedy };
      if (!known.nodes.includes(node)) known.nodes.push(node);
      reasons.set(name, known);
    }
  }
  return [...reasons.values()].sort((a, b) => Number(a.policies !== null) - Number(b.policies !== null));
}

export interface Snapshot {
  stored: StoredPolicy[];
  places: PolicyPlaces[];
}

/** Where all policies are in force. @throws BusError */
export async function readPlaces(reader: Reader, staleMs: number): Promise<Snapshot> {
  return placesOf(reader, await readPolicies(reader), staleMs);
}

/** Where these are in force. @throws BusError */
export async function placesOf(reader: Reader, stored: StoredPolicy[], staleMs: number): Promise<Snapshot> {
  const input = await readNodesInput(reader, staleMs);
  const policies = stored.map(({ key, policy, stored: { revision } }) => ({
    key,
    revision,
    enabled: policy?.enabled ?? true,
  }));
  return { stored, places: policyPlaces({ ...input, policies }) };
}

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
