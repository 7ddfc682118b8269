/** Outputs of the siem-relay: what each of them waits for. Pure. */
import type { OutputStatus } from '@bailiff/schemas';
import { age, plural, quoted } from '../status/text.ts';
import { FAILING_MS, type Problem, warn } from './problem.ts';

const OUTPUT_REMEDY = 'see docs/siem/outputs.md; events wait on the bus for up to seven days';
const LOST_REMEDY = '`bailiff replay --format ocsf` prints them';
/** A delivery that started within this time does not count as behind. */
const UNDER_WAY_MS = 1_000;
/** Deleted events are reported for this long; the metric keeps their number. */
const LOST_MS = 3_600_000;

/** `failing for 5m (OUTPUT_BUSY)`, `12 events waiting`, `up to date`. */
export function outputText({ name, pending, lagMs, failing }: OutputStatus, atMs: number): string {
  const waits = pending > 0 ? `, ${plural(pending, 'event')} waiting` : '';
  if (failing) return `${name} failing for ${age(atMs - Date.parse(failing.since))} (${failing.code})${waits}`;
  if (lagMs >= UNDER_WAY_MS) return `${name} ${age(lagMs)} behind${waits}`;
  return `${name} ${pending > 0 ? plural(pending, 'event') : 'up to date'}${pending > 0 ? ' waiting' : ''}`;
}

export function outputProblems(outputs: readonly OutputStatus[], atMs: number): Problem[] {
  return outputs.flatMap(({ name, pending, lagMs, failing, lost, lostAt }) => {
    const at = `siem-relay ${name}`;
    const problems: Problem[] = [];
    const failingMs = failing ? atMs - Date.parse(failing.since) : 0;
    const events = `${pending > 0 ? plural(pending, 'event') : 'events'} waiting`;
    if (failing && failingMs > FAILING_MS) {
      const text = `deliveries fail for ${age(failingMs)}, ${events}: ${failing.code}: ${quoted(failing.reason)}`;
      problems.push(warn(at, text, OUTPUT_REMEDY, 'services'));
    } else if (lagMs > FAILING_MS)
      problems.push(warn(at, `is ${age(lagMs)} behind, ${events}`, 'its receiver is slow', 'services'));
    const lostLately = lostAt === undefined || atMs - Date.parse(lostAt) < LOST_MS;
    if (lost > 0 && lostLately)
      problems.push(warn(at, `${plural(lost, 'event')} deleted before delivery`, LOST_REMEDY, 'services'));
    return problems;
  });
}
