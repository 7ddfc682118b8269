/**
 * What to write into the kernel's maps so that an interface has the identity it should have. Pure: (what is in the kernel, what is
 * wanted) -> steps, in an order that never leaves a moment in which a rightful address is refused: grants that are new come before
 * the record that goes without them inline, grants that are no longer needed go after it.
 */
import type { AddressGrant, IfaceRecord, ProbePort, VectorModes } from '@bailiff/bpf';
import type { Identity } from '../identity/identity.ts';
import type { KernelEntries } from '../interfaces/guarded-interface.ts';

export type MapStep =
  | { step: 'grants'; grants: AddressGrant[] }
  | { step: 'probe-ports'; probePorts: ProbePort[] }
  | { step: 'record'; record: KernelEntries['record'] };

/** Further addresses and prefixes of one interface at most; what is over is left out and reported. */
export const MAX_GRANTS = 64;
/** Probed ports of one pod at most. */
export const MAX_PROBE_PORTS = 32;

export interface WantedInput {
  identity: Identity;
  modes: VectorModes;
  /** null: the node's. */
  sampling: IfaceRecord['sampling'];
  quarantineUntilNs: bigint;
  auditUntilNs: bigint;
  probePorts: readonly { port: number; protocol: 'TCP' | 'UDP' }[];
}

/** Splits an identity into what is inline and what is looked up. `omitted` counts what the bounds cut off. */
export function wantedIface(input: WantedInput): { wanted: KernelEntries; omitted: number } {
  const { identity } = input;
  const v4 = identity.addresses.filter((a) => !a.includes(':'));
  const v6 = identity.addresses.filter((a) => a.includes(':'));
  const grants = new Map<string, AddressGrant>();
  // A prefix that is merely allowed as a source may not be spoken for in ARP or ND: it stands behind the pod, not at it.
  for (const cidr of identity.allowedPrefixes) grants.set(cidr, { cidr, neighbour: false });
  for (const address of v4.slice(1)) grants.set(`${address}/32`, { cidr: `${address}/32`, neighbour: true });
  for (const address of v6.slice(1)) grants.set(`${address}/128`, { cidr: `${address}/128`, neighbour: true });
  // The pod's own addresses come first, so that the bound cuts prefixes.
  const ordered = [...grants.values()].sort((a, b) => Number(b.neighbour) - Number(a.neighbour));
  const ports = new Map(
    input.probePorts.map((p) => [
      `${p.protocol}/${p.port}`,
      { port: p.port, protocol: p.protocol === 'TCP' ? 'tcp' : 'udp' } as ProbePort,
    ]),
  );
  return {
    wanted: {
      record: {
        state: identity.state,
        mac: identity.mac === '' ? null : identity.mac,
        ipv4: v4[0] ?? null,
        ipv6: v6[0] ?? null,
        hasMore: ordered.length > 0,
        modes: input.modes,
        sampling: input.sampling,
        quarantineUntilNs: input.quarantineUntilNs,
        auditUntilNs: input.auditUntilNs,
      },
      grants: ordered.slice(0, MAX_GRANTS),
      probePorts: [...ports.values()].slice(0, MAX_PROBE_PORTS),
    },
    omitted: Math.max(0, ordered.length - MAX_GRANTS) + Math.max(0, ports.size - MAX_PROBE_PORTS),
  };
}

const NS_PER_SECOND = 1_000_000_000n;
/** Ends of quarantine and break-glass are recomputed from wall time at each pass: a drift below a second is no change. */
function sameEnd(a: bigint, b: bigint): boolean {
  if (a === 0n || b === 0n) return a === b;
  return (a > b ? a - b : b - a) < NS_PER_SECOND;
}

function sameRecord(a: KernelEntries['record'], b: KernelEntries['record']): boolean {
  return (
    a.state === b.state &&
    a.mac === b.mac &&
    a.ipv4 === b.ipv4 &&
    a.ipv6 === b.ipv6 &&
    a.hasMore === b.hasMore &&
    Object.entries(a.modes).every(([vector, mode]) => b.modes[vector as keyof VectorModes] === mode) &&
    a.sampling?.burst === b.sampling?.burst &&
    a.sampling?.perSecond === b.sampling?.perSecond &&
    sameEnd(a.quarantineUntilNs, b.quarantineUntilNs) &&
    sameEnd(a.auditUntilNs, b.auditUntilNs)
  );
}

const grantKey = (grant: AddressGrant): string => `${grant.cidr}${grant.neighbour ? '+' : ''}`;
const portKey = (port: ProbePort): string => `${port.protocol}/${port.port}`;
const sameSet = <T>(a: readonly T[], b: readonly T[], key: (item: T) => string): boolean => {
  const keys = new Set(a.map(key));
  return a.length === b.length && b.every((item) => keys.has(key(item)));
};

/** Steps that turn `current` into `wanted`; none when they are the same. `current` null: what is in the kernel is not known, all is written. */
export function planIface(current: KernelEntries | null, wanted: KernelEntries): MapStep[] {
  const steps: MapStep[] = [];
  const before = current?.grants ?? [];
  const writeRecord = current === null || !sameRecord(current.record, wanted.record);
  const grantsDiffer = current === null || !sameSet(before, wanted.grants, grantKey);
  if (current === null || !sameSet(current.probePorts, wanted.probePorts, portKey))
    steps.push({ step: 'probe-ports', probePorts: wanted.probePorts });
  if (grantsDiffer && writeRecord) {
    // The union stands while the record changes: an address that moves between inline and looked-up is never missing.
    const union = new Map([...before, ...wanted.grants].map((g) => [g.cidr, g]));
    steps.push({ step: 'grants', grants: [...union.values()] });
  }
  if (writeRecord) steps.push({ step: 'record', record: wanted.record });
  if (grantsDiffer) steps.push({ step: 'grants', grants: wanted.grants });
  return steps;
}

/**
 * What is wanted while not everything was said: an end or mode that the bus has not spoken of stays as it stands in the kernel, and so
 * does an identity that only an earlier process knew (the bus's, while no snapshot is known; any, while nobody says whose it is).
 */
export function keepUnsaid(
  wanted: KernelEntries,
  current: KernelEntries | null,
  said: { pods: boolean; quarantine: boolean; spoof: boolean; disarm: boolean; bound: boolean },
): KernelEntries {
  if (current === null) return wanted;
  const was = current.record;
  const keepsIdentity = said.bound ? !said.pods && was.state === 'programmed' : was.state !== 'unknown';
  const { state, mac, ipv4, ipv6, hasMore } = keepsIdentity ? was : wanted.record;
  return {
    record: {
      state,
      mac,
      ipv4,
      ipv6,
      hasMore,
      modes: said.spoof ? wanted.record.modes : was.modes,
      sampling: said.spoof ? wanted.record.sampling : was.sampling,
      quarantineUntilNs: said.quarantine && said.bound ? wanted.record.quarantineUntilNs : was.quarantineUntilNs,
      auditUntilNs: said.disarm ? wanted.record.auditUntilNs : was.auditUntilNs,
    },
    grants: keepsIdentity ? current.grants : wanted.grants,
    probePorts: keepsIdentity ? current.probePorts : wanted.probePorts,
  };
}
