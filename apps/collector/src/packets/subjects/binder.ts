/**
 * Binds each interface to its pod, once: by CNI record as soon as one exists, else by the network
 * namespace of the pod's oldest process. It searches namespaces only after the runtime had time to
 * write the record, and binds when the bus lists the pod with its addresses.
 *
 * Data path: netlink event or CNI record → here → kernel/reconciler.ts. Unbound interfaces are
 * retried on a slow timer and shown in the node's status.
 */

import { getLink, getNsid, type LinkRecord } from '@bailiff/bpf';
import { RecentMap } from '@bailiff/service';
import type { CniRecord } from '../../identity/cni-record.ts';
import {
  type Binding,
  bindByCni,
  isLayer3,
  type LinkFacts,
  NOT_OWN_MAC,
  type RecordQuery,
  recordFor,
  replaces,
  ZERO_MAC,
} from '../../identity/identity.ts';
import { listPodCgroups, oldestProcess, podStartMs } from '../../identity/pod-cgroups.ts';
import type { OnProblem } from '../../process/problem-log.ts';
import { ownLinks } from './node-links.ts';
import type { Announcement } from './stall-detector.ts';

/**
 * Delays of the searches by namespace. The runtime writes its record within a second. The last one
 * repeats.
 */
export const FALLBACK_AFTER_MS = [1_000, 2_000, 4_000, 8_000, 15_000] as const;

/** A record of a pod that starts is older than its processes. Their start has a resolution of 10 ms. */
const JOINED_SLACK_MS = 100;

/** Limit of remembered records: as many as the folder may hold. The oldest is forgotten first. */
const MAX_USED = 4096;

/** The part of an interface that a binder reads and writes. */
export interface BindableInterface {
  readonly link: LinkFacts;
  binding: Binding | null;
  /** UID of the pod that was found by namespace while the bus does not list it; empty otherwise. */
  unlistedPod?: string;
  /** null: the interface existed before the process. */
  readonly announced: Announcement | null;
  readonly gone: boolean;
}

export interface BinderOptions<I extends BindableInterface> {
  cniRecords(): readonly CniRecord[];
  /** Reads the records of folders that were missing; may bind interfaces. */
  findFolders(): void;
  /** cgroup v2 root that contains kubepods; empty: no search by namespace. */
  cgroupRoot: string;
  /** Addresses under which the bus lists a pod of this node; empty: it does not. */
  listedAddresses(podUid: string): string[];
  onBound(iface: I): void;
  /** The binding was in doubt, and is that of a former link: the caller ends this generation. */
  onReplaced(iface: I): void;
  wallMs(): number;
  /** The earliest time of an event that is read now: later than all that were read before. */
  eventMs(): number;
  onProblem: OnProblem;
}

/**
 * - bound: the interface is bound now and was not before.
 * - replaced: a newer record names another pod, so the caller ends this generation.
 * - unchanged: no record, or no news in it.
 */
export type BindResult = 'bound' | 'replaced' | 'unchanged';

/** Whether the namespace decides: a binding in doubt may be of a former link, and no record proves or refutes it. */
const isOpen = ({ binding }: BindableInterface): boolean =>
  binding === null || (binding.source === 'netns' && binding.isDoubtful === true);

export class Binder<I extends BindableInterface> {
  readonly #o: BinderOptions<I>;
  readonly #timers = new Map<I, NodeJS.Timeout>();
  /**
   * When the interface of a record was gone at the earliest, by the record's file. A pod that joins a
   * network again in the same sandbox gets a record of the same name, but a later one. It replaces no
   * binding by a record.
   */
  readonly #used = new RecentMap<string, number>(MAX_USED);

  constructor(options: BinderOptions<I>) {
    this.#o = options;
  }

