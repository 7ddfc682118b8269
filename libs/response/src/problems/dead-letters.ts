/** Dead letters of the last hour: messages that correlator and responder could not process. Pure. */
import { plural } from '../status/text.ts';
import { type Problem, warn } from './problem.ts';

/** Older letters are history: `backtest` and the stream show them. */
export const LETTERS_WITHIN_MS = 3_600_000;
/** The newest letters that a reader looks at. */
export const MAX_LETTERS = 500;

/** Letters with one origin and one reason. */
export interface LetterCount {
  stream: string;
  /** Node of a violation; empty for other streams. */
  node: string;
  /** As in the subject: `foreign-pod`, `unknown-fingerprint`. */
  reason: string;
  count: number;
}

export interface DeadLetters {
  counts: LetterCount[];
  /** There are more: only the newest MAX_LETTERS were read. */
  cut: boolean;
}

/** Origins reported one by one. */
const MAX_REPORTED = 5;

/** What it says about a node: nothing. */
export const UNPROVEN_POD =
  'no list names pods that it reported: ipam-sync was away or late, or their objects were removed by force meanwhile';

const REASONS: Readonly<Record<string, string>> = {
  'foreign-pod': 'it reported pods of other nodes: another client may use its credential',
  'unproven-pod': UNPROVEN_POD,
};

/** The most frequent first. */
export function deadLetterProblems({ counts, cut }: DeadLetters): Problem[] {
  const sorted = [...counts].sort((a, b) => b.count - a.count);
  const bound = cut ? 'at least ' : '';
  const problems = sorted.slice(0, MAX_REPORTED).map(({ stream, node, reason, count }) => {
    const text = `${bound}${plural(count, 'message')} of ${stream} could not be processed in the last hour: ${reason}`;
    const remedy = Object.hasOwn(REASONS, reason) ? REASONS[reason] : '';
    const read = 'DEAD_LETTERS has them with their details: docs/alerts.md, BailiffDeadLetters';
    return warn(node || stream, text, !remedy ? read : `${remedy}; ${read}`, 'dead letters');
  });
  const left = sorted.slice(MAX_REPORTED).reduce((sum, { count }) => sum + count, 0);
  if (left > 0) problems.push(warn('others', `${plural(left, 'dead letter')} of other origins`, '', 'dead letters'));
  return problems;
}
