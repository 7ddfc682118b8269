/** Results of scenarios, and the comparison of counts. Pure. */

export type Status = 'passed' | 'failed' | 'skipped';

/** One attack: what the sender sent, what the receiver got, what the bus counts. */
export interface Counts {
  vector: string;
  /** Unguarded. */
  control: { sent: number; landed: number } | null;
  guarded: { sent: number; landed: number; counted: number };
}

export interface Result {
  scenario: string;
  status: Status;
  /** Reason of a skip or a failure; otherwise what was seen. */
  detail: string;
  counts: Counts[];
  /** Measured values, in milliseconds or as a number, by name. */
  measured: Record<string, number>;
  seconds: number;
}

const blockedText = (vector: string, sent: number) =>
  `${vector}: the network itself drops this frame, 0 of ${sent} landed unguarded`;

/**
 * Why these counts do not show enforcement; empty if they do. The control must have landed
 * completely: a packet that never arrives unguarded proves nothing when it is missing.
 */
export function problemsOf({ vector, control, guarded }: Counts): string[] {
  const problems: string[] = [];
  if (control === null) problems.push(`${vector}: no control run`);
  else if (control.sent === 0) problems.push(`${vector}: the control sent nothing`);
  else if (control.landed === 0) problems.push(blockedText(vector, control.sent));
  else if (control.landed !== control.sent)
    problems.push(`${vector}: ${control.landed} of ${control.sent} landed unguarded, so the control proves nothing`);
  if (guarded.sent === 0) problems.push(`${vector}: nothing was sent`);
  if (guarded.landed > 0) problems.push(`${vector}: ${guarded.landed} of ${guarded.sent} landed`);
  if (guarded.counted !== guarded.sent)
    problems.push(`${vector}: the bus counts ${guarded.counted} of ${guarded.sent}`);
  return problems;
}

/**
 * A result that fails if any count shows a problem. If the only problem is a network that drops the
 * frames by itself, the scenario is skipped: it shows exact counts, but no enforcement.
 */
export function judged(counts: readonly Counts[]): Pick<Result, 'status' | 'detail' | 'counts'> {
  const problems = counts.flatMap(problemsOf);
  const blocked = counts.map(({ vector, control }) => blockedText(vector, control?.sent ?? 0));
  const sent = counts.reduce((sum, { guarded }) => sum + guarded.sent, 0);
  if (problems.length === 0)
    return {
      status: 'passed',
      detail: `${sent} forged packets: 0 landed, ${sent} counted on the bus`,
      counts: [...counts],
    };
  const isBlocked = problems.every((problem) => blocked.includes(problem));
  const detail = isBlocked ? `${problems.join('; ')}; all were counted` : problems.join('; ');
  return { status: isBlocked ? 'skipped' : 'failed', detail, counts: [...counts] };
}

export const summaryOf = (results: readonly Result[]) => {
  const count = (status: Status) => results.filter((result) => result.status === status).length;
  return { passed: count('passed'), failed: count('failed'), skipped: count('skipped') };
};