  /** Binds by record, or starts the search by namespace. */
  bindOrRetry(iface: I): void {
    if (!isOpen(iface) || this.bindFromCni(iface) === 'bound') return;
    if (!this.#timers.has(iface)) this.#retryLater(iface, 0);
  }

  /**
   * Binds by the CNI record. Only root writes records, so a record also replaces a binding by
   * namespace. It replaces a binding by another record only if that one may be left over from an
   * earlier interface (see replaces).
   */
  bindFromCni(iface: I): BindResult {
    if (iface.gone) return 'unchanged';
    const record = recordFor(this.#queryOf(iface), this.#o.cniRecords());
    if (!record) return 'unchanged';
    if (iface.binding?.source === 'cni') {
      if (replaces(record, iface.binding)) return 'replaced';
      if (record.podUid !== iface.binding.podUid) {
        const reason = `record ${record.file} names pod ${record.podUid}, but it is bound to ${iface.binding.podUid}`;
        this.#o.onProblem(iface.link.name, reason);
      }
      return 'unchanged';
    }
    this.#bind(iface, this.#bindingBy(iface, record));
    return 'bound';
  }

  #queryOf({ announced, binding, link }: I): RecordQuery {
    return {
      link,
      notBeforeMs: announced?.notBeforeMs ?? 0,
      isUsed: ({ file, podUid, writtenAtMs }) => {
        const goneAtMs = this.#used.get(file);
        const mayBind = binding === null || (binding.source === 'netns' && binding.podUid === podUid);
        return goneAtMs !== undefined && (!mayBind || writtenAtMs <= goneAtMs);
      },
    };
  }

  #bindingBy(iface: I, record: CniRecord): Binding {
    const binding = bindByCni(iface.link, record, iface.announced?.readAtMs ?? this.#o.wallMs());
    if (binding.mac === '') return { ...binding, mac: this.#readMac(iface), isMacRead: true };
    return this.#hadProcesses(iface, record) ? { ...binding, isMacRead: true } : binding;
  }

  /**
   * Whether the pod ran when the network plugin read its MAC (a network that Multus attaches later): a process
   * that asks for a MAC all the time gets it before some of the reads.
   */
  #hadProcesses({ link }: I, { podUid, writtenAtMs }: CniRecord): boolean {
    if (this.#o.cgroupRoot === '') return false;
    try {
      const startMs = podStartMs(this.#o.cgroupRoot, podUid);
      return startMs !== null && startMs < writtenAtMs - JOINED_SLACK_MS;
    } catch (error) {
      this.#o.onProblem(link.name, `the processes of its pod cannot be read: ${(error as Error).message}`, error);
      return false;
    }
  }

  /** Some plugins report no MAC, for example Calico and the AWS VPC CNI. Empty: not readable either. */
  #readMac({ link }: I): string {
    try {
      return readPodSide(link.ifindex)?.mac ?? '';
    } catch (error) {
      const reason = `the MAC of its pod cannot be read: ${(error as Error).message}`;
      this.#o.onProblem(link.name, reason, error);
      return '';
    }
  }

  /** The interface is gone: the record that it has now never binds another interface of the same name. */
  removed(iface: I): void {
    this.#cancel(iface);
    if (iface.binding?.recordFile === undefined) return;
    this.#used.set(iface.binding.recordFile, this.#o.eventMs());
  }

  #bind(iface: I, binding: Binding): void {
    this.#cancel(iface);
    iface.unlistedPod = '';
    iface.binding = binding;
    this.#o.onBound(iface);
  }

  #retryLater(iface: I, attempt: number): void {
    const after = FALLBACK_AFTER_MS[Math.min(attempt, FALLBACK_AFTER_MS.length - 1)] as number;
    const timer = setTimeout(() => {
      this.#timers.delete(iface);
      if (iface.gone || !isOpen(iface) || this.#search(iface)) return;
      this.#retryLater(iface, attempt + 1);
    }, after);
    timer.unref();
    this.#timers.set(iface, timer);
  }

  /**
   * Binds an interface whose pod was found before the bus listed it, if the bus lists it now.
   * @returns whether it is bound now
   */
  bindListed(iface: I): boolean {
    const { unlistedPod = '' } = iface;
    if (unlistedPod === '' || iface.gone || iface.binding) return false;
    return this.#o.listedAddresses(unlistedPod).length > 0 && this.#search(iface);
  }

  /** @returns whether the interface is bound now, without doubt, or its generation was replaced */
  #search(iface: I): boolean {
    try {
      this.#o.findFolders();
      if (!isOpen(iface) || this.bindFromCni(iface) === 'bound') return true;
      const found = this.#o.cgroupRoot === '' ? null : findByNamespace(iface, this.#o.cgroupRoot);
      if (found && iface.binding) return this.#settle(iface, iface.binding, found);
      if (found) return this.#bindFound(iface, found);
      iface.unlistedPod = '';
    } catch (error) {
      this.#o.onProblem(iface.link.name, `the search for its pod failed: ${(error as Error).message}`, error);
    }
    return false;
  }

