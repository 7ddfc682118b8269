/**
 * Counts of one generation of a subject: a pod, or one of its containers, under one policy set. An
 * account holds the pod, the meaning of its cells, and the part that the bus has. It outlives its
 * subject until its last count is acknowledged.
 */
import path from 'node:path';
import type { OperationSample } from '@bailiff/schemas';
import { PACKET_ACTIONS } from '@bailiff/vocabulary';
import * as z from 'zod';
import { storedPodRef } from '../../identity/stored-pod-ref.ts';
import { CounterLedger, fromSparse, sparse } from '../../publishing/counter-ledger.ts';
import type { Source } from '../../publishing/flusher.ts';

/** Directory of the files of accounts. */
export const accountsDir = (stateDir: string, bootId: string): string => path.join(stateDir, bootId, 'runtime');

/** Meaning of a cell. */
export const cellFacts = z.object({
  /** `<policy>/<rule>`, `<policy>/<class>-posture`, `unresolved`. */
  vector: z.string(),
  action: z.enum(PACKET_ACTIONS),
  /** Key of the policy; empty: no policy asked for it. */
  policy: z.string(),
  policyRevision: z.number(),
  severity: z.string(),
  tags: z.array(z.string()).readonly(),
  message: z.string(),
});
export type CellFacts = Readonly<z.infer<typeof cellFacts>>;

const containerRef = z.object({
  name: z.string(),
  /** In the form of the API server: `containerd://…`. */
  id: z.string(),
  /** Decimal. */
  cgroupId: z.string().regex(/^\d+$/),
});
export type ContainerRef = Readonly<z.infer<typeof containerRef>>;

/**
 * Samples of one cell since its last violation, one entry per distinct operation, the newest last:
 * its first and newest sample, and their number.
 */
export type OperationSamples = { first: OperationSample; sample: OperationSample; count: number }[];

const count = z.number().int().nonnegative();

/** The part of an account that is stored on disk. */
export const storedAccount = z.object({
  generation: z.number().int().positive(),
  /** Identifies the pinned maps that contain its cells. */
  pins: z.string(),
  podUid: z.string().regex(/^[0-9a-f]{32}$/),
  pod: storedPodRef,
  /** null: the whole pod, or its containers without a set of their own. */
  container: containerRef.nullable(),
  digest: z.string().regex(/^[0-9a-f]{64}$/),
  /** Digest of its policies that no label selects; empty: it has none. */
  least: z.string().optional(),
  set: count,
  /** Version of the collector that compiled the set. */
  compiledBy: z.string(),
  base: count,
  count: z.number().int().positive(),
  bucket: z.number().int(),
  /** The last reading and its acknowledged part, by cell; absent while the kernel counts in its cells. */
  final: z.object({ counts: sparse(), acked: sparse() }).optional(),
});
export type StoredAccount = Readonly<z.infer<typeof storedAccount>>;

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
