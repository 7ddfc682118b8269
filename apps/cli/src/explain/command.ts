/** `bailiff explain`: why a verdict was made and what came of it, or what a pod did and what was made of that. */
import type { Command } from 'commander';
import { CliError } from '../shared/errors.ts';
import type { CliIo } from '../shared/io.ts';
import { readServices } from '../shared/read/services.ts';
import { type PodSelector, parsePod } from '../shared/selectors.ts';
import { optionsOf, type Session, withBusOptions, withSession } from '../shared/session.ts';
import { parseWhen } from '../shared/text/time.ts';
import { problemLines } from '../status/render.ts';
import { correlatorGone, whyUnanswered } from '../status/services.ts';
import { chainJson, summaryJson } from './json.ts';
import { readChain, verdictById, verdictsOfPod, violationsOfPod } from './read.ts';
import { otherVerdicts, renderChain, renderSummary } from './render.ts';

interface Options {
  namespace?: string;
  since?: string;
  all?: boolean;
  json?: boolean;
}

const DEFAULT_SINCE = '1d';
/** Chains that --all shows at most. */
const MAX_CHAINS = 50;

const EXAMPLES = `
Examples:
  bailiff explain shop/web-0          what the pod did in a day, and what was made of it
  bailiff explain 5f1d3c7a9b          one verdict, from its first packet to its last response
  bailiff explain shop/web-0 --json

Eight or more hexadecimal digits alone are taken for the id of a verdict; write namespace/name for a pod called so.
`;

/** Which of the two is meant. */
export const isVerdictId = (text: string) => /^[0-9a-f]{8,32}$/.test(text);

async function explainVerdict(session: Session, prefix: string, json: boolean): Promise<number> {
  const { out, io } = session;
  const services = await readServices(session);
  const chain = await readChain(session, await verdictById(session, prefix));
  if (json) out.json(chainJson(chain));
  else out.lines(renderChain(chain, { ...out.table, nowMs: io.nowMs(), unanswered: whyUnanswered(services) }));
  return 0;
}

async function explainPod(session: Session, pod: PodSelector, since: string, options: Options): Promise<number> {
  const { out, io } = session;
  const sinceMs = parseWhen(since, io.nowMs(), '--since');
  const services = await readServices(session);
  const [seen, verdicts] = await Promise.all([
    violationsOfPod(session, pod, sinceMs),
    verdictsOfPod(session, pod, sinceMs),
  ]);
  const told = verdicts.slice(0, options.all ? MAX_CHAINS : 1);
  const chains = [];
  for (const verdict of told) chains.push(await readChain(session, verdict));
  if (seen.tally.groups().length === 0 && verdicts.length === 0) {
    throw new CliError('CLI_NOT_FOUND', `nothing is known of a pod "${pod.text}" since ${since}`, {
      remedy: 'it did no wrong, or there is none of that name; look further back with --since, or see `bailiff status`',
    });
  }
  if (options.json) {
    out.json({
      pod: seen.pod ?? verdicts[0]?.verdict.pod ?? null,
      since,
      violations: summaryJson(seen),
      verdicts: chains.map(chainJson),
    });
    return 0;
  }
  const render = { ...out.table, nowMs: io.nowMs(), unanswered: whyUnanswered(services) };
  const missing = services && correlatorGone(services);
  if (seen.uids.size > 1) out.note(`${seen.uids.size} pods are meant by "${pod.text}": ${[...seen.uids].join(', ')}`);
  if (seen.cut) out.note('only the newest violations were looked at: there are very many');
  const groups = seen.tally.groups();
  if (groups.length > 0) {
    out.line(out.paint(`What it did since ${since}`, 'bold'));
    out.lines(renderSummary(groups, render));
    out.line();
  }
  if (missing) out.lines(problemLines([missing], out.table));
  if (chains.length === 0) {
    out.line(
      missing ? 'No verdict.' : 'No verdict: what it did crossed no rule (`bailiff config list --kind correlation`).',
    );
  } else if (missing) out.line();
  chains.forEach((chain, index) => {
    if (index > 0) out.lines(['', out.paint('—'.repeat(Math.min(60, render.width || 60)), 'dim'), '']);
    out.lines(renderChain(chain, render));
  });
  const more = verdicts.slice(told.length);
  if (more.length > 0) {
    out.line();
    out.line(out.paint(`${more.length} earlier verdict${more.length === 1 ? '' : 's'} (all with --all)`, 'bold'));
    out.lines(otherVerdicts(more.slice(0, 10), render));
  }
  return 0;
}

export function register(program: Command, io: CliIo): void {
  const command = program
    .command('explain')
    .description('the whole chain about a pod or a verdict: violations, judgement, responses, and how long each took')
    .argument('<pod|verdict>', 'namespace/name, name or uid of a pod; or the id of a verdict, or its first characters')
    .option('-n, --namespace <namespace>', 'of the pod')
    .option('--since <when>', 'of a pod: how far back', DEFAULT_SINCE)
    .option('--all', 'of a pod: the chain of every verdict, not only of the newest')
    .option('--json', 'one JSON document')
    .addHelpText('after', EXAMPLES);
  withBusOptions(command).action(async (what: string) => {
    const options = optionsOf<Options>(command);
    const since = options.since ?? DEFAULT_SINCE;
    const asVerdict = isVerdictId(what) && options.namespace === undefined;
    const pod = asVerdict ? null : parsePod(what, 'pod', options.namespace);
    parseWhen(since, io.nowMs(), '--since');
    io.exitCode = await withSession(io, command, async (session) => {
      const code = pod
        ? await explainPod(session, pod, since, options)
        : await explainVerdict(session, what, options.json ?? false);
      const complaint = session.decoder.complaint();
      if (complaint) session.out.note(complaint);
      return code;
    });
  });
}
