/**
 * Grants of one interface beyond its inline addresses: entries of the map `addresses`. Pure.
 *
 * The kernel uses only the longest match, so an entry has all rights that wider grants of the pod
 * have for its addresses. An address that another interface of the node has gets an entry of its
 * own: a granted prefix that contains it gives no right to announce it. One that another interface of
 * the pod has gets an entry that gives no right, where grants leave room.
 */
import { type AddressGrant, type Cidr, covers, formatCidr, parseCidr } from '@bailiff/bpf';
import type { Identity } from '../../identity/identity.ts';

/** Limit of grants per interface; the others are omitted and reported. */
export const MAX_GRANTS = 64;

const isSingle = ({ family, prefixLength }: Cidr): boolean => prefixLength === (family === 4 ? 32 : 128);

/** Whether the grant is of one address. */
export const isSingleAddress = ({ cidr }: AddressGrant): boolean => isSingle(parseCidr(cidr));

/** Whether a grant is of the MAC, or permits to announce one of the addresses. */
export function grantOfAny(mac: string, addresses: readonly string[]): (grant: AddressGrant) => boolean {
  const cidrs = addresses.map(parseCidr);
  const texts = new Set(cidrs.map(formatCidr));
  return (grant) => {
    const { cidr, neighbour } = grant;
    if (!neighbour) return cidr === mac;
    if (texts.has(cidr) || isSingleAddress(grant)) return texts.has(cidr);
    const prefix = parseCidr(cidr);
    return cidrs.some((address) => covers(prefix, address));
  };
}

/** Addresses that the record has no room for: all but the first of each family. */
function furtherAddresses(addresses: readonly string[]): string[] {
  const ofFamily = (isIpv6: boolean) => addresses.filter((address) => address.includes(':') === isIpv6).slice(1);
  return [...ofFamily(false), ...ofFamily(true)];
}

/**
 * @param taken addresses of other interfaces of the node; of more than MAX_GRANTS within its prefixes, only so many
 * @param more number of the others
 * @param elsewhere addresses of other interfaces of the pod
 * @returns the pod's own addresses first, so that the limit cuts prefixes; `omitted`: grants beyond it
 */
export function grantsOf(
  identity: Identity,
  taken: readonly string[],
  more = 0,
  elsewhere: readonly string[] = [],
): { grants: AddressGrant[]; omitted: number } {
  const cidrs = (texts: readonly string[]) => texts.map(parseCidr);
  const own = cidrs(furtherAddresses(identity.addresses));
  const sources = cidrs(identity.allowedPrefixes);
  const tunnels = cidrs(identity.allowedTunnels);
  const neighbours = cidrs(identity.allowedNeighbours);
  const others = cidrs(taken).filter((address) => neighbours.some((prefix) => covers(prefix, address)));

  // A single address covers itself only.
  const ofPod = cidrs(elsewhere);
  const textsOf = (all: readonly Cidr[]) => new Set(all.map(formatCidr));
  const [ownTexts, otherTexts, ofPodTexts] = [textsOf(own), textsOf(others), textsOf(ofPod)];
  const isIn = (prefixes: readonly Cidr[], cidr: Cidr) => prefixes.some((prefix) => covers(prefix, cidr));
  const grantOf = (cidr: Cidr): AddressGrant => {
    const text = formatCidr(cidr);
    const neighbour = ownTexts.has(text) || (isIn(neighbours, cidr) && !otherTexts.has(text));
    return {
      cidr: text,
      neighbour,
      ...(neighbour || isIn(sources, cidr) ? {} : { source: false }),
      ...(isIn(tunnels, cidr) ? { tunnel: true } : {}),
      ...(!neighbour && ofPodTexts.has(text) ? { other: true } : {}),
    };
  };
  // Before the prefixes that contain them: a limit must not cut an exception and leave its prefix.
  const ordered = [...own, ...others, ...neighbours, ...sources, ...tunnels].map(grantOf);
  const macs = identity.allowedMacs.map((mac): AddressGrant => ({ cidr: mac, neighbour: false }));
  const all = new Map([...ordered, ...macs].map((grant) => [grant.cidr, grant]));
  const omitted = Math.max(0, all.size + more - MAX_GRANTS);
  // One that may be announced needs no entry of its own.
  for (const grant of ofPod.map(grantOf)) if (grant.other) all.set(grant.cidr, grant);
  return { grants: [...all.values()].slice(0, MAX_GRANTS), omitted };
}
