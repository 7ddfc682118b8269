/** `bailiff verdicts`: what was judged. */
import { filters } from '@bailiff/bus';
import { LEVELS } from '@bailiff/policy';
import type { Command } from 'commander';
import type { CliIo } from '../shared/io.ts';
import { type Listing, type ListOptions, parseListOptions, runListing, withListOptions } from '../shared/listing.ts';
import {
  VERDICT_COLUMNS,
  type VerdictFilter,
  type VerdictRow,
  verdictCells,
  verdictJson,
  wantsVerdict,
} from '../shared/rows/verdict-rows.ts';
import { oneOf, parseName, parsePod, subjectParts } from '../shared/selectors.ts';
import { optionsOf, type Session, withBusOptions, withSession } from '../shared/session.ts';

interface Options extends ListOptions {
  pod?: string;
  namespace?: string;
  node?: string;
  rule?: string;
  level?: string;
}

const EXAMPLES = `
Examples:
  bailiff verdicts --since 1d                        a day of judgements
  bailiff verdicts --level high --follow             high and critical ones, live
  bailiff explain <id>                               why one was made, and what came of it
`;

function filterOf(options: Options): VerdictFilter {
  return {
    pod: options.pod === undefined ? null : parsePod(options.pod, '--pod', options.namespace),
    namespace: options.namespace === undefined ? undefined : parseName(options.namespace, '--namespace'),
    node: options.node === undefined ? undefined : parseName(options.node, '--node'),
    rule: options.rule === undefined ? undefined : parseName(options.rule, '--rule'),
    level: options.level === undefined ? undefined : oneOf(options.level, LEVELS, '--level'),
  };
}

function listingOf({ decoder }: Session, filter: VerdictFilter): Listing<VerdictRow> {
  return {
    stream: 'VERDICTS',
    noun: 'verdicts',
    filterSubjects: [filters.verdicts(subjectParts(filter.pod ?? null, filter.namespace))],
    read: (message, take) =>
      decoder.read(message, 'Verdict', (verdict) => {
        if (!wantsVerdict(verdict, filter)) return;
        take({ sequence: message.sequence, storedAtMicros: message.timestampMicros, verdict });
      }),
    columns: VERDICT_COLUMNS,
    cells: verdictCells,
    json: verdictJson,
  };
}

export function register(program: Command, io: CliIo): void {
  const command = withListOptions(program.command('verdicts'))
    .description('verdicts: what was judged of violations, by which rule')
    .option('--pod <pod>', 'name, namespace/name or uid of a pod')
    .option('-n, --namespace <namespace>', 'pods of a namespace')
    .option('--node <node>', 'one node')
    .option('--rule <rule>', 'one correlation rule')
    .option('--level <level>', `this level and above: ${LEVELS.join(', ')}`)
    .addHelpText('after', EXAMPLES);
  withBusOptions(command).action(async () => {
    const options = optionsOf<Options>(command);
    const filter = filterOf(options);
    const request = parseListOptions(options, io.nowMs());
    io.exitCode = await withSession(io, command, (session) => runListing(session, listingOf(session, filter), request));
  });
}
