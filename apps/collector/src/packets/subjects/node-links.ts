/**
 * Links of the node's network. A pod can leave links without a kind there (left-links.ts), as many as its memory has
 * room for, each with 64 KiB of alternative names: to read 1 GiB of them takes seconds. So links of the kinds that
 * matter are asked for by kind, and of all others a bounded number is read.
 */
import { dumpLinksOf, firstLinks, getLink, type LinkRecord } from '@bailiff/bpf';
import { isLeft } from './left-links.ts';

/** Kinds of host sides of pods. */
export const HOST_KINDS: readonly string[] = ['veth', 'netkit'];
/** Bridges have the MACs of gateways. */
const READ_BY_KIND: readonly string[] = [...HOST_KINDS, 'bridge'];
/** Limit of links that are read whatever their kind is, from Linux 6.9 on those with the lowest indexes. */
export const MAX_OF_ALL_KINDS = 1_024;

/** All links that can be host sides of pods, with counters. */
export const hostSides = (): LinkRecord[] => HOST_KINDS.flatMap((kind) => dumpLinksOf(kind));

/**
 * All host sides and bridges, and the first links of other kinds.
 * @param guarded indexes that are asked for one by one if the lists lack them: a link with 64 KiB of alternative
 *   names ends the list of its kind without an error
 */
export function nodeLinks(guarded: readonly number[] = []): LinkRecord[] {
  const others = firstLinks(MAX_OF_ALL_KINDS).filter(({ kind }) => !READ_BY_KIND.includes(kind));
  const links = [...others, ...READ_BY_KIND.flatMap((kind) => dumpLinksOf(kind))];
  const known = new Set(links.map(({ ifindex }) => ifindex));
  return [...links, ...guarded.flatMap((ifindex) => (known.has(ifindex) ? [] : (getLink(ifindex) ?? [])))];
}

/** Without those that a pod left: it chooses their MACs, also that of a neighbour. */
export const ownLinks = (): LinkRecord[] => nodeLinks().filter((link) => !isLeft(link));
