/**
 * Decides which frames are decoded, and which violations get an event: each node has a share of the
 * relay and of SIEM, and each pod a share of its node's. Pure.
 *
 * A frame costs its decoding whether or not its violations get events, so a node also has tokens for
 * what is decoded, with the costs of a correlator (frame-shares.ts). A collector publishes less.
 * A frame of a node becomes up to 19 times as many bytes of events. A node has tokens that refill
 * at a rate; an event of EVENT_BYTES costs one. A pod gets an event only while more tokens are left
 * than its events cost within WINDOW_MICROS, so one pod takes at most half. Time is that of the
 * bus: a relay that was stopped for a day omits no more than one that ran. Bounds: MAX_NODES,
 * MAX_PODS.
 */
import {
  isOfOtherLeader,
  MESSAGE_BYTES,
  SHARE_BURST_BYTES,
  SHARE_BYTES_PER_SECOND,
  VIOLATION_BYTES,
} from '@bailiff/correlation';
import type { Violation } from '@bailiff/schemas';
import { RecentMap } from '@bailiff/service';

export interface ShareLimits {
  /** Tokens of a node at most. */
  burst: number;
  /** Refill of a node. */
  perSecond: number;
  /** The same while readers are behind, so that no unread event is deleted. */
  perSecondBehind: number;
  /** Cost of the frames of a node that are decoded at once. */
  decodedBurst: number;
  /** Its refill. */
  decodedPerSecond: number;
}

/**
 * A collector that starts publishes some thousand violations at once. A relay renders 5,000 events
 * in less than a second on an idle machine (docs/benchmarks.md).
 */
export const SHARE_LIMITS: ShareLimits = {
  burst: 5_000,
  perSecond: 250,
  perSecondBehind: 1,
  decodedBurst: SHARE_BURST_BYTES,
  decodedPerSecond: SHARE_BYTES_PER_SECOND,
};
/** An ordinary event of one format. A larger one costs more. */
export const EVENT_BYTES = 2_048;
/** After this, what a pod has used no longer counts. */
const WINDOW_MICROS = 60_000_000;
/** Nodes with a known share; beyond it that of the least recent one is new again. */
const MAX_NODES = 16_384;
/** Pods of a node with a share of their own; the others have one together. */
const MAX_PODS = 2_048;

interface Share {
  tokens: number;
  /** For frames that are decoded. */
  decodedTokens: number;
  refilledMicros: number;
  windowMicros: number;
  used: Map<string, number>;
}

export class NodeShares {
  readonly #limits: ShareLimits;
  readonly #nodes = new RecentMap<string, Share>(MAX_NODES);
  /** Readers of SIEM are so far behind that unread events may be deleted. */
  isBehind = false;

  constructor(limits: ShareLimits = SHARE_LIMITS) {
    this.#limits = limits;
  }

  /** Whether a frame is decoded. If so, it is charged. */
  decodes(node: string, frame: { bytes: number; violations: number }, storedMicros: number): boolean {
    const share = this.#shareOf(node, storedMicros);
    if (share.decodedTokens <= 0) return false;
    share.decodedTokens -= frame.bytes + MESSAGE_BYTES + frame.violations * VIOLATION_BYTES;
    return true;
  }

  /** Charges violations that a decoded frame had beyond those that it announced. */
  chargeDecoded(node: string, violations: number): void {
    const share = this.#nodes.get(node);
    if (share) share.decodedTokens -= Math.max(0, violations) * VIOLATION_BYTES;
  }

  /** Whether the violation gets an event. If so, `charge` its size. */
  has(node: string, violation: Pick<Violation, 'pod'>, storedMicros: number): boolean {
    const share = this.#shareOf(node, storedMicros);
    return share.tokens > 0 && (share.used.get(podKey(share, violation)) ?? 0) < share.tokens;
  }

  /** @param bytes of the event in all formats, divided by their number */
  charge(node: string, violation: Pick<Violation, 'pod'>, bytes: number): void {
    const share = this.#nodes.get(node);
    if (!share) return;
    const cost = Math.max(1, bytes / EVENT_BYTES);
    const key = podKey(share, violation);
    share.tokens -= cost;
    share.used.set(key, (share.used.get(key) ?? 0) + cost);
  }

  #shareOf(node: string, storedMicros: number): Share {
    const { burst, perSecond, perSecondBehind, decodedBurst, decodedPerSecond } = this.#limits;
    const share = this.#nodes.get(node) ?? {
      tokens: burst,
      decodedTokens: decodedBurst,
      refilledMicros: storedMicros,
      windowMicros: storedMicros,
      used: new Map(),
    };
    const passed = storedMicros - share.refilledMicros;
    const elapsed = Math.max(0, passed);
    const rate = this.isBehind ? perSecondBehind : perSecond;
    share.tokens = Math.min(burst, share.tokens + (elapsed / 1e6) * rate);
    share.decodedTokens = Math.min(decodedBurst, share.decodedTokens + (elapsed / 1e6) * decodedPerSecond);
    if (!isOfOtherLeader(passed)) {
      share.refilledMicros = storedMicros;
      share.windowMicros = Math.min(share.windowMicros, storedMicros);
    }
    if (share.refilledMicros - share.windowMicros >= WINDOW_MICROS) {
      share.windowMicros = share.refilledMicros;
      share.used.clear();
    }
    this.#nodes.set(node, share);
    return share;
  }
}

function podKey({ used }: Share, { pod }: Pick<Violation, 'pod'>): string {
  const uid = pod?.uid ?? '';
  return used.has(uid) || used.size < MAX_PODS ? uid : '';
}
