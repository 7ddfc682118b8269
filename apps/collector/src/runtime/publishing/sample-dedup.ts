/**
 * Which operations of a cell are told, when more than one was sampled between two flushes: each distinct one in a violation of its own, so
 * that a rule that counts distinct values, and who learns a policy, see them all and not the last. Pure.
 *
 * Together the parts say what one violation would: the last has the cell's cumulative value, those before it the values on the way there.
 * Bound: MAX_SHOWN a cell; what comes above it stands in for the newest, and is counted with it.
 */
import type { OperationSample } from '@bailiff/schemas';

/** As many as a container may have sampled at once under the default burst. */
export const MAX_SHOWN = 8;

/** Samples of one cell since its last violation: distinct ones, the newest last, with the first that showed each and how many did. */
export type OperationSamples = { first: OperationSample; sample: OperationSample; count: number }[];

/** What one violation tells. */
export interface Part {
  readonly cumulative: number;
  /** Of it, what was told before. */
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

/** Adds a sample to those of its cell. */
export function withSample(shown: OperationSamples | undefined, sample: OperationSample): OperationSamples {
  if (!shown) return [{ first: sample, sample, count: 1 }];
  const known = shown.findIndex((one) => sameOperation(one.sample, sample));
  const at = known < 0 && shown.length >= MAX_SHOWN ? shown.length - 1 : known;
  const [before] = at < 0 ? [] : shown.splice(at, 1);
  const first = known < 0 ? sample : (before?.first ?? sample);
  shown.push({ first, sample, count: (before?.count ?? 0) + 1 });
  return shown;
}

/**
 * Parts of what a cell grew by, at least one, in the order in which they are to be told.
 * @param most parts that there is room for; the newest operations are told then
 */
export function partsOf(
  samples: OperationSamples | undefined,
  { enqueued, cumulative }: { enqueued: number; cumulative: number },
  most: number,
): Part[] {
  const all = samples ?? [];
  const told = all.slice(-Math.max(1, most));
  const parts: Part[] = [];
  let from = enqueued;
  let unshown = all.slice(0, all.length - told.length).reduce((sum, { count }) => sum + count, 0);
  for (const { first, sample, count } of told.slice(0, -1)) {
    // The last one keeps something to tell: a counter may be read before a sample that came with it.
    const grown = Math.min(count, cumulative - from - 1);
    if (grown <= 0) {
      unshown += count;
      continue;
    }
    parts.push({ cumulative: from + grown, enqueued: from, count: grown, first, last: sample });
    from += grown;
  }
  const newest = told.at(-1);
  const count = Math.min((newest?.count ?? 0) + unshown, Math.max(0, cumulative - from));
  // The times are of the operation that it shows: rules may ask for an operation, and for an order.
  parts.push({ cumulative, enqueued: from, count, first: newest?.first ?? null, last: newest?.sample ?? null });
  return parts;
}
