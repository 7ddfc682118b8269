/**
 * What happened to a pod, what was done about it, what was not done and which guard said so: in
 * sentences, and the commands that come next. Pure.
 */
import {
  type Chain,
  claimOf,
  clockTime,
  type PodViolations,
  type ResponseRow,
  responseText,
  shortId,
  type TaskRecords,
} from '@bailiff/insight';
import { plural } from '@bailiff/response';
import { whyNone } from '../../shared/rows/chain.ts';

export interface WhyFacts {
  /** As the person named the pod. */
  pod: string;
  /** Start of the range, as the person wrote it. */
  since: string;
  nowMs: number;
  groups: readonly PodGroup[];
  /** The newest verdict; null: none. */
  chain: Chain | null;
  earlierVerdicts: number;
  /** Why no verdict may be current; empty: the correlator judges. */
  outage: string;
  /** Fault that explains a missing response; empty: none. */
  unanswered(verdictId: string): string;
}

type PodGroup = ReturnType<PodViolations['tally']['groups']>[number];

/** Kinds of violations that are named one by one. */
const MAX_KINDS = 3;

const EFFECTS: Readonly<Record<string, string>> = {
  drop: 'dropped',
  block: 'refused',
  kill: 'refused, and the process was killed',
  audit: 'let through, in audit',
};

function happened({ key, packets, sample, firstAtMicros, lastAtMicros }: PodGroup, nowMs: number): string {
  const what = key.vector.includes('/') ? plural(packets, 'operation') : plural(packets, 'packet');
  const newest = sample ? ` (newest "${claimOf(sample)}")` : '';
  const [first, last] = [firstAtMicros, lastAtMicros].map((at) => clockTime(at, nowMs)) as [string, string];
  const when = first === last ? `at ${first}` : `from ${first} to ${last}`;
  return `${what} violated ${key.vector}${newest}, ${when}: ${EFFECTS[key.action] ?? key.action}`;
}

function violationsText({ pod, since, nowMs, groups }: WhyFacts): string {
  if (groups.length === 0) return `No violation of ${pod} is stored since ${since}.`;
  const named = groups.slice(0, MAX_KINDS).map((group) => happened(group, nowMs));
  const more = groups.length - named.length;
  return `Of ${pod}, ${named.join('; ')}${more > 0 ? `; and ${plural(more, 'more kind')}` : ''}.`;
}

function verdictText({ chain, earlierVerdicts, nowMs, outage }: WhyFacts): string {
  if (!chain) return outage === '' ? 'The violations met no rule, so there is no verdict.' : `No verdict: ${outage}.`;
  const { verdict } = chain.verdict;
  const earlier = earlierVerdicts > 0 ? ` (${earlierVerdicts} earlier)` : '';
  const id = shortId(verdict.verdictId);
  return `Rule ${verdict.rule} made verdict ${id}, level ${verdict.level}, at ${clockTime(verdict.triggeredAt, nowMs)}${earlier}.`;
}

/** The record that says how a task stands. */
const newestOf = ({ undone, terminal, started, approved, pending }: TaskRecords): ResponseRow | null =>
  undone ?? terminal ?? started ?? approved ?? pending;

function outcomeText({ response }: ResponseRow, nowMs: number): string {
  const { action, phase } = response;
  const why = responseText(response, nowMs);
  switch (phase) {
    case 'succeeded':
      return `${action} was done${why === '' ? '' : ` (${why})`}`;
    case 'refused':
      return `${action} was not done, a guard refused it: ${why}`;
    case 'failed':
      return `${action} was not done, it failed: ${why}`;
    case 'undone':
      return `${action} was done and has ended${why === '' ? '' : ` (${why})`}`;
    case 'pending':
      return `${action} was not done: it waits for approval`;
    default:
      return `${action} is not done yet`;
  }
}

function responsesText({ chain, nowMs, unanswered }: WhyFacts): string {
  if (!chain) return '';
  const outcomes = chain.tasks.map(newestOf).filter((row) => row !== null);
  if (outcomes.length === 0) return `Nothing was done: ${whyNone(chain, unanswered)}.`;
  const isDry = ({ response }: ResponseRow) => response.phase === 'dryrun';
  const dry = outcomes.filter(isDry).map(({ response }) => response.action);
  const texts = outcomes.filter((row) => !isDry(row)).map((row) => outcomeText(row, nowMs));
  if (dry.length > 0) texts.push(`${dry.join(', ')} would have been done, but the policy is a dry run`);
  const text = texts.join('; ');
  return `${text.charAt(0).toUpperCase()}${text.slice(1)}.`;
}

/** One paragraph. */
export const paragraph = (facts: WhyFacts): string =>
  [violationsText(facts), verdictText(facts), responsesText(facts)].filter(Boolean).join(' ');

const MAX_NEXT = 3;

/** The commands that come next, the most urgent first. */
export function nextCommands({ pod, chain, outage, groups }: WhyFacts): string[] {
  const id = chain ? shortId(chain.verdict.verdict.verdictId) : '';
  const newest = chain?.tasks.map(newestOf).filter((row) => row !== null) ?? [];
  const waiting = newest.filter(({ response }) => response.phase === 'pending');
  const has = (phase: string, action?: string) =>
    newest.some(({ response }) => response.phase === phase && (action === undefined || response.action === action));
  const hasNoResponse = chain !== null && newest.length === 0;
  return [
    ...waiting.map(({ response }) => `bailiff responses approve ${shortId(response.responseId)}`),
    ...(outage !== '' || hasNoResponse || has('failed') ? ['bailiff doctor'] : []),
    ...(chain ? [`bailiff explain ${id}`] : []),
    ...(has('refused') ? [`bailiff responses --verdict ${id}`] : []),
    ...(has('succeeded', 'quarantine') ? ['bailiff quarantine list'] : []),
    ...(groups.length > 0 ? [`bailiff events ${pod}`] : []),
    ...(chain ? [] : ['bailiff config list --kind correlation']),
    `bailiff timeline ${pod}`,
    'bailiff status',
  ].slice(0, MAX_NEXT);
}
