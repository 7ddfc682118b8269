/**
 * What happened to a pod, what was done about it, what was not done and which guard said so: in
 * sentences, and the commands that come next. Pure.
 */
import {
  type Chain,
  claimOf,
  clockTime,
  isUndecided,
  type PodViolations,
  type ResponseRow,
  readChain,
  readTasks,
  responseText,
  shortId,
  type TaskRecords,
  type VerdictRow,
} from '@bailiff/insight';
import { plural, quoted, reportedName, unansweredReason, unjudgedReason } from '@bailiff/response';
import type { Command } from 'commander';
import { parsePod, parseWhen } from '../shared/arguments.ts';
import type { CliIo } from '../shared/io.ts';
import { noteLimits, readPod } from '../shared/read-pod.ts';
import { NO_VERDICT, whyNone } from '../shared/rows/chain.ts';
import { onBus, type Session } from '../shared/session.ts';
import { wrap } from '../shared/text/clean.ts';

export interface WhyFacts {
  /** As the person named the pod. */
  pod: string;
  /** Start of the range, as the person wrote it. */
  since: string;
  nowMs: number;
  groups: readonly PodGroup[];
  /** Violations that are not decided yet: no pod list names the pod. They are in no group. */
  undecided: number;
  /** Violations that were refused, or are because dead letters of the node may be missing. They are in no group. */
  refused: number;
  /** The newest verdict; null: none. */
  chain: Chain | null;
  earlierVerdicts: number;
  /** What earlier verdicts did to the pod, or are doing, newest first. */
  earlierActions: readonly ResponseRow[];
  /** Why no verdict may be current; empty: the correlator judges. */
  outage: string;
  /** Fault that explains a missing response; empty: none. */
  unanswered(verdictId: string): string;
}

type PodGroup = ReturnType<PodViolations['tally']['groups']>[number];

const sumOf = (counts: readonly { violations: number }[]) =>
  counts.reduce((sum, { violations }) => sum + violations, 0);

/** Kinds of violations that are named one by one. */
const MAX_KINDS = 3;

const EFFECTS: Readonly<Record<string, string>> = {
  drop: 'dropped',
  block: 'refused',
  kill: 'refused, and the process was killed',
  audit: 'let through, in audit',
};

/** A node chooses the vector, and a pod what it claims: neither goes on with the sentence. */
function happened({ key, packets, sample, firstAtMicros, lastAtMicros }: PodGroup, nowMs: number): string {
  const what = key.vector.includes('/') ? plural(packets, 'operation') : plural(packets, 'packet');
  const newest = sample ? ` (newest ${quoted(claimOf(sample))})` : '';
  const [first, last] = [firstAtMicros, lastAtMicros].map((at) => clockTime(at, nowMs)) as [string, string];
  const when = first === last ? `at ${first}` : `from ${first} to ${last}`;
  return `${what} violated ${reportedName(key.vector)}${newest}, ${when}: ${EFFECTS[key.action] ?? key.action}`;
}

function violationsText({ pod, since, nowMs, groups, undecided, refused }: WhyFacts): string {
  if (groups.length === 0 && undecided > 0)
    return `Not counted yet of ${pod}: ${plural(undecided, 'violation')}, because no pod list names it now.`;
  if (groups.length === 0 && refused > 0)
    return `No violation of ${pod} counts now of those since ${since}: ${plural(refused, 'report')} refused.`;
  if (groups.length === 0) return `No violation of ${pod} is stored since ${since}.`;
  const named = groups.slice(0, MAX_KINDS).map((group) => happened(group, nowMs));
  const more = groups.length - named.length;
  return `Of ${pod}, ${named.join('; ')}${more > 0 ? `; and ${plural(more, 'more kind')}` : ''}.`;
}

