/**
 * Addresses and UDP ports of Services that nodes translate to a tunnel port: an endpoint of the
 * Service port has a tunnel port. No I/O.
 *
 * A pair stays for a grace period after its Service or endpoint is gone, because nodes remove
 * their rules later than collectors receive the list. Limit: MAX_TUNNEL_SERVICES pairs, which
 * namespaces get in turns; further ones are counted.
 */
import { LIST_LIMITS, type TunnelService } from '@bailiff/schemas';
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

  /** Pairs in force, in a fixed order. */
  list(nowMs: number): TunnelService[] {
    const current = this.#current();
    for (const [key, { service, namespace }] of current) this.#held.set(key, { service, namespace, untilMs: null });
    for (const [key, held] of this.#held) {
      if (current.has(key)) continue;
      held.untilMs ??= nowMs + GRACE_MS;
      if (held.untilMs <= nowMs) this.#held.delete(key);
    }
    const kept = fairly([...this.#held.entries()].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, held]) => held));
    this.omitted = this.#held.size - kept.length;
    return kept.map(({ service }) => service);
  }

  #current(): Map<string, Pick<Held, 'service' | 'namespace'>> {
    const leading = new Set<string>();
    for (const { service, ports } of this.#slices.values())
      for (const { name, port } of ports)
        if (port === null || this.#tunnelPorts.has(port)) leading.add(`${service} ${name}`);
    const current = new Map<string, Pick<Held, 'service' | 'namespace'>>();
    for (const { key, namespace, addresses, ports } of this.#services.values())
      for (const { name, port, nodePort } of ports) {
        if (!leading.has(`${key} ${name}`)) continue;
        const add = (service: TunnelService) =>
          current.set(`${service.address} ${service.port}`, { service, namespace });
        for (const address of addresses) add({ address, port });
        if (nodePort !== null) add({ address: '', port: nodePort });
      }
    return current;
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
