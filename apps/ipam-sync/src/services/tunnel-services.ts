/**
 * Addresses and UDP ports of Services that nodes translate to a tunnel port: an endpoint of the
 * Service port has a tunnel port, and is a node or no pod. No I/O.
 *
 * Pods alone make no pair. A tenant chooses the port of its pod, so its clients would send tunnels, and
 * its node ports would drop the responses that pods send to a port of a node by chance.
 *
 * A pair stays for a grace period after its Service or endpoint is gone, because nodes remove
 * their rules later than collectors receive the list. Limit: MAX_TUNNEL_SERVICES pairs, which
 * namespaces get in turns. A namespace never holds more than all of them: one Service has as many
 * pairs as its addresses times its ports. Further pairs are counted, not made.
 *
 * An address that a Service claims (externalIPs) makes a pair only if an endpoint is a node, and no
 * other Service was given the address. Otherwise a tenant could claim the address of a DNS server and
 * lead it to its own pod, and the queries of all pods would be tunnels. The first addresses of a pod network
 * are those of its node unless the slice says that a pod has them: address plugins that divide networks otherwise
 * (Calico) give them to pods. The pod may be gone: a Service without a selector keeps the slices that it had.
 */
import { LIST_LIMITS, type TunnelService } from '@bailiff/schemas';
import { firstAddresses } from '../pods/addresses.ts';
import type { NodeRecord } from '../pods/records.ts';
import type { ServiceRecord, SliceRecord } from './records.ts';

export const MAX_TUNNEL_SERVICES = LIST_LIMITS.services.items;
/** kube-proxy writes all of its rules at least every 30 s (syncPeriod). */
export const GRACE_MS = 60_000;

interface Held {
  service: TunnelService;
  namespace: string;
  /** null: current; otherwise the end of the grace period. */
  untilMs: number | null;
}

export class TunnelServices {
  readonly #services = new Map<string, ServiceRecord>();
  /** By UID, as a Service has several. */
  readonly #slices = new Map<string, SliceRecord>();
  readonly #held = new Map<string, Held>();
  #tunnelPorts: ReadonlySet<number> = new Set();
  #nodeAddresses: ReadonlySet<string> = new Set();
  /** Likely ones: see `firstAddresses`. */
  #firstAddresses: ReadonlySet<string> = new Set();
  /** Services that lead an address which they claim to a tunnel port of a node. */
  claiming: ReadonlySet<string> = new Set();
  /** Pairs above the limit. */
  omitted = 0;

  put(uid: string, record: ServiceRecord): void {
    this.#services.set(uid, record);
  }
  remove(uid: string): void {
    this.#services.delete(uid);
  }
  putSlice(uid: string, record: SliceRecord): void {
    this.#slices.set(uid, record);
  }
  removeSlice(uid: string): void {
    this.#slices.delete(uid);
  }
  setTunnelPorts(ports: ReadonlySet<number>): void {
    this.#tunnelPorts = ports;
  }
  setNodes(nodes: readonly NodeRecord[]): void {
    this.#nodeAddresses = new Set(nodes.flatMap(({ addresses }) => addresses));
    this.#firstAddresses = new Set(nodes.flatMap(({ podCidrs }) => podCidrs.flatMap(firstAddresses)));
  }

  /** Pairs in force, in a fixed order. */
  list(nowMs: number): TunnelService[] {
    const { pairs, omitted } = this.#current();
    const rooms = new Rooms();
    for (const [key, held] of this.#held) {
      const isCurrent = pairs.has(key);
      held.untilMs = isCurrent ? null : (held.untilMs ?? nowMs + GRACE_MS);
      if (held.untilMs !== null && held.untilMs <= nowMs) this.#held.delete(key);
      else rooms.take(held.namespace, 1);
    }
    this.omitted = omitted;
    for (const [key, pair] of pairs) {
      if (this.#held.has(key)) continue;
      if (rooms.take(pair.namespace, 1) === 1) this.#held.set(key, { ...pair, untilMs: null });
      else this.omitted += 1;
    }
    const kept = fairly([...this.#held.entries()].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, held]) => held));
    this.omitted += this.#held.size - kept.length;
    return kept.map(({ service }) => service);
  }

  #current(): { pairs: Map<string, Pick<Held, 'service' | 'namespace'>>; omitted: number } {
    const leading = this.#leading();
    const pairs = new Map<string, Pick<Held, 'service' | 'namespace'>>();
    const rooms = new Rooms();
    const claiming = new Set<string>();
    let omitted = 0;
    const given = this.#given();
    for (const { key, namespace, addresses: own, claimed, ports } of this.#services.values()) {
      const unowned = claimed.filter((address) => (given.get(address) ?? key) === key);
      const all = [...own, ...unowned];
      for (const { name, port, nodePort } of ports) {
        const leads = leading.get(`${key} ${name}`);
        if (leads === undefined) continue;
        const toNode = leads === 'node';
        if (toNode && unowned.length > 0) claiming.add(key);
        const addresses = toNode ? all : own;
        const wanted = addresses.length + (nodePort === null ? 0 : 1);
        const room = rooms.take(namespace, wanted);
        omitted += wanted - room;
        const services: TunnelService[] = addresses.slice(0, room).map((address) => ({ address, port }));
        if (nodePort !== null && room === wanted) services.push({ address: '', port: nodePort });
        for (const service of services) pairs.set(`${service.address} ${service.port}`, { service, namespace });
      }
    }
    this.claiming = claiming;
    return { pairs, omitted };
  }

  /** Service ports with an endpoint that has a tunnel port and is a node, or at least no pod. */
  #leading(): Map<string, 'node' | 'other'> {
    const leading = new Map<string, 'node' | 'other'>();
    for (const { service, ports, endpoints, isOfPods } of this.#slices.values()) {
      const reached = ports.filter(({ port }) => port === null || this.#tunnelPorts.has(port));
      if (reached.length === 0) continue;
      const all = endpoints.split(' ');
      const toNode =
        all.some((address) => this.#nodeAddresses.has(address)) ||
        (!isOfPods && all.some((address) => this.#firstAddresses.has(address)));
      if (isOfPods && !toNode) continue;
      for (const { name } of reached) {
        const key = `${service} ${name}`;
        leading.set(key, toNode || leading.get(key) === 'node' ? 'node' : 'other');
      }
    }
    return leading;
  }

  /** The Service that the cluster gave an address to. */
  #given(): Map<string, string> {
    const given = new Map<string, string>();
    for (const { key, addresses } of this.#services.values()) for (const address of addresses) given.set(address, key);
    return given;
  }
}

/** How many pairs each namespace may still have. */
class Rooms {
  readonly #left = new Map<string, number>();

  /** @returns how many of them the namespace gets */
  take(namespace: string, wanted: number): number {
    const left = this.#left.get(namespace) ?? MAX_TUNNEL_SERVICES;
    const taken = Math.min(left, wanted);
    this.#left.set(namespace, left - taken);
    return taken;
  }
}

/** At most MAX_TUNNEL_SERVICES; namespaces add their pairs in turn. */
function fairly(held: readonly Held[]): readonly Held[] {
  if (held.length <= MAX_TUNNEL_SERVICES) return held;
  const turns = new Map<string, number>();
  const ranked = held.map((one) => {
    const turn = turns.get(one.namespace) ?? 0;
    turns.set(one.namespace, turn + 1);
    return { one, turn };
  });
  return ranked
    .sort((a, b) => a.turn - b.turn)
    .slice(0, MAX_TUNNEL_SERVICES)
    .map(({ one }) => one);
}
