/**
 * At most so many verdicts a minute, so that a wrong rule or a broad attack cannot set off more answers than anybody can take back. Minutes
 * are those of stream time, so that a replay caps what was capped live. Half of the room is kept for high and critical ones.
 * A namespace has a share of the cap, and so has a node for verdicts about the node itself: no tenant can use up the others'.
 * What is capped is not lost while it goes on: the group is not silenced, so its next violation crosses the threshold again.
 */
import type { Level } from '@bailiff/schemas';

/** Verdicts a minute unless the caller says otherwise. */
export const DEFAULT_VERDICTS_PER_MINUTE = 600;

/** Part of the cap that one namespace or node may use, rounded up. */
export const VERDICT_SHARE = 1 / 4;

const MINUTE_MICROS = 60_000_000;

export class VerdictCap {
  readonly #perMinute: number;
  #minute = -1;
  #given = 0;
  /** In this minute, by tenant; at most as many tenants as verdicts. */
  readonly #givenTo = new Map<string, number>();
  /** Verdicts that were held back. */
  suppressed = 0;

  constructor(perMinute: number = DEFAULT_VERDICTS_PER_MINUTE) {
    this.#perMinute = perMinute;
  }

  /**
   * Whether one more verdict may be given.
   * @param nowMicros stream time, never falling
   * @param tenant `verdictTenant`
   */
  allow(nowMicros: number, level: Level, tenant: string): boolean {
    const minute = Math.floor(nowMicros / MINUTE_MICROS);
    if (minute !== this.#minute) {
      this.#minute = minute;
      this.#given = 0;
      this.#givenTo.clear();
    }
    const urgent = level === 'high' || level === 'critical';
    const share = Math.ceil(this.#perMinute * VERDICT_SHARE);
    const own = this.#givenTo.get(tenant) ?? 0;
    const room = (limit: number) => (urgent ? limit : Math.ceil(limit / 2));
    if (this.#given >= room(this.#perMinute) || own >= room(share)) {
      this.suppressed++;
      return false;
    }
    this.#given++;
    this.#givenTo.set(tenant, own + 1);
    return true;
  }
}

/** Whose share a verdict is charged to: its pod's namespace, or its node. No namespace holds a slash. */
export function verdictTenant(nodeName: string, pod: { namespace: string } | null): string {
  return pod ? pod.namespace : `/${nodeName}`;
}
