/**
 * Finds frames that interfaces received and their programs did not judge, and publishes their number
 * as violations `unjudged`. counting/conservation.ts decides; this file reads the counters.
 *
 * Data path: sweep timer → counters of links and programs → here → flusher. Not compared: an
 * interface with an XDP program, which may drop frames, or a veth with GRO at the host side, which
 * merges them, after the link has counted them.
 */

import { readFileSync } from 'node:fs';
import { isGroOn, type LinkRecord, possibleCpus, type SpoofMaps } from '@bailiff/bpf';
import { attempt, type OnProblem } from '../../process/problem-log.ts';
import { conserve, newConservation } from '../counting/conservation.ts';
import type { CounterStore } from '../counting/counter-store.ts';
import type { BindingStore } from '../subjects/binding-store.ts';
import { type GuardedInterface, MAX_FOUND, originOf, storedOf } from '../subjects/guarded-interface.ts';
import { droppedOnNetkit } from '../subjects/lifecycle.ts';
import { hostSides } from '../subjects/node-links.ts';
import type { Registry } from '../subjects/registry.ts';
import { userspaceViolation } from './violations.ts';

const MAX_BACKLOG_FILE = '/proc/sys/net/core/netdev_max_backlog';
/** The kernel's default. */
const DEFAULT_BACKLOG = 1_000;

export interface UnjudgedFramesOptions {
  bootId: string;
  registry: Pick<Registry, 'allLive'>;
  maps: Pick<SpoofMaps, 'seen'>;
  counters: Pick<CounterStore, 'readInto'>;
  store: Pick<BindingStore, 'save'>;
  nowMicros(): number;
  onFound(iface: GuardedInterface, frames: number): void;
  onProblem: OnProblem;
}

export class UnjudgedFrames {
  readonly #options: UnjudgedFramesOptions;
  readonly #backlog = maxBacklog();

  constructor(options: UnjudgedFramesOptions) {
    this.#options = options;
  }

  /** Compares the counters of all interfaces whose programs are attached. */
  check(): void {
    const { onProblem, registry } = this.#options;
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
    const { counters, onFound, store } = this.#options;
    const { base } = iface.conservation;
    iface.notCompared = whyNotCompared(link);
    const received = (link.rxPackets ?? 0) + droppedOnNetkit(counters, iface);
    const reading = { judgedBefore, received, judgedAfter: this.#judged(iface) };
    const found = conserve(iface.conservation, reading, this.#backlog);
    if (found > 0 && iface.notCompared !== '') {
      iface.conservation = newConservation();
      return;
    }
    if (found > 0) this.#publish(iface, found);
    if (found === 0 && base === iface.conservation.base) return;
    store.save(storedOf(iface));
    if (found > 0) onFound(iface, found);
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

/** Frames of one interface that can wait in the kernel between its counter and its programs. */
function maxBacklog(): number {
  let perCpu = DEFAULT_BACKLOG;
  try {
    perCpu = Number(readFileSync(MAX_BACKLOG_FILE, 'utf8'));
  } catch (error) {
    // Only the first network namespace of a machine has it.
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
  }
  return perCpu * possibleCpus();
}
