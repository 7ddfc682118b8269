/**
 * MACs and addresses that links of the node and pods on it have, which no grant of another pod may use. Read
 * once for a pass over many interfaces: a pod can have hundreds of them with grants, and pods of a node have
 * tens of thousands of addresses. Pure.
 */
import { type Cidr, covers, parseCidr } from '@bailiff/bpf';
import { MAX_GRANTS } from './grants.ts';

/** The interface that alone has an address; null: a link of the node, or several interfaces. */
type Holder = number | null;

export interface TakenSources {
  owners(): Iterable<{ generation: number; podUid: string; mac: string; addresses: readonly string[] }>;
  linkMacs(): Iterable<string>;
  linkAddresses(): Iterable<string>;
}

export class Taken {
  readonly #sources: TakenSources;
  /** By MAC the pod that alone has it; null: a link of the node, or several pods. */
  #macs: Map<string, string | null> | null = null;
  #addresses: Map<string, { cidr: Cidr; holder: Holder }> | null = null;
  /** By prefixes: what all interfaces of a pod ask for. */
  readonly #within = new Map<string, readonly (readonly [address: string, holder: Holder])[]>();

  constructor(sources: TakenSources) {
    this.#sources = sources;
  }

  /** Whether a link, or another pod, has the MAC. A bond of a pod sends from the MAC of one of its interfaces on another. */
  hasMac(mac: string, podUid: string): boolean {
    this.#macs ??= this.#readMacs();
    const holder = this.#macs.get(mac);
    return holder !== undefined && holder !== podUid;
  }

  hasAddress(address: string, generation: number): boolean {
    const taken = this.#all().get(address);
    return taken !== undefined && taken.holder !== generation;
  }

  /** Addresses of others within prefixes, as many as an interface can have grants. `more`: beyond them */
  within(prefixes: readonly string[], generation: number): { addresses: string[]; more: number } {
    const addresses: string[] = [];
    let more = 0;
    for (const [address, holder] of this.#inPrefixes(prefixes)) {
      if (holder === generation) continue;
      if (addresses.length < MAX_GRANTS) addresses.push(address);
      else more += 1;
    }
    return { addresses, more };
  }

  #inPrefixes(prefixes: readonly string[]): readonly (readonly [string, Holder])[] {
    if (prefixes.length === 0) return [];
    const key = prefixes.join(' ');
    const known = this.#within.get(key);
    if (known) return known;
    const outer = prefixes.map(parseCidr);
    const found = [...this.#all()].flatMap(([address, { cidr, holder }]) =>
      outer.some((prefix) => covers(prefix, cidr)) ? [[address, holder] as const] : [],
    );
    this.#within.set(key, found);
    return found;
  }

  #readMacs(): Map<string, string | null> {
    const macs = new Map<string, string | null>([...this.#sources.linkMacs()].map((mac) => [mac, null]));
    for (const { mac, podUid } of this.#sources.owners()) {
      const before = macs.get(mac);
      macs.set(mac, before === undefined || before === podUid ? podUid : null);
    }
    return macs;
  }

  #all(): Map<string, { cidr: Cidr; holder: Holder }> {
    if (this.#addresses) return this.#addresses;
    const all = new Map<string, { cidr: Cidr; holder: Holder }>();
    for (const address of this.#sources.linkAddresses()) all.set(address, { cidr: parseCidr(address), holder: null });
    for (const { generation, addresses } of this.#sources.owners()) {
      for (const address of addresses) {
        const before = all.get(address);
        if (!before) all.set(address, { cidr: parseCidr(address), holder: generation });
        else if (before.holder !== generation) before.holder = null;
      }
    }
    this.#addresses = all;
    return all;
  }
}
