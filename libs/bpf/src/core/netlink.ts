/**
 * Links, local networks and namespace ids of this process's network namespace, and of others by their id
 * in it.
 *
 * Place in the data path: rtnetlink → here → collector, which learns of interfaces and their
 * namespaces.
 * Invariants: a LinkMonitor gets all changes since its creation. Dump after you open it, and again
 * after `onOverrun`: the kernel dropped events. A dump is complete; an interrupted one is repeated. That of
 * the links of another namespace ends at one of more than 32 KiB (alternative names), without an error.
 * There is no setns: another namespace is read through its id (getNsid).
 * Errors: BpfError NETLINK; ENODEV is null.
 */
import { type AddressRecord, type LinkRecord, type NativeLinkMonitor, type NetkitInfo, native } from './native.ts';
import { NativeHandle } from './native-handle.ts';

export type { AddressRecord, LinkRecord, NetkitInfo };

/** About 8,000 events: a node whose pods all start while the loop is busy. */
export const DEFAULT_RECEIVE_BUFFER_BYTES = 8 * 1024 * 1024;

export interface LinkMonitorOptions {
  /** All events of one turn of the loop, oldest first; an interface may have several. */
  readonly onLinks: (links: LinkRecord[]) => void;
  /** Events were lost: dump again. Called after `onLinks` got all events that precede the loss. */
  readonly onOverrun: () => void;
  readonly receiveBufferBytes?: number;
}

/**
 * Link events of this network namespace. A throwing callback is an uncaughtException, and the
 * monitor continues. It keeps itself and the loop alive until close.
 */
export class LinkMonitor extends NativeHandle<NativeLinkMonitor> {
  readonly #options: LinkMonitorOptions;

  constructor(options: LinkMonitorOptions) {
    const { onLinks, onOverrun, receiveBufferBytes = DEFAULT_RECEIVE_BUFFER_BYTES } = options;
    super(native().openLinkMonitor(onLinks, onOverrun, receiveBufferBytes));
    this.#options = options;
  }

  /** Delivers all events that are queued now. The loop reads 64 a turn, between other work. */
  catchUp(): void {
    const { links, overrun } = this.native.takeQueued();
    if (links.length > 0) this.#options.onLinks(links);
    if (overrun) this.#options.onOverrun();
  }
}

export interface TargetOptions {
  /** Read another namespace, by the id of getNsid. Default: this one. */
  readonly targetNsid?: number;
}

/**
 * All links, with counters. As a side effect, the kernel assigns ids to the namespaces of veth
 * peers.
 */
export function dumpLinks(options: TargetOptions = {}): LinkRecord[] {
  return native().dumpLinks(options.targetNsid ?? null);
}

/**
 * Links of one kind of this namespace, with counters. The kernel describes no other: a pod can leave thousands of
 * large ones without a kind here. It assigns ids as dumpLinks does.
 */
export function dumpLinksOf(kind: string): LinkRecord[] {
  return native().dumpLinksOf(kind);
}

/**
 * The first links of a namespace. They may change while they are read, so a namespace that changes all
 * the time can be read too.
 */
export function firstLinks(atMost: number, options: TargetOptions = {}): LinkRecord[] {
  return native().firstLinks(options.targetNsid ?? null, atMost);
}

/** One link with its current counters; null if there is none. */
export function getLink(ifindex: number, options: TargetOptions = {}): LinkRecord | null {
  return native().getLink(ifindex, options.targetNsid ?? null);
}

/** Deletes a link, of a pair both ends. ENODEV if there is none. */
export function deleteLink(ifindex: number): void {
  native().deleteLink(ifindex);
}

/**
 * Whether the interface merges received frames (generic receive offload). An XDP driver program on a
 * veth turns it on. ENODEV if there is no such interface.
 */
export function isGroOn(interfaceName: string): boolean {
  return native().isGroOn(interfaceName);
}

/**
 * Addresses of all links of this namespace. os.networkInterfaces() asks glibc, which repeats its dump of links
 * for ever where one has more alternative names than fit (a pod can leave such a link in the node's namespace).
 */
export function dumpAddresses(): AddressRecord[] {
  return native().dumpAddresses();
}

/**
 * CIDRs of the routing table `local`: every address that this namespace takes packets for, also those
 * of interfaces that are down, broadcast and multicast addresses, and local routes to networks.
 */
export function dumpLocalNetworks(): string[] {
  return native().dumpLocalNetworks();
}

/**
 * Id of the namespace of another process in this one; null if it has none. A link dump assigns ids (of a veth's
 * peer, for example), so call dumpLinks first. Errors: ESRCH or EINVAL if the process is gone.
 */
export function getNsid({ pid }: { pid: number }): number | null {
  return native().getNsid(pid);
}
