/**
 * Limits verdicts per minute, so that a wrong rule or a broad attack cannot cause more responses
 * than an operator can undo. Minutes are stream time: a replay caps the same verdicts. Pure.
 *
 * Half of the cap is reserved for high and critical verdicts. A namespace has a share, and a node
 * for verdicts about itself, and gets a further one only while more are left than it has had: a tenant
 * with several namespaces leaves some to others too. A capped group has no cooldown: its next violation
 * reaches the threshold again.
 */
import type { Level } from '@bailiff/schemas';
import { FairCounts } from '@bailiff/service/fair-counts';

/** Default limit of verdicts per minute. */
export const DEFAULT_VERDICTS_PER_MINUTE = 600;

/** Share of the cap for one namespace or node, rounded up. */
export const VERDICT_SHARE = 1 / 4;

const MINUTE_MICROS = 60_000_000;

export class VerdictCap {
  /** Verdicts of this minute by tenant; not more tenants than verdicts. */
  readonly #used: FairCounts;
  #minute = -1;
  /** Verdicts above the cap. */
  suppressed = 0;

  constructor(perMinute: number = DEFAULT_VERDICTS_PER_MINUTE) {
    this.#used = new FairCounts(perMinute);
  }

  /**
   * Whether one more verdict is allowed; counts it if so.
   * @param nowMicros time of the bus, which falls only after a clock was ahead
   * @param tenant `verdictTenant`
   */
  allow(nowMicros: number, level: Level, tenant: string): boolean {
    const minute = Math.floor(nowMicros / MINUTE_MICROS);
    if (minute !== this.#minute) {
      this.#minute = minute;
      this.#used.clear();
    }
    const { most, size } = this.#used;
    const urgent = level === 'high' || level === 'critical';
    const own = this.#used.of(tenant);
    const room = (limit: number) => (urgent ? limit : Math.ceil(limit / 2));
    if (own >= room(most) - size || own >= room(Math.ceil(most * VERDICT_SHARE))) {
      this.suppressed++;
      return false;
    }
    this.#used.add(tenant);
    return true;
  }
}

/**
 * The tenant whose share a verdict uses: the pod's namespace or, prefixed with a slash, the node.
 */
export function verdictTenant(nodeName: string, pod: { namespace: string } | null): string {
  return pod ? pod.namespace : `/${nodeName}`;
}
