/**
 * Deduplicates the samples of a cell between two flushes: each distinct operation becomes a
 * violation of its own, for rules that count distinct values and for users who learn a policy.
 * Pure.
 *
 * Together the parts equal one violation: the last one has the cell's cumulative value. The count of
 * a part is of its own operation only. Limit: MAX_DISTINCT operations per cell; a further one
 * replaces the newest, whose operations then count as unsampled.
 */
import type { OperationSample } from '@bailiff/schemas';
import type { OperationSamples } from '../counting/account.ts';

/** As many as the default burst samples of one container at once. */
export const MAX_DISTINCT = 8;

/** Content of one violation. */
export interface Part {
  readonly cumulative: number;
  /** The part of `cumulative` in earlier violations. */
  readonly enqueued: number;
  readonly count: number;
  readonly first: OperationSample | null;
  readonly last: OperationSample | null;
}

const sameOperation = (a: OperationSample, b: OperationSample): boolean =>
  a.operation === b.operation &&
  a.outcome === b.outcome &&
  a.subject === b.subject &&
  a.address === b.address &&
  a.port === b.port &&
  a.protocol === b.protocol &&
  a.executable === b.executable &&
  a.comm === b.comm;

export function addSample(samples: OperationSamples | undefined, sample: OperationSample): OperationSamples {
  if (!samples) return [{ first: sample, sample, count: 1 }];
  const known = samples.findIndex((one) => sameOperation(one.sample, sample));
  const [before] = known < 0 ? [] : samples.splice(known, 1);
  if (samples.length >= MAX_DISTINCT) samples.pop();
  samples.push({ first: before?.first ?? sample, sample, count: (before?.count ?? 0) + 1 });
  return samples;
}

/**
 * Splits the increment of a cell into at least one part, in the order of publishing.
 * @param most limit of parts; the newest operations have priority
 */
export function splitIncrement(
  samples: OperationSamples | undefined,
  { enqueued, cumulative }: { enqueued: number; cumulative: number },
  most: number,
): Part[] {
  const all = samples ?? [];
  const published = all.slice(-Math.max(1, most));
  const parts: Part[] = [];
  let from = enqueued;
  for (const { first, sample, count } of published.slice(0, -1)) {
    // At least 1 remains for the last part: the counter may have been read before its newest
    // samples.
    const grown = Math.min(count, cumulative - from - 1);
    if (grown <= 0) continue;
    parts.push({ cumulative: from + grown, enqueued: from, count: grown, first, last: sample });
    from += grown;
  }
  const newest = published.at(-1);
  const count = Math.min(newest?.count ?? 0, Math.max(0, cumulative - from));
  // The times belong to the operation of this part, because rules may require an operation and an
  // order.
  parts.push({ cumulative, enqueued: from, count, first: newest?.first ?? null, last: newest?.sample ?? null });
  return parts;
}
