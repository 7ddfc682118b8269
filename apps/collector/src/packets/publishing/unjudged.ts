/**
 * Finds frames that interfaces received and their programs did not judge, and publishes their number
 * as violations `unjudged`. counting/conservation.ts decides; this file reads the counters.
 *
 * Data path: sweep timer → counters of links and programs → here → flusher. Not compared: an
 * interface with an XDP program, which may drop frames, or a veth with GRO at the host side, which
 * merges them, after the link has counted them.
 */

import { readFileSync } from 'node:fs';
import { getLink, isGroOn, type LinkRecord, type SpoofMaps } from '@bailiff/bpf';
import { attempt, type OnProblem } from '../../process/problem-log.ts';
import { conserve, type FrameReading, isBusy, newConservation } from '../counting/conservation.ts';
import type { CounterStore } from '../counting/counter-store.ts';
import type { BindingStore } from '../subjects/binding-store.ts';
import { type GuardedInterface, MAX_FOUND, originOf, storedOf } from '../subjects/guarded-interface.ts';
import { droppedOnNetkit } from '../subjects/lifecycle.ts';
import { hostSides } from '../subjects/node-links.ts';
import type { Registry } from '../subjects/registry.ts';
import { userspaceViolation } from './violations.ts';

const RECEIVE_QUEUES = '/proc/net/softnet_stat';
/** Its column of the frames that wait in the queue of a processor, in hexadecimal. */
const LENGTH_COLUMN = 11;

export interface UnjudgedFramesOptions {
  bootId: string;
  registry: Pick<Registry, 'allLive'>;
  maps: Pick<SpoofMaps, 'seen'>;
  counters: Pick<CounterStore, 'readInto'>;
  store: Pick<BindingStore, 'save'>;
  /** Why programs are not attached; empty: they are. */
  whyNotAttach(): string;
  nowMicros(): number;
  onFound(iface: GuardedInterface, frames: number): void;
  onProblem: OnProblem;
}

export class UnjudgedFrames {
  readonly #options: UnjudgedFramesOptions;

  constructor(options: UnjudgedFramesOptions) {
    this.#options = options;
  }

  /** Compares the counters of all interfaces whose programs are attached. */
  check(): void {
    const { onProblem, registry, whyNotAttach } = this.#options;
    // An operator detached them a moment ago.
    if (whyNotAttach() !== '') return;
    const judged = new Map<GuardedInterface, number>();
    for (const iface of registry.allLive()) if (iface.attachError === '') judged.set(iface, this.#judged(iface));
    const links = new Map(hostSides().map((link) => [link.ifindex, link]));
    for (const [iface, judgedBefore] of judged) {
      const link = links.get(iface.ifindex);
      if (!link) continue; // its netlink event will remove it
      attempt(onProblem, iface.link.name, () => this.#compare(iface, link, judgedBefore));
    }
  }

  #compare(iface: GuardedInterface, link: LinkRecord, judgedBefore: number): void {
    const { onFound, store } = this.#options;
    const { base } = iface.conservation;
    iface.notCompared = whyNotCompared(link);
    const found = conserve(iface.conservation, this.#read(iface, link, judgedBefore));
    if (found > 0 && iface.notCompared !== '') {
      iface.conservation = newConservation();
      return;
    }
    if (found > 0) this.#publish(iface, found);
    if (found === 0 && base === iface.conservation.base) return;
    store.save(storedOf(iface));
    if (found > 0) onFound(iface, found);
  }

  /** Of a busy interface, the counters are read again: close together, and with what waits between them. */
  #read(iface: GuardedInterface, dumped: LinkRecord, judgedBefore: number): FrameReading {
    const receivedBy = ({ rxPackets }: LinkRecord) => (rxPackets ?? 0) + droppedOnNetkit(this.#options.counters, iface);
    const received = receivedBy(dumped);
    if (!isBusy(iface.conservation, received))
      return { judgedBefore, received, waiting: 0, judgedAfter: this.#judged(iface) };
    return {
      judgedBefore: this.#judged(iface),
      received: receivedBy(getLink(iface.ifindex) ?? dumped),
      waiting: waitingIn(readFileSync(RECEIVE_QUEUES, 'utf8')),
      judgedAfter: this.#judged(iface),
    };
  }

  #judged(iface: GuardedInterface): number {
    return Number(this.#options.maps.seen(iface.slot)) - iface.seenBase;
  }

  #publish(iface: GuardedInterface, frames: number): void {
    const state = iface.kernel?.record.state ?? 'unknown';
    const total = (iface.occurrences[`unjudged/${state}`] ?? 0) + frames;
    iface.occurrences[`unjudged/${state}`] = total;
    const violation = userspaceViolation(
      originOf(iface, this.#options.bootId),
      'unjudged',
      state,
      total,
      `${frames} frames passed without being judged`,
      this.#options.nowMicros(),
      frames,
    );
    // The limit drops the oldest: the cumulative value of the newest includes their number.
    iface.found = [...iface.found, violation].slice(-MAX_FOUND);
  }
}

/** Why the counters of an interface and its programs may differ; empty: they do not. */
export function whyNotCompared({ kind, name, xdp }: Pick<LinkRecord, 'kind' | 'name' | 'xdp'>): string {
  if (xdp) return 'an XDP program of the host side may drop frames after the link has counted them';
  // netkit has GRO on by default and no NAPI of its own: its frames wait in the backlog of the
  // processor, which hands each of them to the programs as it is.
  if (kind === 'netkit' || !isGroOn(name)) return '';
  return 'GRO of the host side merges frames after the link has counted them';
}

/** Frames in the receive queues of all processors, of which some may be of the interface. */
export const waitingIn = (queues: string): number =>
  queues
    .trimEnd()
    .split('\n')
    .reduce((sum, line) => sum + Number.parseInt(line.split(' ')[LENGTH_COLUMN] ?? '0', 16), 0);
