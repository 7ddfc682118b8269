/**
 * `bailiff explain`: the violations and responses of a verdict, or the violations and verdicts of a
 * pod.
 */
import {
  type Chain,
  eventJson,
  isoMicros,
  type PodSelector,
  type PodViolations,
  readChain,
  readServices,
  recordsOf,
  responseJson,
  restText,
  verdictJson,
} from '@bailiff/insight';
import { correlatorProblem, unansweredReason, unjudgedReason } from '@bailiff/response';
import type { Command } from 'commander';
import { parsePod, parseWhen } from '../shared/arguments.ts';
import type { CliIo } from '../shared/io.ts';
import { isVerdictId, verdictById } from '../shared/one-of.ts';
import { noteLimits, readPod } from '../shared/read-pod.ts';
import { NO_VERDICT, otherVerdicts, renderChain, renderSummary } from '../shared/rows/chain.ts';
import { problemLines } from '../shared/rows/cluster-status.ts';
import { onBus, type Session } from '../shared/session.ts';

interface Options {
  namespace?: string;
  since?: string;
  all?: boolean;
  json?: boolean;
}

const DEFAULT_SINCE = '1d';
/** Most chains shown with --all. */
const MAX_CHAINS = 50;
/** Groups of violations shown. */
const MAX_GROUPS_SHOWN = 50;

const EXAMPLES = `
Examples:
  bailiff explain shop/web-0          a pod's violations of one day, and its newest verdict
  bailiff explain 5f1d3c7a9b          one verdict, from its first packet to its last response
  bailiff explain shop/web-0 --json

An argument of eight or more hexadecimal digits is a verdict id. Use namespace/name for a pod with such a name.
`;

async function explainVerdict(session: Session, prefix: string, json: boolean): Promise<void> {
  const { out, io } = session;
  const services = await readServices(session);
  const chain = await readChain(session, await verdictById(session, prefix));
  if (json) out.json(chainJson(chain));
  else out.lines(renderChain(chain, { ...out.table, nowMs: io.nowMs(), unanswered: unansweredReason(services) }));
}

async function explainPod(session: Session, pod: PodSelector, since: string, options: Options): Promise<void> {
  const { out, io } = session;
  const { services, seen, verdicts } = await readPod(session, pod, since);
  const shown = verdicts.slice(0, options.all ? MAX_CHAINS : 1);
  const chains = [];
  for (const verdict of shown) chains.push(await readChain(session, verdict));
  if (options.json)
    return out.json({
      pod: seen.pod ?? verdicts[0]?.verdict.pod ?? null,
      since,
      violations: summaryJson(seen),
      omittedViolations: seen.tally.rest,
      refused: seen.refused.list,
      verdicts: chains.map(chainJson),
    });
  const render = { ...out.table, nowMs: io.nowMs(), unanswered: unansweredReason(services) };
  const outage = services && correlatorProblem(services);
  noteLimits(session, pod, seen);
  const groups = seen.tally.groups();
  if (groups.length > 0) {
    out.line(out.paint(`Violations since ${since}`, 'bold'));
    out.lines(renderSummary(groups.slice(0, MAX_GROUPS_SHOWN), render));
    if (groups.length > MAX_GROUPS_SHOWN)
      out.note(`… and ${groups.length - MAX_GROUPS_SHOWN} more groups: --json has them`);
    const rest = restText(seen.tally.rest);
    if (rest !== '') out.note(rest);
    out.line();
  }
  if (outage) out.lines(problemLines([outage], out.table));
  if (chains.length === 0) {
    const reason = unjudgedReason(services, seen.nodes) || `${NO_VERDICT} (\`bailiff config list --kind correlation\`)`;
    out.line(outage ? 'No verdict.' : `No verdict: ${reason}.`);
  } else if (outage) out.line();
  chains.forEach((chain, index) => {
    if (index > 0) out.lines(['', out.paint('—'.repeat(Math.min(60, render.width || 60)), 'dim'), '']);
    out.lines(renderChain(chain, render));
  });
  const more = verdicts.slice(shown.length);
  if (more.length > 0) {
    out.line();
    out.line(out.paint(`${more.length} earlier verdict${more.length === 1 ? '' : 's'} (--all shows all)`, 'bold'));
    out.lines(otherVerdicts(more.slice(0, 10), render));
  }
}

export function register(program: Command, io: CliIo): void {
  const command = program
    .command('explain')
    .description('the chain of a pod or a verdict: violations, verdicts, responses, and their latencies')
    .argument('<pod|verdict>', 'namespace/name, name or uid of a pod; or a verdict id or its first characters')
    .option('-n, --namespace <namespace>', 'namespace of the pod')
    .option('--since <when>', 'for a pod: start of the range', DEFAULT_SINCE)
    .option('--all', 'for a pod: the chains of all verdicts, not only the newest')
    .option('--json', 'one JSON document')
    .addHelpText('after', EXAMPLES);
  onBus(command, io, (options: Options, what: string) => {
    const since = options.since ?? DEFAULT_SINCE;
    const asVerdict = isVerdictId(what) && options.namespace === undefined;
    const pod = asVerdict ? null : parsePod(what, 'pod', options.namespace);
    parseWhen(since, '--since');
    return async (session) => {
      const code = pod
        ? await explainPod(session, pod, since, options)
        : await explainVerdict(session, what, options.json ?? false);
      session.decoder.reportUndecodable(session.out);
      return code;
    };
  });
}

function chainJson(chain: Chain): Record<string, unknown> {
  return {
    verdict: verdictJson(chain.verdict),
    violations: chain.evidence.map(({ evidence, nodeName, violation, storedAtMicros }) =>
      violation
        ? eventJson({
            sequence: evidence.streamSequence,
            index: evidence.index,
            storedAtMicros: storedAtMicros ?? 0,
            nodeName,
            refused: null,
            kind: violation.kind,
            violation,
            packets: evidence.packets,
          })
        : { type: 'gone', sequence: evidence.streamSequence, ...evidence },
    ),
    responses: chain.tasks.map((task) => ({ taskId: task.taskId, records: recordsOf(task).map(responseJson) })),
    latenciesMs: chain.latencies,
  };
}

function summaryJson(seen: PodViolations): unknown[] {
  return seen.tally.groups().map((group) => ({
    ...group.key,
    packets: group.packets,
    violations: group.violations,
    firstAt: isoMicros(group.firstAtMicros),
    lastAt: isoMicros(group.lastAtMicros),
    firstSequence: group.firstSequence,
    lastSequence: group.lastSequence,
  }));
}
