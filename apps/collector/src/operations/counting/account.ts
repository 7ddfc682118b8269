/**
 * Counts of one generation of a subject: a pod, or one of its containers, under one policy set. An
 * account holds the pod, the meaning of its cells, and the part that the bus has. It outlives its
 * subject until its last count is acknowledged.
 */
import path from 'node:path';
import type { OperationSample, PodRef } from '@bailiff/schemas';
import { CounterLedger } from '../../publishing/counter-ledger.ts';
import type { Source } from '../../publishing/flusher.ts';

/** Directory of the files of accounts. */
export const accountsDir = (stateDir: string, bootId: string): string => path.join(stateDir, bootId, 'runtime');

/** Meaning of a cell. */
export interface CellFacts {
  /** `<policy>/<rule>`, `<policy>/<class>-posture`, `unresolved`. */
  readonly vector: string;
  readonly action: 'audit' | 'drop';
  /** Key of the policy; empty: no policy asked for it. */
  readonly policy: string;
  readonly policyRevision: number;
  readonly severity: string;
  readonly tags: readonly string[];
  readonly message: string;
}

export interface ContainerRef {
  readonly name: string;
  /** In the form of the API server: `containerd://…`. */
  readonly id: string;
  /** Decimal. */
  readonly cgroupId: string;
}

/**
 * Samples of one cell since its last violation, one entry per distinct operation, the newest last:
 * its first and newest sample, and their number.
 */
export type OperationSamples = { first: OperationSample; sample: OperationSample; count: number }[];

/** The part of an account that is stored on disk. */
export interface StoredAccount {
  readonly generation: number;
  /** Identifies the pinned maps that contain its cells. */
  readonly pins: string;
  readonly podUid: string;
  readonly pod: PodRef;
  /** null: the whole pod, or its containers without a set of their own. */
  readonly container: ContainerRef | null;
  readonly digest: string;
  readonly set: number;
  /** Version of the collector that compiled the set. */
  readonly compiledBy: string;
  readonly base: number;
  readonly count: number;
  readonly bucket: number;
  /**
   * The last reading and its acknowledged part, by cell; absent while the kernel counts in its
   * cells.
   */
  readonly final?: { readonly counts: [number, number][]; readonly acked: [number, number][] };
}

export interface Account extends Source {
  stored: StoredAccount;
  readonly facts: readonly CellFacts[];
  /** The last reading; null while the kernel counts in its cells. */
  counts: Float64Array | null;
  readonly samples: Map<number, OperationSamples>;
  /** CLOCK_BOOTTIME; until then denied operations pass. */
  auditUntilNs: bigint;
  /** First cell whose final count is not in a frame yet. */
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
    ledger: new CounterLedger({ cells: count, counted: count, stride: 1 }, acked),
    samples: new Map(),
    auditUntilNs: 0n,
    finalFrom: 0,
    dirty: true,
    flushedAtMs: Number.NEGATIVE_INFINITY,
    minIntervalMs: 0,
    framesInFlight: 0,
    gone: final !== undefined,
    finalPublished: false,
  };
}