function verdictText({ chain, earlierVerdicts, nowMs, outage, groups }: WhyFacts): string {
  if (!chain) return `No verdict: ${outage || NO_VERDICT}.`;
  const { verdict } = chain.verdict;
  const earlier = earlierVerdicts > 0 ? ` (${earlierVerdicts} earlier)` : '';
  const id = shortId(verdict.verdictId);
  const hasLater = groups.some(({ lastAtMicros }) => lastAtMicros > verdict.triggeredAt);
  const later = hasLater && outage !== '' ? ` Of the violations since then, there may be no verdict: ${outage}.` : '';
  return `Rule ${verdict.rule} made verdict ${id}, level ${verdict.level}, at ${clockTime(verdict.triggeredAt, nowMs)}${earlier}.${later}`;
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

/** Actions by what made them a dry run: a policy, the responder, or a disarm. */
function dryRuns(outcomes: readonly ResponseRow[]): Map<string, string[]> {
  const actions = new Map<string, string[]>();
  for (const { response } of outcomes) {
    const { phase, action, reason } = response;
    if (phase !== 'dryrun') continue;
    const why = reason.replace(/^would \w+[,;] (but )?/, '') || 'the policy is a dry run';
    actions.set(why, [...(actions.get(why) ?? []), action]);
  }
  return actions;
}

/** Actions that change what the pod or its node can do. */
const LASTING: ReadonlySet<string> = new Set(['quarantine', 'evict', 'delete', 'cordon']);
const MAX_EARLIER = 3;

/** What earlier verdicts did: the newest one may have no response of its own. @param tasks of the pod */
export function earlierActionsOf(tasks: Iterable<TaskRecords>, earlier: readonly VerdictRow[]): ResponseRow[] {
  const ids = new Set(earlier.map(({ verdict }) => verdict.verdictId));
  const isOpen = ({ response: { verdictId, action, phase } }: ResponseRow) =>
    ids.has(verdictId) && LASTING.has(action) && ['pending', 'approved', 'started', 'succeeded'].includes(phase);
  return [...tasks]
    .flatMap((task) => newestOf(task) ?? [])
    .filter(isOpen)
    .sort((a, b) => b.sequence - a.sequence)
    .slice(0, MAX_EARLIER);
}

function earlierText({ earlierActions, nowMs }: WhyFacts): string {
  const texts = earlierActions.map(
    (row) => `${outcomeText(row, nowMs)}, for verdict ${shortId(row.response.verdictId)} of ${row.response.rule}`,
  );
  return texts.length === 0 ? '' : `Before that, ${texts.join('; ')}.`;
}

function responsesText({ chain, nowMs, unanswered }: WhyFacts): string {
  if (!chain) return '';
  const outcomes = chain.tasks.map(newestOf).filter((row) => row !== null);
  if (outcomes.length === 0) return `Nothing was done: ${whyNone(chain, unanswered)}.`;
  const isDry = ({ response }: ResponseRow) => response.phase === 'dryrun';
  const texts = outcomes.filter((row) => !isDry(row)).map((row) => outcomeText(row, nowMs));
  for (const [why, actions] of dryRuns(outcomes)) texts.push(`${actions.join(', ')} would have been done, but ${why}`);
  const text = texts.join('; ');
  return `${text.charAt(0).toUpperCase()}${text.slice(1)}.`;
}

/** One paragraph. */
export const paragraph = (facts: WhyFacts): string =>
  [violationsText(facts), verdictText(facts), responsesText(facts), earlierText(facts)].filter(Boolean).join(' ');

const MAX_NEXT = 3;

/** The commands that come next, the most urgent first. */
export function nextCommands({ pod, chain, outage, groups, earlierActions }: WhyFacts): string[] {
  const id = chain ? shortId(chain.verdict.verdict.verdictId) : '';
  const newest = chain?.tasks.map(newestOf).filter((row) => row !== null) ?? [];
  const all = [...newest, ...earlierActions];
  const waiting = all.filter(({ response }) => response.phase === 'pending');
  const has = (phase: string, action?: string) =>
    all.some(({ response }) => response.phase === phase && (action === undefined || response.action === action));
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

const EXAMPLES = `
Examples:
  bailiff why shop/web-0
  bailiff why shop/web-0 --since 7d --json

Only counts and records of the bus are used. \`bailiff explain\` shows the evidence itself.
`;

interface Options {
  namespace?: string;
  since: string;
  json?: boolean;
}

async function factsOf(session: Session, what: string, { since, namespace }: Options): Promise<WhyFacts> {
  const pod = parsePod(what, 'pod', namespace);
  const { services, seen, verdicts } = await readPod(session, pod, since);
  noteLimits(session, pod, seen);
  const [newest, ...earlier] = verdicts;
  const { namespace: ofNamespace, name } = newest?.verdict.pod ?? {};
  const hasEarlier = earlier.length > 0 && ofNamespace !== undefined && name !== undefined;
  const tasks = hasEarlier ? await readTasks(session, { namespace: ofNamespace, pod: name }) : new Map();
  return {
    pod: pod.text,
    since,
    nowMs: session.io.nowMs(),
    groups: seen.tally.groups(),
    undecided: sumOf(seen.refused.list.filter(isUndecided)),
    refused: sumOf(seen.refused.list.filter((one) => !isUndecided(one))),
    earlierVerdicts: earlier.length,
    earlierActions: earlierActionsOf(tasks.values(), earlier),
    chain: newest ? await readChain(session, newest) : null,
    outage: unjudgedReason(services, seen.nodes),
    unanswered: unansweredReason(services),
  };
}

export function register(program: Command, io: CliIo): void {
  const command = program
    .command('why')
    .description('one paragraph about a pod: what happened, what was done, what was not done and why')
    .argument('<pod>', 'namespace/name, name or uid of a pod')
    .option('-n, --namespace <namespace>', 'namespace of the pod')
    .option('--since <when>', 'how far back: 10m, 2h, 7d, an ISO time, or "all"', '1d')
    .option('--json', 'one JSON document')
    .addHelpText('after', EXAMPLES);
  onBus(command, io, (options: Options, what: string) => {
    parsePod(what, 'pod', options.namespace);
    parseWhen(options.since, '--since');
    return async (session) => {
      const { out } = session;
      const facts = await factsOf(session, what, options);
      session.decoder.reportUndecodable(out);
      const [text, next] = [paragraph(facts), nextCommands(facts)];
      if (options.json) out.json({ pod: facts.pod, since: facts.since, text, next });
      else out.lines([...wrap(text, out.table.width), '', ...next.map((line) => out.paint(`  ${line}`, 'bold'))]);
    };
  });
}
