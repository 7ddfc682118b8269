/**
 * Finds out whose an interface is, and binds it once: by CNI record as soon as there is one; else, after a while in which the
 * runtime could still write it, by the namespace of the pod's oldest process, once the bus lists that pod with its addresses. What stays unbound is
 * tried again on a slow timer and shown in the node's status.
 */
import { dumpLinks, getNsid } from '@bailiff/bpf';
import type { CniRecord } from './cni-record.ts';
import { type Bearer, type Binding, bindByCni, type LinkFacts, NOT_OWN_MAC, recordFor, replaces } from './identity.ts';
import { listPodCgroups, oldestProcess } from './pod-cgroups.ts';
import type { Announcement } from './stall-detector.ts';

/** When, after an interface appeared, its pod is looked for by namespace. The runtime writes its record within a second. */
export const FALLBACK_AFTER_MS = [1_000, 2_000, 4_000, 8_000, 15_000] as const;

/** Spent records remembered at most, as many as the folder may hold: the oldest is forgotten first. */
const MAX_SPENT = 4096;

/** What a binder reads and writes of an interface. */
export interface BindableInterface {
  readonly link: LinkFacts;
  binding: Binding | null;
  /** UID of the pod that was found by namespace while the bus does not list it; empty otherwise. */
  unlistedPod?: string;
  readonly announced: Announcement | null;
  readonly gone: boolean;
}

export interface BinderOptions<I extends BindableInterface> {
  cniRecords(): Iterable<CniRecord>;
  /** cgroup-v2 root that holds kubepods; empty = no fallback. */
  cgroupRoot: string;
  /** Addresses under which the bus lists a pod of this node; empty: it does not. */
  listedAddresses(podUid: string): string[];
  onBound(iface: I): void;
  /** A newer record says that the interface is another pod's than it was bound to. */
  onReplaced(iface: I): void;
  wallMs(): number;
  onProblem(problem: { interfaceName: string; reason: string; error?: unknown }): void;
}

export class Binder<I extends BindableInterface> {
  readonly #o: BinderOptions<I>;
  readonly #timers = new Map<I, NodeJS.Timeout>();
  /** Files of records whose interface went: each is named by its sandbox, so that a later one has another. */
  readonly #spent = new Set<string>();

  constructor(options: BinderOptions<I>) {
    this.#o = options;
  }

