/**
 * Attaches the programs of guarded interfaces, and restores them where another program displaced or
 * removed them. The kernel reports neither, so the collector checks the chains on a timer.
 *
 * A netkit pair with policy `blackhole` drops what the pod sends until the CNI attaches a program,
 * and the kernel ignores the policy from the first program on. There the guard is attached only
 * beside another program, so that it opens nothing.
 */

import { getLink, type LinkRecord, type PlacedAttachment, type PlaceWatch, type SpoofObject } from '@bailiff/bpf';
import { attempt, type OnProblem } from '../../process/problem-log.ts';
import { isShortage } from '../../process/shortage.ts';
import { newConservation } from '../counting/conservation.ts';
import { type GuardedInterface, keyOf } from './guarded-interface.ts';
import type { Registry } from './registry.ts';
import type { UnguardedPackets } from './unguarded-packets.ts';

export interface AttachmentsOptions {
  object: Pick<SpoofObject, 'attach' | 'detach' | 'directionsOf' | 'reattach' | 'restoreNotes' | 'verify'>;
  registry: Pick<Registry, 'allLive'>;
  places: Pick<PlaceWatch, 'changed' | 'forget' | 'fromPod'>;
  unguarded: Pick<UnguardedPackets, 'attached'>;
  /** Why programs are not attached; empty: they are. */
  whyNotAttach(): string;
  nowMs(): number;
  /** Its programs are attached, this long after the netlink event of a new interface was read. */
  onGuarded(afterMs: number): void;
  /**
   * Its programs are detached, so the link may be another one under the same name and index.
   * @returns whether a newer record replaced its binding: a new generation guards the link
   */
  isRebound(iface: GuardedInterface): boolean;
  /** The kernel refused to attach them. */
  onFailed(error: unknown): void;
  onProblem: OnProblem;
}

const WAITS =
  'it drops what the pod sends (netkit policy blackhole) until its CNI attaches a program: the guard waits for that';
export const BEHIND_TCX =
  'tcx programs of another agent run before its clsact filters: what they redirect or accept is not judged (--hook auto uses tcx)';
const NOTES_RESTORED = 'the program that finds frames redirected past guards was detached: attached again';
/** Interval of looking for that program while the interface is young; `check` looks later. */
const WAIT_MS = 10;
const YOUNG_MS = 30_000;

/** The program that judges what the pod sends is pinned, and not attached. */
function isEnded({ generation }: Pick<GuardedInterface, 'generation'>, placed: readonly PlacedAttachment[]): boolean {
  return placed.some((p) => p.generation === generation && p.direction === 'in' && p.place === 'missing');
}

export class Attachments {
  readonly #o: AttachmentsOptions;
  #waiting: NodeJS.Timeout | null = null;
  /** Until the first check after a time in which nothing was attached, on purpose. */
  #wasDetached = false;

  constructor(options: AttachmentsOptions) {
    this.#o = options;
  }

  /** A failure is reported, shown in the status, and retried by `check`, and by `onFailed`. */
  attach(iface: GuardedInterface): void {
    iface.attachError = this.#o.whyNotAttach();
    if (iface.attachError !== '') return;
    try {
      if (this.#isAlone(iface, 0)) {
        this.#wait(iface);
        return;
      }
      this.#o.object.attach(keyOf(iface));
    } catch (error) {
      // If the interface is gone, its netlink event will remove it.
      iface.attachError = (error as Error).message;
      iface.isShort = isShortage(error);
      this.#o.onProblem(iface.link.name, iface.attachError, error);
      this.#o.onFailed(error);
      return;
    }
    if (iface.eventAtMs !== null && iface.guardedAfterMs === null) {
      iface.guardedAfterMs = this.#o.nowMs() - iface.eventAtMs;
      this.#o.onGuarded(iface.guardedAfterMs);
    }
    this.#o.unguarded.attached(iface);
  }

