/**
 * Which foreign source prefixes, MACs, neighbour addresses and tunnel peers a pod may use. Two keys
 * turn the lock: the pod asks by annotation, the administrator permits it to the namespace,
 * optionally for one service account or workload. Either alone grants nothing. Pure.
 */
import { isPermitFor, type PermitScope, type PermittedPod, type SpoofCluster } from '@bailiff/policy';
import { canonicalCidr, covers } from './addresses.ts';

/** Comma-separated CIDRs. */
export const PREFIX_ANNOTATION = 'bailiff.dev/allowed-source-prefixes';
/** Comma-separated MACs, for example of a virtual machine in the pod. */
export const MAC_ANNOTATION = 'bailiff.dev/allowed-macs';
/** Comma-separated CIDRs that the pod sends tunnels to. */
export const TUNNEL_ANNOTATION = 'bailiff.dev/allowed-tunnel-peers';
/** Comma-separated CIDRs that the pod also announces in ARP and ND, for example virtual addresses. */
export const NEIGHBOUR_ANNOTATION = 'bailiff.dev/allowed-neighbour-prefixes';
/**
 * Prefixes of one pod: a collector's map holds 64 further addresses and prefixes for an interface,
 * dual-stack ones included.
 */
export const MAX_PREFIXES_PER_POD = 32;
export const MAX_MACS_PER_POD = 8;
export const MAX_TUNNEL_PEERS_PER_POD = 16;
export const MAX_NEIGHBOURS_PER_POD = 8;
/**
 * A longer annotation is refused as a whole before it is parsed: 32 prefixes of the longest
 * spelling take 1.6 kB.
 */
export const MAX_ANNOTATION_CHARS = 4_096;

/** What a pod asks for. */
export interface GrantRequest {
  /** Canonical CIDRs or MACs, in order, each once. */
  values: string[];
  /** Entries that are invalid or over the bound. */
  refused: number;
}

/** Pods, and what they may ask for. */
export interface Permit extends PermitScope {
  /** Canonical CIDRs, or first bytes of MACs. */
  values: readonly string[];
}

/** The administrator's key. */
export interface Permits {
  prefixes: readonly Permit[];
  macs: readonly Permit[];
  tunnels: readonly Permit[];
  neighbours: readonly Permit[];
}

export const NO_PERMITS: Permits = { prefixes: [], macs: [], tunnels: [], neighbours: [] };

/** What a pod asks for, by kind. */
export type GrantRequests = Readonly<Record<keyof Permits, GrantRequest>>;

const requestOf = (canonical: (text: string) => string | null, most: number) => {
  /** Reads the annotation; absent or empty asks for nothing. The API server takes 256 KiB of it. */
  return (annotation: string | undefined): GrantRequest => {
    if (annotation !== undefined && annotation.length > MAX_ANNOTATION_CHARS) return { values: [], refused: 1 };
    const entries = (annotation ?? '').split(',').map((entry) => entry.trim());
    const asked = entries.filter((entry) => entry !== '').map(canonical);
    const valid = [...new Set(asked.filter((value) => value !== null))];
    const refused = asked.filter((value) => value === null).length + Math.max(0, valid.length - most);
    return { values: valid.slice(0, most), refused };
  };
};

/** Lower case; null if it is no MAC of one interface: a group address, or all zero. */
function canonicalMac(text: string): string | null {
  const mac = text.toLowerCase();
  return /^[0-9a-f][02468ace](:[0-9a-f]{2}){5}$/.test(mac) && mac !== '00:00:00:00:00:00' ? mac : null;
}

const requestedPrefixes = requestOf(canonicalCidr, MAX_PREFIXES_PER_POD);
const requestedMacs = requestOf(canonicalMac, MAX_MACS_PER_POD);

const requestedTunnels = requestOf(canonicalCidr, MAX_TUNNEL_PEERS_PER_POD);
const requestedNeighbours = requestOf(canonicalCidr, MAX_NEIGHBOURS_PER_POD);

/** Requests of a pod's annotations. */
export function grantRequests(annotations: Readonly<Record<string, string>> = {}): GrantRequests {
  return {
    prefixes: requestedPrefixes(annotations[PREFIX_ANNOTATION]),
    macs: requestedMacs(annotations[MAC_ANNOTATION]),
    tunnels: requestedTunnels(annotations[TUNNEL_ANNOTATION]),
    neighbours: requestedNeighbours(annotations[NEIGHBOUR_ANNOTATION]),
  };
}

type PermitConfig = Pick<SpoofCluster, 'allowedPrefixes' | 'allowedMacs' | 'allowedTunnels' | 'allowedNeighbours'>;

/** Permits from the cluster's configuration. */
export function permitsOf(config: PermitConfig): Permits {
  const canonical = (cidrs: readonly string[]) => cidrs.map(canonicalCidr).filter((cidr) => cidr !== null);
  return {
    prefixes: config.allowedPrefixes.map(({ prefixes, ...scope }) => ({ ...scope, values: canonical(prefixes) })),
    macs: config.allowedMacs.map(({ macs, ...scope }) => ({ ...scope, values: macs })),
    tunnels: config.allowedTunnels.map(({ peers, ...scope }) => ({ ...scope, values: canonical(peers) })),
    neighbours: config.allowedNeighbours.map(({ prefixes, ...scope }) => ({ ...scope, values: canonical(prefixes) })),
  };
}

const isWithin: Readonly<Record<keyof Permits, (outer: string, inner: string) => boolean>> = {
  prefixes: covers,
  // A permit has whole bytes.
  macs: (outer, mac) => mac === outer || mac.startsWith(`${outer}:`),
  tunnels: covers,
  neighbours: covers,
};

/** What a pod gets out of what it asks for. */
export function granted(requests: GrantRequests, pod: PermittedPod, permits: Permits): Record<keyof Permits, string[]> {
  const ofKind = (kind: keyof Permits): string[] => {
    const asked = requests[kind].values;
    if (asked.length === 0) return [];
    const own = permits[kind].filter((permit) => isPermitFor(permit, pod));
    return asked.filter((value) => own.some(({ values }) => values.some((outer) => isWithin[kind](outer, value))));
  };
  return {
    prefixes: ofKind('prefixes'),
    macs: ofKind('macs'),
    tunnels: ofKind('tunnels'),
    neighbours: ofKind('neighbours'),
  };
}
