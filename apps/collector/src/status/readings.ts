/**
 * What the collector's metrics read at a scrape: the node's status in numbers, so that what a dashboard shows is what `bailiff status`
 * says, with what only the process knows. Pure. No interface or pod is named.
 */
import type { NodeStatus } from '@bailiff/schemas';
import type { Values } from '@bailiff/service';
import type { Readings } from '../metrics.ts';
import type { BreachTally } from '../publishing/violation-metrics.ts';

const RUNTIME_STATES = ['available', 'unavailable', 'unsupported', 'off'] as const;

export interface Counted {
  /** Live interfaces by state. */
  states: Values;
  /** What the kernel programs could not do. */
  losses: Values;
  tally: Pick<BreachTally, 'all' | 'suppressed'>;
}

export function readingsOf(status: NodeStatus, { states, losses, tally }: Counted): Readings {
  const { interfaces, interfacesOmitted, runtime, bus } = status;
  const coverage = { guarded: 0, partial: 0, 'not-covered': 0, 'not-applicable': 0, ...interfacesOmitted };
  for (const one of interfaces) coverage[one.coverage] += 1;
  const policies = { 'in-force': 0, refused: 0 };
  for (const { state } of runtime?.policies ?? []) policies[state] += 1;
  const maps = [...status.maps, ...(runtime?.maps ?? []).map((map) => ({ ...map, name: `runtime-${map.name}` }))];
  return {
    interfaces: states,
    coverage,
    quarantined: interfaces.filter(({ quarantinedUntil }) => quarantinedUntil !== null).length,
    features: Object.fromEntries(status.features.map(({ name, available }) => [name, Number(available)])),
    runtimeState: Object.fromEntries(RUNTIME_STATES.map((state) => [state, Number(state === runtime?.state)])),
    policies,
    snapshotRefused: status.snapshotRefused !== '',
    configRefused: status.configRefused.length,
    disarmed: status.disarmedUntil !== null,
    mapEntries: Object.fromEntries(maps.map(({ name, used }) => [name, used])),
    mapMaxEntries: Object.fromEntries(maps.map(({ name, capacity }) => [name, capacity])),
    losses,
    unacked: bus.unackedFrames,
    violations: [...tally.all()],
    suppressed: tally.suppressed,
  };
}
