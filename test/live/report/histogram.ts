/** Quantiles of a Prometheus histogram without labels. Pure. */

/**
 * Upper bound of the bucket with this quantile, in the unit of the histogram; Infinity beyond the
 * last bound. Null if the text has no observation of it.
 */
export function quantileOf(text: string, name: string, quantile: number): number | null {
  const buckets = [...text.matchAll(new RegExp(`^${name}_bucket\\{le="([^"]+)"\\} (\\d+)`, 'gm'))].map(
    ([, bound, count]) => ({ bound: bound === '+Inf' ? Infinity : Number(bound), count: Number(count) }),
  );
  const total = buckets.at(-1)?.count ?? 0;
  if (total === 0) return null;
  return buckets.find(({ count }) => count >= quantile * total)?.bound ?? null;
}
