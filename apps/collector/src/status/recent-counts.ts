/**
 * Growth of kernel counters within the last hour, for the node's status. Counters never shrink, but a
 * warning about a loss must end after its cause. Pure.
 */

/** Growth is reported for this long, and for up to a step more. */
export const RECENT_MS = 3_600_000;
const STEP_MS = 300_000;

type Counts = Readonly<Record<string, number>>;

export class RecentCounts {
  /** The oldest one is the base. A step apart, so at most RECENT_MS / STEP_MS + 2 of them. */
  readonly #readings: { atMs: number; counts: Counts }[] = [];

  /**
   * Takes a reading of cumulative counts.
   * @param nowMs a monotonic clock
   * @returns the counts that grew, by how much; null in the first hour, when it is not known
   */
  observe(counts: Counts, nowMs: number): Record<string, number> | null {
    const readings = this.#readings;
    const newest = readings.at(-1);
    if (!newest || nowMs - newest.atMs >= STEP_MS) readings.push({ atMs: nowMs, counts });
    while (readings[1] && nowMs - readings[1].atMs >= RECENT_MS) readings.shift();
    const base = readings[0];
    if (!base || nowMs - base.atMs < RECENT_MS) return null;
    const grown = Object.entries(counts).map(([name, count]): [string, number] => {
      const before = base.counts[name] ?? 0;
      // Programs that were loaded again count from zero.
      return [name, count >= before ? count - before : count];
    });
    return Object.fromEntries(grown.filter(([, count]) => count > 0));
  }
}
