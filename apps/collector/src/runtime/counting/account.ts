/**
 * One generation of a subject (a pod, or one of its containers, under one policy set) as the collector holds it: whose it is, what its
 * cells count, what of that the bus has. It outlives its subject until its last count is acknowledged.
 */
import type { PodRef } from '@bailiff/schemas';
import { CounterLedger } from '../../counting/counter-ledger.ts';
import type { Speaker } from '../../publishing/flusher.ts';
import type { OperationSamples } from '../publishing/sample-dedup.ts';

/** What a cell counts, in words. */
export interface CellFacts {
  /** `<policy>/<rule>`, `<policy>/<class>-posture`, `unresolved`. */
  readonly vector: string;
  readonly action: 'audit' | 'drop';
  /** Key of the policy; empty when none asked for it. */
  readonly policy: string;
  readonly policyRevision: number;
  readonly severity: string;
  readonly tags: readonly string[];
  readonly message: string;
}

export interface ContainerRef {
  readonly name: string;
  /** As the API server writes it: `containerd://…`. */
  readonly id: string;
  /** Decimal. */
  readonly cgroupId: string;
}

/** What is kept of a generation on disk. */
export interface StoredAccount {
  readonly generation: number;
  /** Of the pinned maps that its cells are in. */
  readonly pins: string;
  readonly podUid: string;
  readonly pod: PodRef;
  /** null: the whole pod, or what no set of its own is for. */
  readonly container: ContainerRef | null;
  readonly digest: string;
  readonly set: number;
  /** Version of the collector that compiled the set. */
  readonly compiledBy: string;
  readonly base: number;
  readonly count: number;
  readonly bucket: number;
  /** Absent while its cells are the kernel's: the last reading, and what of it the bus had, by cell. */
  readonly final?: { readonly counts: [number, number][]; readonly acked: [number, number][] };
}

export interface Account extends Speaker {
  stored: StoredAccount;
  readonly facts: readonly CellFacts[];
  /** The last reading; null while its cells are the kernel's. */
  counts: Float64Array | null;
  readonly samples: Map<number, OperationSamples>;
  /** CLOCK_BOOTTIME; until then what is denied passes. */
  auditUntilNs: bigint;
  /** First cell of which the last word is not in a frame yet. */
  finalFrom: number;
}

export const toSparse = (numbers: Float64Array): [number, number][] =>
  [...numbers.entries()].filter(([, value]) => value !== 0);

export function fromSparse(count: number, entries: readonly (readonly [number, number])[]): Float64Array {
  const numbers = new Float64Array(count);
  for (const [index, value] of entries) numbers[index] = value;
  return numbers;
}

/** @param acked by cell, what an earlier process had acknowledged */
export function newAccount(stored: StoredAccount, facts: readonly CellFacts[], acked?: Float64Array): Account {
  const { count, final } = stored;
  return {
    stored,
    facts,
    counts: final ? fromSparse(count, final.counts) : null,
    book: new CounterLedger({ cells: count, counted: count, stride: 1 }, acked),
    samples: new Map(),
    auditUntilNs: 0n,
    finalFrom: 0,
    pending: [],
    dirty: true,
    flushedAtMs: Number.NEGATIVE_INFINITY,
    paceMs: 0,
    framesInFlight: 0,
    gone: final !== undefined,
    finalSaid: false,
  };
}
