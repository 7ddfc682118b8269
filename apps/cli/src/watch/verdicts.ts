/** `bailiff verdicts`: verdicts on the bus. */
import { filters } from '@bailiff/bus';
import { matchesVerdict, subjectParts, type VerdictFilter, type VerdictRow, verdictJson } from '@bailiff/insight';
import { LEVELS } from '@bailiff/policy';
import type { Command } from 'commander';
import { oneOf, parseName, placeOf } from '../shared/arguments.ts';
import type { CliIo } from '../shared/io.ts';
import {
  type Listing,
  type ListOptions,
  parseListOptions,
  runListing,
  withListOptions,
  withPod,
} from '../shared/listing.ts';
import { VERDICT_COLUMNS, verdictCells } from '../shared/rows/verdict-cells.ts';
import { onBus, type Session } from '../shared/session.ts';

interface Options extends ListOptions {
  rule?: string;
  level?: string;
}

const EXAMPLES = `
Examples:
  bailiff verdicts --since 1d                        verdicts of one day
  bailiff verdicts --level high --follow             high and critical verdicts, live
  bailiff explain <id>                               evidence of a verdict, and its responses
`;

function filterOf(options: Options): VerdictFilter {
  return {
    ...placeOf(options),
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
        if (!matchesVerdict(verdict, filter)) return;
        take({ sequence: message.sequence, storedAtMicros: message.timestampMicros, verdict });
      }),
    columns: VERDICT_COLUMNS,
    cells: verdictCells,
    json: verdictJson,
  };
}

export function register(program: Command, io: CliIo): void {
  const command = withListOptions(program.command('verdicts'))
    .description('verdicts: violations that met a correlation rule')
    .argument('[pod]', 'as --pod')
    .option('--rule <rule>', 'one correlation rule')
    .option('--level <level>', `lowest level: ${LEVELS.join(', ')}`)
    .addHelpText('after', EXAMPLES);
  onBus(command, io, (given: Options, pod: string | undefined) => {
    const options = withPod(given, pod);
    const filter = filterOf(options);
    const request = parseListOptions(options);
    return (session) => runListing(session, () => listingOf(session, filter), request);
  });
}