  /** Binds now if it can, otherwise sees to it that it is tried again. @returns whether the interface is bound */
  bind(iface: I): boolean {
    if (this.bindFromCni(iface)) return true;
    if (!iface.binding && !this.#timers.has(iface)) this.#later(iface, 0);
    return iface.binding !== null;
  }

  /**
   * A record is root's word, so it also replaces what was read from the pod's own namespace. A newer record of another pod ends the
   * generation, when the binding may have been made by a record that was left over (see replaces).
   * @returns whether the interface is bound now and was not before
   */
  bindFromCni(iface: I): boolean {
    if (iface.gone) return false;
    const record = recordFor(this.#bearer(iface), this.#o.cniRecords());
    if (!record) return false;
    if (iface.binding?.source === 'cni') {
      if (replaces(record, iface.binding)) {
        this.#o.onReplaced(iface);
      } else if (record.podUid !== iface.binding.podUid) {
        const reason = `record ${record.file} says that it is of pod ${record.podUid}, and it is bound to ${iface.binding.podUid}`;
        this.#o.onProblem({ interfaceName: iface.link.name, reason });
      }
      return false;
    }
    this.#take(iface, this.#bindingBy(iface, record));
    return true;
  }

  #bearer(iface: I): Bearer {
    return {
      link: iface.link,
      notBeforeMs: iface.announced?.notBeforeMs ?? 0,
      isSpent: ({ file }) => this.#spent.has(file),
    };
  }

  #bindingBy(iface: I, record: CniRecord): Binding {
    return bindByCni(iface.link, record, iface.announced?.readAtMs ?? this.#o.wallMs());
  }

  /** Its record went with it: the next bearer of the name is bound by another. */
  went(iface: I): void {
    this.forget(iface);
    if (iface.binding?.recordFile === undefined) return;
    if (this.#spent.size >= MAX_SPENT) this.#spent.delete(this.#spent.keys().next().value as string);
    this.#spent.add(iface.binding.recordFile);
  }

  #take(iface: I, binding: Binding): void {
    this.forget(iface);
    iface.unlistedPod = '';
    iface.binding = binding;
    this.#o.onBound(iface);
  }

  #later(iface: I, attempt: number): void {
    const after = FALLBACK_AFTER_MS[Math.min(attempt, FALLBACK_AFTER_MS.length - 1)] as number;
    const timer = setTimeout(() => {
      this.#timers.delete(iface);
      if (iface.gone || iface.binding || this.#look(iface)) return;
      this.#later(iface, attempt + 1);
    }, after);
    timer.unref();
    this.#timers.set(iface, timer);
  }

  /** The list of pods may have changed: binds an interface whose pod was found and not listed. @returns whether it is bound now */
  listed(iface: I): boolean {
    const { unlistedPod = '' } = iface;
    if (unlistedPod === '' || iface.gone || iface.binding) return false;
    return this.#o.listedAddresses(unlistedPod).length > 0 && this.#look(iface);
  }

  /** @returns whether the interface is bound now */
  #look(iface: I): boolean {
    try {
      if (this.bindFromCni(iface)) return true;
      const found = this.#o.cgroupRoot === '' ? null : bindByNamespace(iface, this.#o.cgroupRoot);
      if (found) return this.#takeFound(iface, found);
      iface.unlistedPod = '';
    } catch (error) {
      this.#o.onProblem({
        interfaceName: iface.link.name,
        reason: `looking for its pod failed: ${(error as Error).message}`,
        error,
      });
    }
    return false;
  }

  /** The namespace names a pod: a record of that very pod says more, whatever its age; without one the bus says its addresses. */
  #takeFound(iface: I, found: Binding): boolean {
    const records = [...this.#o.cniRecords()].filter((record) => record.podUid === found.podUid);
    const record = recordFor({ link: iface.link, notBeforeMs: 0, isSpent: () => false }, records);
    const addresses = this.#o.listedAddresses(found.podUid);
    if (record) this.#take(iface, this.#bindingBy(iface, record));
    else if (addresses.length > 0) this.#take(iface, { ...found, addresses });
    else iface.unlistedPod = found.podUid;
    return iface.binding !== null;
  }

  forget(iface: I): void {
    const timer = this.#timers.get(iface);
    if (timer) clearTimeout(timer);
    this.#timers.delete(iface);
  }

  close(): void {
    for (const timer of this.#timers.values()) clearTimeout(timer);
    this.#timers.clear();
  }
}

/**
 * The pod whose oldest process lives in the namespace at the other end of the interface, without addresses: those on the pod's side are the
 * pod's to choose. Its MAC is as well, so one that a link of the node has is not believed. null: no pod's process is there yet.
 */
export function bindByNamespace(iface: Pick<BindableInterface, 'link'>, cgroupRoot: string): Binding | null {
  // The dump comes first: it is what gives namespaces their ids.
  const links = dumpLinks();
  const link = links.find((l) => l.ifindex === iface.link.ifindex);
  if (!link || link.linkNetnsid === null) return null;
  for (const cgroup of listPodCgroups(cgroupRoot)) {
    const pid = oldestProcess(cgroup.path);
    if (pid === null) continue;
    let nsid: number | null;
    try {
      nsid = getNsid({ pid });
    } catch (error) {
      // The process went between the two looks.
      if (['ESRCH', 'EINVAL', 'ENOENT'].includes((error as { errnoName?: string }).errnoName ?? '')) continue;
      throw error;
    }
    if (nsid !== link.linkNetnsid) continue;
    const peer = dumpLinks({ targetNsid: nsid }).find((l) => l.ifindex === link.peerIfindex);
    if (!peer) return null;
    return {
      source: 'netns',
      podUid: cgroup.podUid,
      podNamespace: '',
      podName: '',
      ifName: peer.name,
      mac: links.some(({ mac }) => mac === peer.mac) ? NOT_OWN_MAC : peer.mac,
      addresses: [],
      link: { name: link.name, mac: link.mac, linkNetnsid: link.linkNetnsid },
    };
  }
  return null;
}
