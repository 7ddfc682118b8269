/**
 * Plans the map writes that bring the entries of one interface to the desired ones. Pure.
 *
 * The order of the steps never drops a valid address: new grants are written before the record that
 * no longer has them inline, and old grants are removed after it.
 */
import {
  type AddressGrant,
  covers,
  type IfaceRecord,
  isMac,
  type ProbePort,
  parseCidr,
  type VectorModes,
} from '@bailiff/bpf';
import { type Identity, NOT_OWN_MAC, ZERO_MAC } from '../../identity/identity.ts';
import type { KernelEntries } from '../subjects/guarded-interface.ts';
import { grantsOf, MAX_GRANTS } from './grants.ts';

export type MapStep =
  | { step: 'grants'; grants: AddressGrant[] }
  | { step: 'probe-ports'; probePorts: ProbePort[] }
  | { step: 'record'; record: KernelEntries['record'] };

/** Limit of probe ports per pod. */
export const MAX_PROBE_PORTS = 32;

export interface DesiredInput {
  identity: Identity;
  /** Addresses of other interfaces of the node, which no granted prefix lets the pod announce. */
  takenAddresses: readonly string[];
  /** Their number beyond those. */
  moreTaken?: number;
  /** Addresses of other interfaces of the pod. */
  otherAddresses?: readonly string[];
  modes: VectorModes;
  /** null: the node-wide setting. */
  sampling: IfaceRecord['sampling'];
  quarantineUntilNs: bigint;
  auditUntilNs: bigint;
  orphaned: boolean;
  netkit: boolean;
  probePorts: readonly { port: number; protocol: 'TCP' | 'UDP' }[];
}

/**
 * Splits an identity into inline addresses and grants, which the kernel looks up.
 * @returns `omitted`: grants and ports beyond the limits
 */
export function desiredEntries(input: DesiredInput): { entries: KernelEntries; omitted: number } {
  const { identity } = input;
  const v4 = identity.addresses.filter((a) => !a.includes(':'));
  const v6 = identity.addresses.filter((a) => a.includes(':'));
  const { grants, omitted } = grantsOf(identity, input.takenAddresses, input.moreTaken, input.otherAddresses);
  const ports = new Map(
    input.probePorts.map((p) => [
      `${p.protocol}/${p.port}`,
      { port: p.port, protocol: p.protocol === 'TCP' ? 'tcp' : 'udp' } as ProbePort,
    ]),
  );
  return {
    entries: {
      record: {
        state: identity.state,
        mac: identity.mac === '' ? null : identity.mac,
        ipv4: v4[0] ?? null,
        ipv6: v6[0] ?? null,
        hasMore: grants.length > 0,
        modes: input.modes,
        sampling: input.sampling,
        quarantineUntilNs: input.quarantineUntilNs,
        auditUntilNs: input.auditUntilNs,
        orphaned: input.orphaned,
        netkit: input.netkit,
      },
      grants,
      probePorts: [...ports.values()].slice(0, MAX_PROBE_PORTS),
    },
    omitted: omitted + Math.max(0, ports.size - MAX_PROBE_PORTS),
  };
}

const NS_PER_SECOND = 1_000_000_000n;
/**
 * Each pass computes the ends of quarantine and disarm from wall time: a drift below a second is no
 * change.
 */
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
    sameEnd(a.auditUntilNs, b.auditUntilNs) &&
    (a.orphaned ?? false) === (b.orphaned ?? false) &&
    (a.netkit ?? false) === (b.netkit ?? false)
  );
}

export const keyOfGrant = ({ cidr, neighbour, source = true, tunnel = false, other = false }: AddressGrant): string =>
  `${cidr} ${neighbour} ${source} ${tunnel} ${other}`;
const keyOfPort = (port: ProbePort): string => `${port.protocol}/${port.port}`;
const sameSet = <T>(a: readonly T[], b: readonly T[], key: (item: T) => string): boolean => {
  const keys = new Set(a.map(key));
  return a.length === b.length && b.every((item) => keys.has(key(item)));
};

