/**
 * Links, addresses and namespace ids of this process's network namespace, and of others by their id in it.
 *
 * Place in the path: rtnetlink → here → how the collector learns which interface appears and whose it is.
 * Invariants: a LinkMonitor sees changes from its creation on; dump after opening it, and again after `onOverrun`, which
 * says that the kernel dropped events. Dumps are whole (an interrupted one is repeated). No setns anywhere: another
 * namespace is read through its id (getNsid).
 * Errors: BpfError NETLINK; ENODEV is null.
 */
import { type AddressRecord, type LinkRecord, type NativeLinkMonitor, native } from './native.ts';

export type { AddressRecord, LinkRecord };

/** Holds some 8,000 events: a node full of pods coming up at once while the loop is busy. */
export const DEFAULT_RECEIVE_BUFFER_BYTES = 8 * 1024 * 1024;

export interface LinkMonitorOptions {
  /** All events of one turn of the loop, oldest first; several may be of one interface. */
  readonly onLinks: (links: LinkRecord[]) => void;
  /** Events were lost: dump again. Called after `onLinks` of the same turn. */
  readonly onOverrun: () => void;
  readonly receiveBufferBytes?: number;
}

/**
 * Link events of this network namespace. A throwing callback is an uncaughtException and the monitor goes on.
 * Keeps itself and the loop alive until close (or unref).
 */
export class LinkMonitor implements Disposable {
  readonly #native: NativeLinkMonitor;

  constructor(options: LinkMonitorOptions) {
    const { onLinks, onOverrun, receiveBufferBytes = DEFAULT_RECEIVE_BUFFER_BYTES } = options;
    this.#native = native().openLinkMonitor(onLinks, onOverrun, receiveBufferBytes);
  }

  ref(): this {
    this.#native.ref();
    return this;
  }

  unref(): this {
    this.#native.unref();
    return this;
  }

  close(): void {
    this.#native.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

export interface TargetOptions {
  /** Read another namespace, by the id that getNsid gives. Default: our own. */
  readonly targetNsid?: number;
}

/** All links, with counters. Has the side effect that namespaces of veth peers get their ids. */
export function dumpLinks(options: TargetOptions = {}): LinkRecord[] {
  return native().dumpLinks(options.targetNsid ?? null);
}

/** One link with its counters now; null when there is none. */
export function getLink(ifindex: number, options: TargetOptions = {}): LinkRecord | null {
  return native().getLink(ifindex, options.targetNsid ?? null);
}

/** All addresses, IPv4 and IPv6. */
export function dumpAddresses(options: TargetOptions = {}): AddressRecord[] {
  return native().dumpAddresses(options.targetNsid ?? null);
}

/** A process in the namespace, or an open descriptor of /proc/<pid>/ns/net or a netns file. */
export type NamespaceOf = { readonly pid: number } | { readonly fd: number };

/**
 * The id our namespace has for another; null while it has none. Ids are given out by a link dump (of a veth's
 * peer, for example), so dumpLinks first. Errors: ESRCH or EINVAL when the process is gone.
 */
export function getNsid(namespace: NamespaceOf): number | null {
  return 'pid' in namespace ? native().getNsid(namespace.pid, null) : native().getNsid(null, namespace.fd);
}
