/**
 * Finds links in the network namespaces of pods whose other part is in the node's: a pod with
 * CAP_NET_ADMIN and no user namespace can make a macvlan on the node's bridge, or a VXLAN device whose
 * socket is the node's. What it sends there passes no guard.
 *
 * Data path: timer → links of the namespaces at the other ends of guarded interfaces, some of them at a
 * time → `foreignLinks` → status. This only reports: the rule foreign-network of escape-guard and a user
 * namespace prevent such links.
 *
 * A namespace counts if two looks in a row find such links, because CNI makes a macvlan before it writes
 * its record.
 */

import type { LinkRecord } from '@bailiff/bpf';
import type { CniRecord } from '../../identity/cni-record.ts';
import type { OnProblem } from '../../process/problem-log.ts';
import type { GuardedInterface } from './guarded-interface.ts';

/** Interval of looks: one takes 12 ms for 250 pods. */
export const LINKS_MS = 5_000;
/** Links that are read of one namespace: a pod can have a hundred thousand. */
export const MAX_LINKS = 256;
/** Links that one look reads. The next look begins after the last namespace of this one. */
export const MAX_LINKS_PER_LOOK = 1_024;
/** Links that are named. */
const MAX_NAMED = 4;

/** The guard finds and judges the ends of pairs in the node's namespace. */
const PAIRS: ReadonlySet<string> = new Set(['veth', 'netkit']);
/**
 * Kinds that lie on a link of any namespace, and of which the kernel does not name it (no get_link_net). Pods have no
 * use of their own for them, so all are reported, also those on a link of the pod.
 */
const UNNAMED: ReadonlySet<string> = new Set(['ipvtap', 'hsr', 'virt_wifi']);

type Link = Pick<LinkRecord, 'ifindex' | 'kind' | 'linkNetnsid' | 'name' | 'peerIfindex'>;
type Iface = Pick<GuardedInterface, 'binding' | 'foreignLinks' | 'hasUnreadLinks' | 'link'>;

/** For people: what is reported of an interface. */
export const foreignReason = (links: readonly string[]): string =>
  `its pod has links with a part in the network of the node, which no guard judges: ${links.join(', ')}`;

export interface ForeignLinksOptions<I extends Iface> {
  onProblem: OnProblem;
  registry: { allLive(): Iterable<I> };
  cniRecords(): readonly CniRecord[];
  /** The first links of a namespace. EINVAL: no namespace has the id. */
  readLinks(nsid: number, atMost: number): Link[];
  /** Name of a link of the node. */
  nameOf(ifindex: number): string | undefined;
  /** Id that the node's namespace has for itself; reading a link with a part there assigns it. */
  ownNsid(): number | null;
  /** What is reported of these interfaces changed. */
  onChanged(changed: readonly I[]): void;
}

export class ForeignLinks<I extends Iface = GuardedInterface> {
  readonly #o: ForeignLinksOptions<I>;
  /** Namespaces in which the last look found such links. */
  readonly #suspected = new Set<number>();
  /** The namespace that the last look ended with. */
  #last = -1;

  constructor(options: ForeignLinksOptions<I>) {
    this.#o = options;
  }

