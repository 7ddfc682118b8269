/** Exit code and reasons for policies that are not in force. Pure. */
import type { PlaceState, PolicyPlaces } from '@bailiff/response';
import { EXIT, type ExitCode } from '@bailiff/service';

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
