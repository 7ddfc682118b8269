/** `bailiff why`: a pod's case in one paragraph, and the next three commands. */
import { readChain } from '@bailiff/insight';
import { unansweredReason, unjudgedReason } from '@bailiff/response';
import type { Command } from 'commander';
import { parsePod, parseWhen } from '../../shared/arguments.ts';
import type { CliIo } from '../../shared/io.ts';
import { noteLimits, readPod } from '../../shared/read-pod.ts';
import { onBus, type Session } from '../../shared/session.ts';
import { wrap } from '../../shared/text/clean.ts';
import { nextCommands, paragraph, type WhyFacts } from './paragraph.ts';

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
  const [newest] = verdicts;
  return {
    pod: pod.text,
    since,
    nowMs: session.io.nowMs(),
    groups: seen.tally.groups(),
    earlierVerdicts: Math.max(0, verdicts.length - 1),
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
      return 0;
    };
  });
}