  /** @param own number of the guard's own programs in the chain */
  #isAlone({ link }: GuardedInterface, own: number): boolean {
    return link.dropsAlone === true && this.#o.places.fromPod(link.ifindex) <= own;
  }

  #wait(iface: GuardedInterface): void {
    iface.attachError = WAITS;
    if (this.#waiting !== null || this.#o.nowMs() - iface.appearedAtMs > YOUNG_MS) return;
    this.#waiting = setTimeout(() => {
      this.#waiting = null;
      for (const one of this.#o.registry.allLive()) if (one.attachError === WAITS) this.attach(one);
    }, WAIT_MS).unref();
  }

  /** Like `check`, if a chain of a guarded interface changed since the last call. Cheap. */
  checkChanged(): number {
    if (this.#o.whyNotAttach() !== '') return 0;
    this.#restoreNotes();
    const live = [...this.#o.registry.allLive()].map((iface) => iface.link);
    return this.#o.places.changed(live).length > 0 ? this.check() : 0;
  }

  /**
   * Attaches programs that are missing or not at the head of their chain.
   * @returns interfaces whose programs another program had displaced or removed
   */
  check(): number {
    const reason = this.#o.whyNotAttach();
    if (reason !== '') {
      this.#notAttached(reason);
      return 0;
    }
    this.#restoreNotes();
    const placed = this.#o.object.verify();
    const heads = new Set(
      placed.filter(({ place }) => place === 'head').map(({ generation, direction }) => `${generation}/${direction}`),
    );
    const isReturn = this.#wasDetached;
    this.#wasDetached = false;
    if (isReturn) this.#restartConservation();
    let restored = 0;
    for (const iface of [...this.#o.registry.allLive()]) {
      if (this.#endIfAlone(iface, placed)) continue;
      const wanted = this.#o.object.directionsOf(iface.link.kind);
      const isWhole = wanted.every((direction) => heads.has(`${iface.generation}/${direction}`));
      const wasBehind = iface.isBehind;
      iface.isBehind = false;
      if (isWhole && iface.attachError === '') continue;
      // Its netlink event ends the generation, or the resync after lost events.
      if (this.isReplaced(iface, getLink(iface.ifindex), placed)) continue;
      if (isEnded(iface, placed) && this.#o.isRebound(iface)) continue;
      this.attach(iface);
      for (const one of placed.filter((p) => p.generation === iface.generation && p.place === 'behind'))
        this.#reattach(iface, one);
      if (iface.isBehind && !wasBehind) this.#o.onProblem(iface.link.name, BEHIND_TCX);
      if (iface.attachError !== '' || iface.isBehind) continue;
      restored += 1;
      const detail = 'its programs were missing or not first in the chain: attached again';
      if (!isReturn) this.#o.onProblem(iface.link.name, detail);
    }
    if (restored > 0) this.#o.places.forget();
    return isReturn ? 0 : restored;
  }

  /**
   * Whether the link of the generation was deleted and another link has its index: the kernel detached the
   * programs with the link, and their pins stay. `placed` defaults to a new reading of the pins.
   */
  isReplaced(
    { generation, link }: GuardedInterface,
    now: LinkRecord | null,
    placed?: readonly PlacedAttachment[],
  ): boolean {
    if (!now || (now.name === link.name && now.mac === link.mac)) return false;
    return isEnded({ generation }, placed ?? this.#o.object.verify());
  }

  #restoreNotes(): void {
    attempt(this.#o.onProblem, 'netkit', () => {
      if (this.#o.object.restoreNotes()) this.#o.onProblem('netkit', NOTES_RESTORED);
    });
  }

  /** Reads no pins: a process that detaches all may be removing them. */
  #notAttached(reason: string): void {
    this.#wasDetached = true;
    for (const iface of this.#o.registry.allLive()) iface.attachError = reason;
    this.#restartConservation();
  }

  /** What passed while nothing was attached, also since the last look, is not unjudged by accident. */
  #restartConservation(): void {
    for (const iface of this.#o.registry.allLive()) iface.conservation = newConservation();
  }

  /** The other programs of a pair that drops alone are gone: ends the guard. */
  #endIfAlone(iface: GuardedInterface, placed: readonly PlacedAttachment[]): boolean {
    if (!iface.link.dropsAlone) return false;
    const isOwn = (p: PlacedAttachment) => p.generation === iface.generation && p.direction === 'in';
    const own = placed.filter((p) => isOwn(p) && (p.place === 'head' || p.place === 'behind')).length;
    try {
      if (own === 0 || !this.#isAlone(iface, own)) return false;
      this.#o.object.detach(keyOf(iface));
      this.#wait(iface);
      this.#o.onProblem(iface.link.name, WAITS);
      return true;
    } catch (error) {
      // If the interface is gone, its netlink event will remove it.
      this.#o.onProblem(iface.link.name, (error as Error).message, error);
      return false;
    }
  }

  #reattach(iface: GuardedInterface, placed: PlacedAttachment): void {
    attempt(this.#o.onProblem, iface.link.name, () => {
      if (!this.#o.object.reattach(placed) && placed.mode === 'clsact') iface.isBehind = true;
    });
  }
}
