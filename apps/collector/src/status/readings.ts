/**
 * Converts the node's status to the numbers that the metrics show at a scrape, so that a dashboard
 * equals `bailiff status`. Pure. No metric names an interface or a pod.
 */
import type { NodeStatus } from '@bailiff/schemas';
import type { Values } from '@bailiff/service';
import type { Readings } from '../metrics.ts';
import type { ViolationTotals } from '../publishing/violation-metrics.ts';

const CNI_STATES = ['installed', 'not-installed', 'not-served', 'left-behind'] as const;
const RUNTIME_STATES = ['available', 'unavailable', 'unsupported', 'off'] as const;

/** Numbers that the status does not contain. */
export interface Counted {
  /** Live interfaces by state. */
  states: Values;
  /** Events that the kernel programs could not record. */
  losses: Values;
  /** Records that the runtime programs lacked, by kind. */
  repaired: Values;
  totals: Pick<ViolationTotals, 'all' | 'suppressed'>;
}

/** Losses of the programs of both halves, by name. */
export function lossesOf(
  spoof: Readonly<Record<string, bigint>>,
  runtime: Readonly<Record<string, number>>,
): Record<string, number> {
  return Object.fromEntries([
    ...Object.entries(spoof).map(([loss, n]) => [loss, Number(n)]),
    ...Object.entries(runtime).map(([loss, n]) => [`runtime-${loss}`, n]),
  ]);
}

export function readingsOf(status: NodeStatus, { states, losses, repaired, totals }: Counted): Readings {
  const { interfaces, interfacesOmitted, runtime, bus, cni } = status;
  const cniState = cni?.state === 'off' && cni.problem !== '' ? 'left-behind' : cni?.state;
  const coverage = { guarded: 0, partial: 0, 'not-covered': 0, 'not-applicable': 0, ...interfacesOmitted };
  for (const one of interfaces) coverage[one.coverage] += 1;
  const policies = { 'in-force': 0, refused: 0 };
  for (const { state } of runtime?.policies ?? []) policies[state] += 1;
  const maps = [...status.maps, ...(runtime?.maps ?? []).map((map) => ({ ...map, name: `runtime-${map.name}` }))];
  return {
    interfaces: states,
    coverage,
    foreignLinks: interfaces.filter(({ foreignLinks = [] }) => foreignLinks.length > 0).length,
    quarantined: interfaces.filter(({ quarantinedUntil }) => quarantinedUntil !== null).length,
    features: Object.fromEntries(status.features.map(({ name, available }) => [name, Number(available)])),
    runtimeState: Object.fromEntries(RUNTIME_STATES.map((state) => [state, Number(state === runtime?.state)])),
    policies,
    cniState: Object.fromEntries(CNI_STATES.map((state) => [state, Number(state === cniState)])),
    cniPassedAtSeconds: cni?.passedAt === undefined ? 0 : Date.parse(cni.passedAt) / 1000,
    snapshotRefused: status.snapshotRefused !== '',
    configRefused: status.configRefused.length,
    disarmed: status.disarmedUntil !== null,
    mapEntries: Object.fromEntries(maps.map(({ name, used }) => [name, used])),
    mapMaxEntries: Object.fromEntries(maps.map(({ name, capacity }) => [name, capacity])),
    losses,
    repaired,
    unacked: bus.unackedFrames,
    violations: [...totals.all()],
    suppressed: totals.suppressed,
  };
}