  /** Call it on a timer. */
  check(): void {
    const byNamespace = this.#namespaces();
    for (const nsid of this.#suspected) if (!byNamespace.has(nsid)) this.#suspected.delete(nsid);
    const changed: I[] = [];
    let left = MAX_LINKS_PER_LOOK;
    for (const nsid of inTurn([...byNamespace.keys()], this.#last)) {
      const ifaces = byNamespace.get(nsid) as I[];
      const links = this.#read(nsid, ifaces);
      if (links !== null) changed.push(...this.#judge(nsid, ifaces, links));
      this.#last = nsid;
      left -= links?.length ?? 1;
      if (left <= 0) break;
    }
    if (changed.length > 0) this.#o.onChanged(changed);
  }

  #namespaces(): Map<number, I[]> {
    const byNamespace = new Map<number, I[]>();
    for (const iface of this.#o.registry.allLive()) {
      const { linkNetnsid } = iface.link;
      if (linkNetnsid !== null) byNamespace.set(linkNetnsid, [...(byNamespace.get(linkNetnsid) ?? []), iface]);
    }
    return byNamespace;
  }

  /** null: the namespace is gone, or cannot be read. */
  #read(nsid: number, [first]: readonly I[]): Link[] | null {
    try {
      return this.#o.readLinks(nsid, MAX_LINKS);
    } catch (error) {
      if ((error as { errnoName?: string }).errnoName === 'EINVAL') return null;
      const reason = `the links of its pod cannot be read: ${(error as Error).message}`;
      this.#o.onProblem(first?.link.name ?? '', reason, error);
      return null;
    }
  }

  /** @returns the interfaces whose report changed */
  #judge(nsid: number, ifaces: readonly I[], links: readonly Link[]): I[] {
    const foreign = this.#foreignOf(links, ifaces);
    const isConfirmed = foreign.length > 0 && this.#suspected.has(nsid);
    if (foreign.length > 0) this.#suspected.add(nsid);
    else this.#suspected.delete(nsid);
    const named = isConfirmed ? this.#namesOf(foreign) : [];
    // One interface of the pod reports them.
    return ifaces.filter((iface, index) => {
      const [foreignLinks, hasUnreadLinks] = index === 0 ? [named, links.length >= MAX_LINKS] : [[], false];
      const isSame = foreignLinks.join() === iface.foreignLinks.join() && hasUnreadLinks === iface.hasUnreadLinks;
      Object.assign(iface, { foreignLinks, hasUnreadLinks });
      return !isSame;
    });
  }

  #foreignOf(links: readonly Link[], ifaces: readonly I[]): Link[] {
    const elsewhere = links.filter(
      ({ kind, linkNetnsid }) => UNNAMED.has(kind) || (linkNetnsid !== null && !PAIRS.has(kind)),
    );
    if (elsewhere.length === 0) return [];
    const own = this.#o.ownNsid();
    const made = madeByCni(ifaces, this.#o.cniRecords());
    const isForeign = ({ kind, linkNetnsid }: Link) => UNNAMED.has(kind) || linkNetnsid === own;
    return elsewhere.filter((link) => isForeign(link) && !made.has(link.name));
  }

  /** For people: `own0 (macvlan on br0)`. */
  #namesOf(links: readonly Link[]): string[] {
    const named = links.slice(0, MAX_NAMED).map(({ ifindex, kind, name, peerIfindex }) => {
      // The kernel names a device without a parent as its own one.
      const hasParent = peerIfindex !== null && peerIfindex !== ifindex && !UNNAMED.has(kind);
      const parent = hasParent ? this.#o.nameOf(peerIfindex) : undefined;
      return `${name} (${kind}${parent === undefined ? '' : ` on ${parent}`})`;
    });
    const more = links.length - named.length;
    return more > 0 ? [...named, `${more} more`] : named;
  }
}

/** Begins after the last one. */
function inTurn(nsids: number[], last: number): number[] {
  const sorted = nsids.sort((a, b) => a - b);
  return [...sorted.filter((nsid) => nsid > last), ...sorted.filter((nsid) => nsid <= last)];
}

/** Names of the links that CNI made in a pod, except ends of pairs. */
function madeByCni(ifaces: readonly Iface[], records: Iterable<CniRecord>): ReadonlySet<string> {
  const pods = new Set(ifaces.map(({ binding }) => binding?.podUid));
  const pairs = new Set(ifaces.map(({ binding }) => binding?.ifName));
  const names = new Set<string>();
  for (const { podUid, ifName, hostInterfaces } of records)
    if (hostInterfaces.length === 0 && pods.has(podUid) && !pairs.has(ifName)) names.add(ifName);
  return names;
}
