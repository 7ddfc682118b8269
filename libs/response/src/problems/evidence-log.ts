/** State of the evidence-log and its witnesses, as text and problems. Pure. */
import type { LogStatus } from '@bailiff/schemas';
import { EXIT } from '@bailiff/service/exit-codes';
import type { ServiceStatus } from '../status/service-status.ts';
import { age, plural, quoted } from '../status/text.ts';
import { FAILING_MS, type Problem, shout, warn } from './problem.ts';

/** What a witness refuses because the log is not the one that it knows. */
const CONTRADICTIONS: readonly string[] = ['WITNESS_AHEAD', 'WITNESS_CONFLICT'];
const LOG_REMEDY = 'see docs/evidence.md#in-the-cluster';
const FORK_REMEDY = 'the volume of the log was restored or rewritten: docs/evidence.md#witnesses';

/** `; bailiff/prod has 4,096 messages, key 1f2e3d4c, cosigned by 1 of 2 witnesses`; empty without a log. */
export function logText(log: LogStatus | null): string {
  if (!log) return '';
  const { origin, size, lagMs, keyId, witnesses = [] } = log;
  const late = lagMs > 0 ? `, head ${age(lagMs)} behind` : '';
  const cosigning = witnesses.filter(({ failing }) => !failing).length;
  const all = plural(witnesses.length, 'witness', 'witnesses');
  const witnessed = witnesses.length > 0 ? `, cosigned by ${cosigning} of ${all}` : '';
  return `; ${origin} has ${plural(size, 'message')}${late}, key ${keyId}${witnessed}`;
}

export function logProblems({ evidenceLog, atMs }: ServiceStatus): Problem[] {
  const { missed = 0, witnesses = [] } = evidenceLog?.log ?? {};
  const problems: Problem[] = [];
  if (missed > 0) {
    const text = `${plural(missed, 'message')} deleted by their stream before they were logged`;
    problems.push(warn('evidence-log', text, LOG_REMEDY, 'services'));
  }
  for (const { name, failing } of witnesses) {
    if (!failing) continue;
    const at = `evidence-log ${name}`;
    const reason = quoted(failing.reason);
    const failingMs = atMs - Date.parse(failing.since);
    if (CONTRADICTIONS.includes(failing.code))
      problems.push(shout(at, reason, FORK_REMEDY, EXIT.dependencyUnreachable, 'services'));
    else if (failingMs > FAILING_MS) {
      const text = `has not cosigned for ${age(failingMs)}: ${failing.code}: ${reason}`;
      problems.push(warn(at, text, LOG_REMEDY, 'services'));
    }
  }
  return problems;
}
