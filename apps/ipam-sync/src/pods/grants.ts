/**
 * Which foreign source prefixes a pod may use. Two keys turn the lock: the pod asks by annotation,
 * the administrator lists the namespace with a prefix that covers it. Either alone grants nothing.
 * Pure.
 */
import { canonicalCidr, covers } from './addresses.ts';

/** Comma-separated CIDRs. */
export const PREFIX_ANNOTATION = 'bailiff.dev/allowed-source-prefixes';
/**
 * Prefixes of one pod: a collector's map holds 64 further addresses and prefixes for an interface,
 * dual-stack ones included.
 */
export const MAX_PREFIXES_PER_POD = 32;
/**
 * A longer annotation is refused as a whole before it is parsed: 32 prefixes of the longest
 * spelling take 1.6 kB.
 */
export const MAX_ANNOTATION_CHARS = 4_096;

/** What a pod asks for. */
export interface PrefixRequest {
  /** Canonical CIDRs, in order, each once. */
  prefixes: string[];
  /** Entries that are no CIDR, or over the bound. */
  refused: number;
}

/** The administrator's key: namespace to canonical prefixes. */
export type PrefixPermits = ReadonlyMap<string, readonly string[]>;

export const NO_PERMITS: PrefixPermits = new Map();

/** Reads the annotation; absent or empty asks for nothing. The API server takes 256 KiB of it. */
export function requestedPrefixes(annotation: string | undefined): PrefixRequest {
  if (annotation !== undefined && annotation.length > MAX_ANNOTATION_CHARS) return { prefixes: [], refused: 1 };
  const entries = (annotation ?? '').split(',').map((entry) => entry.trim());
  const asked = entries.filter((entry) => entry !== '');
  const canonical = asked.map(canonicalCidr);
  const prefixes = [...new Set(canonical.filter((cidr) => cidr !== null))].slice(0, MAX_PREFIXES_PER_POD);
  const over = new Set(canonical.filter((cidr) => cidr !== null)).size - prefixes.length;
  return { prefixes, refused: canonical.filter((cidr) => cidr === null).length + over };
}

/** Permits from the cluster's configuration. A namespace that is listed twice has both lists. */
export function permitsOf(allowed: readonly { namespace: string; prefixes: readonly string[] }[]): PrefixPermits {
  const permits = new Map<string, string[]>();
  for (const { namespace, prefixes } of allowed) {
    const canonical = prefixes.map(canonicalCidr).filter((cidr) => cidr !== null);
    permits.set(namespace, [...(permits.get(namespace) ?? []), ...canonical]);
  }
  return permits;
}

/** The prefixes that a pod of a namespace gets out of those it asks for. */
export function grantedPrefixes(asked: readonly string[], namespace: string, permits: PrefixPermits): string[] {
  const permitted = permits.get(namespace);
  if (permitted === undefined) return [];
  return asked.filter((prefix) => permitted.some((outer) => covers(outer, prefix)));
}
