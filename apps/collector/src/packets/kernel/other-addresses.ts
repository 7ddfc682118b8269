/**
 * Addresses that other interfaces of the same pod have: by the CNI records of its sandbox, also of interfaces
 * without a guard (macvlan, SR-IOV), and by the interfaces that are bound to it. Read once for a pass over many
 * interfaces. Pure.
 *
 * They give no right. A pod that chooses its addresses (`ips` of Multus) chooses them too.
 */
import type { CniRecord } from '../../identity/cni-record.ts';
import { type Binding, recordOf } from '../../identity/identity.ts';
import { MAX_GRANTS } from './grants.ts';

export interface OtherSources {
  cniRecords(): Iterable<Pick<CniRecord, 'podUid' | 'containerId' | 'ifName' | 'addresses'>>;
  /** `addresses`: those that are in force for the binding. */
  owners(): Iterable<{ binding: Binding; addresses: readonly string[] }>;
}

interface Held {
  address: string;
  ifName: string;
  /** Empty: unknown. */
  sandbox: string;
}

const sandboxOf = (binding: Binding): string => recordOf(binding)?.sandbox ?? '';

export class OtherAddresses {
  readonly #sources: OtherSources;
  #byPod: Map<string, Held[]> | null = null;

  constructor(sources: OtherSources) {
    this.#sources = sources;
  }

  /** @returns those that are not its `own`, as many as an interface can have grants */
  of(binding: Binding, own: readonly string[]): string[] {
    const [ownSandbox, isOwn, found] = [sandboxOf(binding), new Set(own), new Set<string>()];
    this.#byPod ??= this.#read();
    for (const { address, ifName, sandbox } of this.#byPod.get(binding.podUid) ?? []) {
      // A record can outlive its sandbox, and another pod may have its addresses by now.
      const isFormer = ownSandbox !== '' && sandbox !== '' && sandbox !== ownSandbox;
      if (ifName === binding.ifName || isFormer || isOwn.has(address)) continue;
      found.add(address);
      if (found.size === MAX_GRANTS) break;
    }
    return [...found];
  }

  #read(): Map<string, Held[]> {
    const byPod = new Map<string, Held[]>();
    const add = (podUid: string, ifName: string, sandbox: string, addresses: readonly string[]) => {
      const held = byPod.get(podUid) ?? [];
      if (held.length === 0) byPod.set(podUid, held);
      for (const address of addresses) held.push({ address, ifName, sandbox });
    };
    for (const { podUid, ifName, containerId, addresses } of this.#sources.cniRecords())
      add(podUid, ifName, containerId, addresses);
    for (const { binding, addresses } of this.#sources.owners())
      add(binding.podUid, binding.ifName, sandboxOf(binding), addresses);
    return byPod;
  }
}
