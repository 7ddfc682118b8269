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
  owners(): Iterable<{ binding: Binding; addresses(): readonly string[] }>;
}

interface Held {
  ifName: string;
  /** Empty: unknown. */
  sandbox: string;
  addresses(): readonly string[];
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
    for (const { ifName, sandbox, addresses } of this.#byPod.get(binding.podUid) ?? []) {
      // A record can outlive its sandbox, and another pod may have its addresses by now.
      const isFormer = ownSandbox !== '' && sandbox !== '' && sandbox !== ownSandbox;
      if (ifName === binding.ifName || isFormer) continue;
      for (const address of addresses()) if (!isOwn.has(address) && found.size < MAX_GRANTS) found.add(address);
      if (found.size === MAX_GRANTS) break;
    }
    return [...found];
  }

  /** No addresses: records of other pods may have a hundred thousand, and this is read for each pod that starts. */
  #read(): Map<string, Held[]> {
    const byPod = new Map<string, Held[]>();
    const add = (podUid: string, held: Held) => {
      const ofPod = byPod.get(podUid);
      if (ofPod) ofPod.push(held);
      else byPod.set(podUid, [held]);
    };
    for (const record of this.#sources.cniRecords())
      add(record.podUid, { ifName: record.ifName, sandbox: record.containerId, addresses: () => record.addresses });
    for (const { binding, addresses } of this.#sources.owners())
      add(binding.podUid, { ifName: binding.ifName, sandbox: sandboxOf(binding), addresses });
    return byPod;
  }
}