  /**
   * A record of the found pod is more exact, whatever its age. Without one the addresses come from
   * the bus.
   */
  #bindFound(iface: I, found: Binding): boolean {
    const records = this.#o.cniRecords().filter((record) => record.podUid === found.podUid);
    const record = recordFor({ link: iface.link, notBeforeMs: 0, isUsed: () => false }, records);
    const addresses = this.#o.listedAddresses(found.podUid);
    if (record) this.#bind(iface, this.#bindingBy(iface, record));
    else if (addresses.length > 0) this.#bind(iface, { ...found, addresses });
    else iface.unlistedPod = found.podUid;
    return iface.binding !== null;
  }

  /** Ends the doubt. Another sandbox of the same pod has another MAC, as the kernel chooses it. */
  #settle(iface: I, { isDoubtful: _, ...binding }: Binding, found: Binding): true {
    if (found.podUid === binding.podUid && found.mac === binding.mac) {
      iface.binding = binding;
      return true;
    }
    const reason = `it is a link of pod ${found.podUid}, and not the one that was found for pod ${binding.podUid}: a new generation begins`;
    this.#o.onProblem(iface.link.name, reason);
    this.#o.onReplaced(iface);
    return true;
  }

  #cancel(iface: I): void {
    const timer = this.#timers.get(iface);
    if (timer) clearTimeout(timer);
    this.#timers.delete(iface);
  }

  close(): void {
    for (const timer of this.#timers.values()) clearTimeout(timer);
    this.#timers.clear();
  }
}

/** The pod's side of an interface, as it is now. */
interface PodSide {
  /** Interface of the node. */
  link: LinkRecord;
  nsid: number;
  ifName: string;
  mac: string;
}

/**
 * Reads the pod's side of an interface. The pod can change its MAC, so one of a link of the node is
 * not accepted. null: the interface or its peer is gone, or the peer is in no other namespace.
 */
function readPodSide(ifindex: number): PodSide | null {
  // Reading it assigns an id to the namespace of its other end.
  const link = getLink(ifindex);
  if (!link || link.linkNetnsid === null) return null;
  // Not a dump: a pod can have a hundred thousand links.
  const peer = link.peerIfindex === null ? null : getLink(link.peerIfindex, { targetNsid: link.linkNetnsid });
  if (!peer) return null;
  return { link, nsid: link.linkNetnsid, ifName: peer.name, mac: macOfPodSide(link, peer.mac, ownLinks()) };
}

/**
 * The MAC to judge by, of one that was read at the pod's side. In mode L3 of netkit all pods have the
 * zero MAC, as the host side and loopback have.
 */
export function macOfPodSide(
  link: Pick<LinkRecord, 'kind' | 'mac'>,
  read: string,
  ofNode: readonly Pick<LinkRecord, 'mac'>[],
): string {
  if (isLayer3(link)) return ZERO_MAC;
  return ofNode.some(({ mac }) => mac === read) ? NOT_OWN_MAC : read;
}

/**
 * The pod whose oldest process lives in the namespace of the interface's peer, without addresses,
 * because the pod can change those on its side. null: no process of the pod exists yet.
 */
export function findByNamespace(iface: Pick<BindableInterface, 'link'>, cgroupRoot: string): Binding | null {
  const side = readPodSide(iface.link.ifindex);
  if (side === null) return null;
  for (const cgroup of listPodCgroups(cgroupRoot)) {
    const pid = oldestProcess(cgroup.path);
    if (pid === null) continue;
    let nsid: number | null;
    try {
      nsid = getNsid({ pid });
    } catch (error) {
      // The process ended in between.
      if (['ESRCH', 'EINVAL', 'ENOENT'].includes((error as { errnoName?: string }).errnoName ?? '')) continue;
      throw error;
    }
    if (nsid !== side.nsid) continue;
    return {
      source: 'netns',
      podUid: cgroup.podUid,
      podNamespace: '',
      podName: '',
      ifName: side.ifName,
      mac: side.mac,
      addresses: [],
      link: { name: side.link.name, mac: side.link.mac, linkNetnsid: side.nsid },
    };
  }
  return null;
}
