/**
 * Deduplicates the samples of a cell between two flushes: each distinct operation becomes a
 * violation of its own, for rules that count distinct values and for users who learn a policy.
 * Pure.
 *
 * Together the parts equal one violation: the last one has the cell's cumulative value. Limit:
 * MAX_DISTINCT operations per cell; a further one replaces the newest and adds its count.
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
  const at = known < 0 && samples.length >= MAX_DISTINCT ? samples.length - 1 : known;
  const [before] = at < 0 ? [] : samples.splice(at, 1);
  const first = known < 0 ? sample : (before?.first ?? sample);
  samples.push({ first, sample, count: (before?.count ?? 0) + 1 });
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
  let omitted = all.slice(0, all.length - published.length).reduce((sum, { count }) => sum + count, 0);
  for (const { first, sample, count } of published.slice(0, -1)) {
    // At least 1 remains for the last part: the counter may have been read before its newest
    // samples.
    const grown = Math.min(count, cumulative - from - 1);
    if (grown <= 0) {
      omitted += count;
      continue;
    }
    parts.push({ cumulative: from + grown, enqueued: from, count: grown, first, last: sample });
    from += grown;
  }
  const newest = published.at(-1);
  const count = Math.min((newest?.count ?? 0) + omitted, Math.max(0, cumulative - from));
  // The times belong to the operation of this part, because rules may require an operation and an
  // order.
  parts.push({ cumulative, enqueued: from, count, first: newest?.first ?? null, last: newest?.sample ?? null });
  return parts;
}
