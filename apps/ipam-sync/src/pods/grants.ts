/**
 * Which foreign source prefixes and MACs a pod may use. Two keys turn the lock: the pod asks by
 * annotation, the administrator permits it to the namespace, optionally for one service account or
 * workload. Either alone grants nothing. Pure.
 */
import { isPermitFor, type PermitScope, type PermittedPod } from '@bailiff/policy';
import { canonicalCidr, covers } from './addresses.ts';

/** Comma-separated CIDRs. */
export const PREFIX_ANNOTATION = 'bailiff.dev/allowed-source-prefixes';
/** Comma-separated MACs, for example of a virtual machine in the pod. */
export const MAC_ANNOTATION = 'bailiff.dev/allowed-macs';
/**
 * Prefixes of one pod: a collector's map holds 64 further addresses and prefixes for an interface,
 * dual-stack ones included.
 */
export const MAX_PREFIXES_PER_POD = 32;
export const MAX_MACS_PER_POD = 8;
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
}

export const NO_PERMITS: Permits = { prefixes: [], macs: [] };

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

export const requestedPrefixes = requestOf(canonicalCidr, MAX_PREFIXES_PER_POD);
export const requestedMacs = requestOf(canonicalMac, MAX_MACS_PER_POD);

/** Permits from the cluster's configuration. */
export function permitsOf(
  allowedPrefixes: readonly (PermitScope & { prefixes: readonly string[] })[],
  allowedMacs: readonly (PermitScope & { macs: readonly string[] })[] = [],
): Permits {
  return {
    prefixes: allowedPrefixes.map(({ prefixes, ...scope }) => ({
      ...scope,
      values: prefixes.map(canonicalCidr).filter((cidr) => cidr !== null),
    })),
    macs: allowedMacs.map(({ macs, ...scope }) => ({ ...scope, values: macs })),
  };
}

function granted(
  asked: readonly string[],
  pod: PermittedPod,
  permits: readonly Permit[],
  isWithin: (outer: string, inner: string) => boolean,
): string[] {
  if (asked.length === 0) return [];
  const own = permits.filter((permit) => isPermitFor(permit, pod));
  return asked.filter((value) => own.some(({ values }) => values.some((outer) => isWithin(outer, value))));
}

/** The prefixes that a pod gets out of those it asks for. */
export const grantedPrefixes = (asked: readonly string[], pod: PermittedPod, { prefixes }: Permits): string[] =>
  granted(asked, pod, prefixes, covers);

/** The same for MACs. A permit holds whole bytes. */
export const grantedMacs = (asked: readonly string[], pod: PermittedPod, { macs }: Permits): string[] =>
  granted(asked, pod, macs, (outer, mac) => mac === outer || mac.startsWith(`${outer}:`));
