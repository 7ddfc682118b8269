/** What the bus has of one pod, for commands about a pod. */
import {
  type PodSelector,
  type PodViolations,
  readBusTime,
  readServices,
  type VerdictRow,
  verdictsOfPod,
  violationsOfPod,
} from '@bailiff/insight';
import { shortList } from '@bailiff/response';
import { parseWhen } from '../shared/arguments.ts';
import { CliError } from '../shared/errors.ts';
import type { Session } from '../shared/session.ts';

/** Uids named in one line. */
const MAX_NAMED = 8;

export interface PodCase {
  services: Awaited<ReturnType<typeof readServices>>;
  seen: PodViolations;
  /** Newest first. */
  verdicts: VerdictRow[];
}

/** Notes what nodes claim without a right to. @throws CliError CLI_NOT_FOUND, BusError */
export async function readPod(session: Session, pod: PodSelector, since: string): Promise<PodCase> {
  const sinceMs = parseWhen(since, '--since')(await readBusTime(session));
  const [services, seen, verdicts] = await Promise.all([
    readServices(session),
    violationsOfPod(session, pod, sinceMs),
    verdictsOfPod(session, pod, sinceMs),
  ]);
  for (const line of seen.refused.lines()) session.out.note(line);
  if (seen.tally.groups().length > 0 || verdicts.length > 0) return { services, seen, verdicts };
  throw new CliError('CLI_NOT_FOUND', `no violation or verdict of a pod "${pod.text}" since ${since}`, {
    remedy: 'check the name, extend the range with --since, or see `bailiff status`',
  });
}

/** Notes what limits the rows: several pods, or too many violations. */
export function noteLimits({ out }: Session, pod: PodSelector, { uids, cut }: PodViolations): void {
  if (uids.size > 1) out.note(`"${pod.text}" selects several pods: ${shortList([...uids], MAX_NAMED)}`);
  if (cut) out.note('only the newest violations were read: there are too many');
}
