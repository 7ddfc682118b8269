/**
 * What is told of correlator and responder, from what the streams show of them. Pure.
 *
 * A reader of a stream may be anybody's (`bailiff events --follow` is one too), so none says that a service is away, and one does not prove
 * that it is there: a responder that reads and answers nothing shows by the verdicts that wait.
 */
import type { ServiceStatus } from '@bailiff/answer';
import { EXIT } from '@bailiff/service';
import { plural } from '../text/plural.ts';
import { age, span } from '../text/time.ts';
import type { Problem } from './report.ts';

/** A verdict later than this after the frame that met its rule: the correlator is behind, or was away. Ordinary are milliseconds. */
const LATE_MS = 10_000;
/** A late verdict older than this says nothing about now. */
const RECENT_MS = 600_000;

const shout = (node: string, text: string, remedy: string): Problem => ({
  severity: 'shout',
  node,
  text,
  remedy,
  exitCode: EXIT.dependencyUnreachable,
});

/** Nobody judges; null when somebody reads. */
export function correlatorGone({ correlator }: ServiceStatus): Problem | null {
  if (correlator.readers > 0) return null;
  const text = 'nobody reads VIOLATIONS: packets are dropped as before, and nothing is judged';
  return shout('correlator', text, 'start it, or see its log: it takes up where it was, nothing is lost');
}

/** Nobody answers, or what reads does not get to it; null when neither shows. */
export function responderGone({ responder, atMs }: ServiceStatus): Problem | null {
  const { readers, unanswered, oldestUnansweredAtMs, unansweredIds } = responder;
  const waiting =
    unanswered === 0
      ? ''
      : `${plural(unanswered, 'verdict')} without a response (${unansweredIds[0]?.slice(0, 10)}, for ${age(atMs - (oldestUnansweredAtMs ?? atMs))})`;
  if (readers === 0) {
    const text = `nobody reads VERDICTS: no verdict is answered${waiting === '' ? '' : `; ${waiting}`}`;
    return shout('responder', text, 'start it, or see its log: it takes up where it was');
  }
  if (waiting === '') return null;
  return shout('responder', waiting, 'has it lost Redis? `bailiff doctor --only redis`, and its log');
}

/** For a verdict without a response: words for what is missing; empty when nothing shows. */
export function whyUnanswered(status: ServiceStatus | null): (verdictId: string) => string {
  const gone = status && responderGone(status);
  return (verdictId) => {
    if (!status || !gone) return '';
    const waits = status.responder.readers === 0 || status.responder.unansweredIds.includes(verdictId);
    return waits ? `responder: ${gone.text}; ${gone.remedy}` : '';
  };
}

export function serviceProblems(status: ServiceStatus): Problem[] {
  const { correlator, atMs } = status;
  const problems = [correlatorGone(status), responderGone(status)].filter((problem) => problem !== null);
  const { newestVerdictDelayMs: delayMs, newestVerdictAtMs: verdictAtMs } = correlator;
  if (delayMs !== null && verdictAtMs !== null && delayMs > LATE_MS && atMs - verdictAtMs < RECENT_MS) {
    const text = `its newest verdict came ${span(delayMs)} after its violation was on the bus`;
    const remedy = 'it is behind or was away';
    problems.push({ severity: 'warn', node: 'correlator', text, remedy, exitCode: EXIT.ok });
  }
  return problems;
}

/** `correlator: 1 reader, newest verdict 9m ago, 34 ms after its violation; responder: 1 reader, 3 of 3 verdicts answered in time` */
export function servicesLine({ correlator, responder, atMs }: ServiceStatus): string {
  const { newestVerdictAtMs: verdictAtMs, newestVerdictDelayMs: delayMs } = correlator;
  const late = delayMs === null ? '' : `, ${span(delayMs)} after its violation`;
  const verdict = verdictAtMs === null ? 'no verdict yet' : `newest verdict ${age(atMs - verdictAtMs)} ago${late}`;
  const { due, unanswered } = responder;
  const answered =
    due === 0
      ? 'no verdict of the last hour is due'
      : `${due - unanswered} of ${plural(due, 'verdict')} of the last hour answered`;
  return `correlator: ${plural(correlator.readers, 'reader')}, ${verdict}; responder: ${plural(responder.readers, 'reader')}, ${answered}`;
}
