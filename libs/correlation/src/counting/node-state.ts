/**
 * Counter state by node: per counter epoch the increments, and the cached attribution and rule
 * matches of its violations. Pure. The engine looks it up for each violation.
 *
 * Invariant: a counter without violations for two slots holds no state and is removed. Bounds:
 * MAX_COUNTERS_PER_NODE counters and MAX_NAMES_PER_NODE of names. Beyond them a violation counts
 * its own packets, and `counters_refused_total` counts it.
 */
import type { CounterIdentity, ProjectedViolation, VerdictPod } from '@bailiff/schemas';
import type { InventoryEntry } from '../attribution/pod-inventory.ts';
import { NO_MATCHES, type RuleMatches } from '../windows/group-window.ts';
import type { TypedRowPool } from '../windows/typed-row-pool.ts';
import { counterPool, EpochCounter } from './counters.ts';

/** A correct node has a few counters for each pod of the last hour. */
export const MAX_COUNTERS_PER_NODE = 32_768;
/**
 * Total length of a node's counter epochs in UTF-16 units: 128 each; typical epochs have 60 to 110.
 */
export const MAX_NAMES_PER_NODE = 4 * 1024 * 1024;

/** Slots of the lookup cache: twice the counters of an ordinary node. A power of two. */
const RECENT = 512;
const RECENT_SHIFT = 23;
/**
 * The characters of a counter epoch after its boot id: interface, generation, start of the vector.
 */
const HASHED_FROM = 36;
const HASHED_TO = 58;

export interface CounterState {
  /** null after release. */
  node: NodeState | null;
  /** Identity of the violation that `matches` were found for, if it had one. */
  identity: CounterIdentity | null;
  /** null if a bound was reached. */
  counter: EpochCounter | null;
  matches: RuleMatches;
  /** Rule set that `matches` were found for; 0 = find them again. */
  ruleSetNumber: number;
  /**
   * Inventory entry that the violations are attributed to; null without a pod or without a list.
   */
  entry: InventoryEntry | null;
  /** The counter epoch. */
  key: string;
  kind: string;
  /** One string instance per vector, because each violation is compared with it. */
  vector: string;
  vectorNumber: number;
  action: string;
  state: string;
  severity: string;
  /** Operation of the sample that `matches` were found for; empty without one. */
  operation: string;
  /** As reported; empty without a pod. */
  ownerUid: string;
  pod: VerdictPod | null;
}

/** Clears the references of a removed state: a caller may still hold it. */
function release(state: CounterState): void {
  state.counter?.release();
  state.counter = null;
  state.node = null;
  state.matches = NO_MATCHES;
  state.ruleSetNumber = 0;
  state.entry = null;
}

export class NodeState {
  readonly name: string;
  readonly #pool: TypedRowPool;
  readonly #counters = new Map<string, CounterState>();
  /**
   * Cache by a hash of a few characters. A hit compares the epoch of some 70 characters, but hashes
   * only these.
   */
  readonly #recent = new Array<CounterState | undefined>(RECENT).fill(undefined);
  /** Slot of the newest frame. */
  slot: number;
  /** Slot of the last sweep. */
  #sweptSlot: number;
  /** Total length of the counter epochs. */
  #names = 0;

  constructor(name: string, slot: number, pool: TypedRowPool) {
    this.name = name;
    this.slot = slot;
    this.#sweptSlot = slot;
    this.#pool = pool;
  }

  get counters(): number {
    return this.#counters.size;
  }

  find(violation: ProjectedViolation): CounterState | undefined {
    const { counterEpoch } = violation;
    let hash = counterEpoch.length;
    const end = Math.min(counterEpoch.length, HASHED_TO);
    for (let i = HASHED_FROM; i < end; i++) hash = Math.imul(hash, 31) + counterEpoch.charCodeAt(i);
    const slot = Math.imul(hash, 0x9e3779b1) >>> RECENT_SHIFT;
    const recent = this.#recent[slot];
    if (recent !== undefined && recent.key === counterEpoch) return recent;
    const found = this.#counters.get(counterEpoch);
    if (found !== undefined) this.#recent[slot] = found;
    return found;
  }

  /**
   * Creates the state of a violation's counter. Beyond a bound it has no counter and is not stored.
   */
  add(violation: ProjectedViolation): CounterState {
    const { kind, vector, action, state, severity, counterEpoch: key } = violation;
    const hasRoom = this.#counters.size < MAX_COUNTERS_PER_NODE && this.#names + key.length <= MAX_NAMES_PER_NODE;
    const counter = hasRoom ? new EpochCounter(this.#pool) : null;
    const facts = { kind, vector, vectorNumber: 0, action, state, severity, operation: '' };
    const created: CounterState = {
      node: counter === null ? null : this,
      identity: null,
      counter,
      matches: NO_MATCHES,
      ruleSetNumber: 0,
      entry: null,
      key,
      ...facts,
      ownerUid: '',
      pod: null,
    };
    if (counter === null) return created;
    this.#counters.set(key, created);
    this.#names += key.length;
    return created;
  }

  /** Called for each frame. Once per slot it removes expired counters. */
  enter(slot: number): void {
    this.slot = slot;
    if (this.#sweptSlot === slot) return;
    this.#sweptSlot = slot;
    this.#recent.fill(undefined);
    for (const [key, state] of this.#counters) {
      if (state.counter !== null && state.counter.slot >= slot - 1) continue;
      release(state);
      this.#counters.delete(key);
      this.#names -= key.length;
    }
  }

  /** Removes every counter: the node has sent no frame for two slots. */
  release(): void {
    for (const state of this.#counters.values()) release(state);
    this.#counters.clear();
    this.#names = 0;
    this.#recent.fill(undefined);
  }
}

export class NodeStates {
  readonly #nodes = new Map<string, NodeState>();
  readonly #pool = counterPool();

  get size(): number {
    return this.#nodes.size;
  }
  get counters(): number {
    let counters = 0;
    for (const node of this.#nodes.values()) counters += node.counters;
    return counters;
  }

  /** State of the node for a frame of this slot. */
  enter(name: string, slot: number): NodeState {
    let node = this.#nodes.get(name);
    if (!node) {
      node = new NodeState(name, slot, this.#pool);
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