/** @param current null: the entries in the kernel are unknown, so everything is written */
export function planInterface(current: KernelEntries | null, desired: KernelEntries): MapStep[] {
  const steps: MapStep[] = [];
  const before = current?.grants ?? [];
  const writeRecord = current === null || !sameRecord(current.record, desired.record);
  const grantsDiffer = current === null || !sameSet(before, desired.grants, keyOfGrant);
  if (current === null || !sameSet(current.probePorts, desired.probePorts, keyOfPort))
    steps.push({ step: 'probe-ports', probePorts: desired.probePorts });
  if (grantsDiffer && writeRecord) {
    // The union while the record changes: an address that moves between record and grants is never
    // missing.
    const union = new Map([...before, ...desired.grants].map((g) => [g.cidr, g]));
    steps.push({ step: 'grants', grants: [...union.values()] });
  }
  if (writeRecord) steps.push({ step: 'record', record: desired.record });
  if (grantsDiffer) steps.push({ step: 'grants', grants: desired.grants });
  return steps;
}

/**
 * Addresses of other interfaces of the pod beside grants that are kept. None is within one of those: its entry would
 * be the longest match, and has no right.
 */
function othersBeside(kept: readonly AddressGrant[], desired: readonly AddressGrant[]): AddressGrant[] {
  const prefixes = kept.flatMap(({ cidr }) => (isMac(cidr) ? [] : [parseCidr(cidr)]));
  const isCovered = (cidr: string) => prefixes.some((prefix) => covers(prefix, parseCidr(cidr)));
  const others = desired.filter(({ cidr, other }) => other && !isCovered(cidr));
  return others.slice(0, Math.max(0, MAX_GRANTS - kept.length));
}

/**
 * Keeps the kernel's values for parts of the desired state that were not received yet: modes and
 * ends, and an identity that only an earlier process knew. That is a programmed identity while no
 * snapshot is known, and any identity while the interface is unbound.
 * @param lost addresses and a MAC that another interface has, which are never kept
 */
export function keepUnknown(
  desired: KernelEntries,
  current: KernelEntries | null,
  known: { pods: boolean; quarantine: boolean; spoof: boolean; disarm: boolean; bound: boolean },
  lost: { addresses: readonly string[]; mac: boolean } = { addresses: [], mac: false },
): KernelEntries {
  if (current === null) return desired;
  const was = current.record;
  const keepsIdentity = known.bound ? !known.pods && was.state === 'programmed' : was.state !== 'unknown';
  const isLost = (cidr: string | null) => lost.addresses.some((one) => cidr === one || cidr === hostCidr(one));
  // ZERO_MAC: by an earlier version. In mode L3 of netkit the desired one is the same.
  const isContested = was.mac === NOT_OWN_MAC || was.mac === ZERO_MAC;
  const keptAddress = (family: 'ipv4' | 'ipv6') =>
    isLost(was[family]) ? null : (was[family] ?? desired.record[family]);
  const kept = current.grants.filter(({ cidr }) => !isLost(cidr));
  const grants = keepsIdentity ? [...kept, ...othersBeside(kept, desired.grants)] : desired.grants;
  const { state, mac, ipv4, ipv6, hasMore } = keepsIdentity
    ? {
        ...was,
        hasMore: was.hasMore || grants.length > 0,
        // Not while it is unbound: then the desired state has no MAC to compare with.
        mac: lost.mac || (known.bound && isContested) ? desired.record.mac : was.mac,
        ipv4: keptAddress('ipv4'),
        ipv6: keptAddress('ipv6'),
      }
    : desired.record;
  return {
    record: {
      state,
      mac,
      ipv4,
      ipv6,
      hasMore,
      modes: known.spoof ? desired.record.modes : was.modes,
      sampling: known.spoof ? desired.record.sampling : was.sampling,
      quarantineUntilNs: known.quarantine && known.bound ? desired.record.quarantineUntilNs : was.quarantineUntilNs,
      auditUntilNs: known.disarm ? desired.record.auditUntilNs : was.auditUntilNs,
      orphaned: desired.record.orphaned ?? false,
      netkit: desired.record.netkit ?? false,
    },
    grants,
    probePorts: keepsIdentity ? current.probePorts : desired.probePorts,
  };
}

const hostCidr = (address: string): string => `${address}/${address.includes(':') ? 128 : 32}`;
