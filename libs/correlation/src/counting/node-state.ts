/**
 * What the fold remembers of nodes: their counter epochs, and for each what its violations go into. Pure state.
 *
 * Invariant: a counter that saw nothing for two slots has forgotten everything and is let go of. Bounds: MAX_EPOCHS_PER_NODE with
 * names of MAX_NAMES_PER_NODE together; beyond them a violation's own words are taken for what it adds, and `refused` says how often.
 */
import type { JudgedViolation, Origin, VerdictPod } from '@bailiff/schemas';
import type { Member } from '../attribution/pod-inventory.ts';
import type { Hits } from '../engine/rule-engine.ts';
import type { RowPool } from '../windows/typed-row-pool.ts';
import { counterPool, EpochCounter } from './counters.ts';

/** An honest node has a few for each pod of the last hour. */
export const MAX_EPOCHS_PER_NODE = 32_768;
/** Of the names of a node's epochs together, in UTF-16 units: 128 each, where ordinary ones take 60 to 110. */
export const MAX_NAMES_PER_NODE = 4 * 1024 * 1024;

/** Places of `recent`: twice the counters of an ordinary node. A power of two. */
const RECENT = 512;
const RECENT_SHIFT = 23;
/** What tells a node's counters apart is behind its boot id: interface, generation, the beginning of the vector. */
const HASHED_FROM = 36;
const HASHED_TO = 58;

export interface Epoch {
  /** Whose it is; null when it was let go of. */
  node: NodeState | null;
  /** Of the violation that `hits` were found for, when that had one. */
  origin: Origin | null;
  /** null: there was no room for one. */
  counter: EpochCounter | null;
  hits: Hits;
  /** Number of the rule set for which `hits` were found; 0 = find them again. */
  hitsFor: number;
  /** Who answers for the claim; null for no pod, or one that only a precedent admits. */
  member: Member | null;
  /** Its name on the bus. */
  key: string;
  kind: string;
  /** One string for all epochs of a vector, because it is compared with every violation. */
  vector: string;
  vectorNumber: number;
  action: string;
  state: string;
  severity: string;
  /** Of the sample that `hits` were found for; empty when it had none. */
  operation: string;
  /** As claimed; empty without a pod. */
  ownerUid: string;
  pod: VerdictPod | null;
}

const NO_HITS: Hits = { windows: [], matched: [] };

/** Nobody finds it any more; who still has it keeps nothing else alive by it. */
function letGo(epoch: Epoch): void {
  epoch.counter?.release();
  epoch.counter = null;
  epoch.node = null;
  epoch.hits = NO_HITS;
  epoch.hitsFor = 0;
  epoch.member = null;
}

export class NodeState {
  readonly name: string;
  readonly #counters: RowPool;
  readonly #epochs = new Map<string, Epoch>();
  /** By a hash of a few characters of their names: most are found here, where a name of 70 characters is compared and not hashed. */
  readonly #recent = new Array<Epoch | undefined>(RECENT).fill(undefined);
  /** Slot of the newest frame, and the one in which the counters were last gone through. */
  slot: number;
  #sweptSlot: number;
  /** Of the names of all epochs. */
  #names = 0;

  constructor(name: string, slot: number, counters: RowPool) {
    this.name = name;
    this.slot = slot;
    this.#sweptSlot = slot;
    this.#counters = counters;
  }

  get epochs(): number {
    return this.#epochs.size;
  }

  epochOf(violation: JudgedViolation): Epoch | undefined {
    const { counterEpoch } = violation;
    let hash = counterEpoch.length;
    const end = Math.min(counterEpoch.length, HASHED_TO);
    for (let i = HASHED_FROM; i < end; i++) hash = Math.imul(hash, 31) + counterEpoch.charCodeAt(i);
    const place = Math.imul(hash, 0x9e3779b1) >>> RECENT_SHIFT;
    const recent = this.#recent[place];
    if (recent !== undefined && recent.key === counterEpoch) return recent;
    const found = this.#epochs.get(counterEpoch);
    if (found !== undefined) this.#recent[place] = found;
    return found;
  }

  /** Makes the epoch of a violation; without a counter when there is no room for it, and then it is not kept. */
  add(violation: JudgedViolation): Epoch {
    const { kind, vector, action, state, severity, counterEpoch: key } = violation;
    const hasRoom = this.#epochs.size < MAX_EPOCHS_PER_NODE && this.#names + key.length <= MAX_NAMES_PER_NODE;
    const counter = hasRoom ? new EpochCounter(this.#counters) : null;
    const facts = { kind, vector, vectorNumber: 0, action, state, severity, operation: '' };
    const hits = NO_HITS;
    const epoch: Epoch = {
      node: counter === null ? null : this,
      origin: null,
      counter,
      hits,
      hitsFor: 0,
      member: null,
      key,
      ...facts,
      ownerUid: '',
      pod: null,
    };
    if (counter === null) return epoch;
    this.#epochs.set(key, epoch);
    this.#names += key.length;
    return epoch;
  }

  /** A frame of this slot came: once a slot, lets go of counters that have forgotten everything. */
  enter(slot: number): void {
    this.slot = slot;
    if (this.#sweptSlot === slot) return;
    this.#sweptSlot = slot;
    this.#recent.fill(undefined);
    for (const [key, epoch] of this.#epochs) {
      if (epoch.counter !== null && epoch.counter.slot >= slot - 1) continue;
      letGo(epoch);
      this.#epochs.delete(key);
      this.#names -= key.length;
    }
  }

  /** Lets go of all: nothing was heard of the node for two slots. */
  release(): void {
    for (const epoch of this.#epochs.values()) letGo(epoch);
    this.#epochs.clear();
    this.#names = 0;
    this.#recent.fill(undefined);
  }
}

export class NodeStates {
  readonly #nodes = new Map<string, NodeState>();
  readonly #counters = counterPool();

  get size(): number {
    return this.#nodes.size;
  }
  get epochs(): number {
    let epochs = 0;
    for (const node of this.#nodes.values()) epochs += node.epochs;
    return epochs;
  }

  /** The node's state at a frame of this slot. */
  enter(name: string, slot: number): NodeState {
    let node = this.#nodes.get(name);
    if (!node) {
      node = new NodeState(name, slot, this.#counters);
      this.#nodes.set(name, node);
    }
    node.enter(slot);
    return node;
  }

  sweep(slot: number): void {
    for (const [name, node] of this.#nodes) {
      if (node.slot >= slot - 1) continue;
      node.release();
      this.#nodes.delete(name);
    }
  }
}
