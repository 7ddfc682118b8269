/** `bailiff responses`: what was done about verdicts, what waits for a person, and that person's yes or no. */
import { filters } from '@bailiff/bus';
import { ACTIONS } from '@bailiff/policy';
import type { Command } from 'commander';
import type { CliIo } from '../shared/io.ts';
import { type Listing, type ListOptions, parseListOptions, runListing, withListOptions } from '../shared/listing.ts';
import { waitingTasks } from '../shared/read/tasks.ts';
import {
  PHASES,
  RESPONSE_COLUMNS,
  type ResponseFilter,
  type ResponseRow,
  responseCells,
  responseJson,
  wantsResponse,
} from '../shared/rows/response-rows.ts';
import { oneOf, parseIdPrefix, parseName, parsePod, subjectParts } from '../shared/selectors.ts';
import { optionsOf, type Session, withBusOptions, withSession } from '../shared/session.ts';
import { table } from '../shared/text/table.ts';
import { decide } from './approvals.ts';

interface Options extends ListOptions {
  pod?: string;
  namespace?: string;
  node?: string;
  action?: string;
  phase?: string;
  verdict?: string;
  pending?: boolean;
}

const EXAMPLES = `
Examples:
  bailiff responses --since 1d                     what was done and refused in a day, and why
  bailiff responses --pending                      what waits for somebody's yes
  bailiff responses approve 3f2a9c --reason "seen, agreed"
  bailiff responses --phase refused --json
`;

function filterOf(options: Options): ResponseFilter {
  return {
    pod: options.pod === undefined ? null : parsePod(options.pod, '--pod', options.namespace),
    namespace: options.namespace === undefined ? undefined : parseName(options.namespace, '--namespace'),
    node: options.node === undefined ? undefined : parseName(options.node, '--node'),
    action: options.action === undefined ? undefined : oneOf(options.action, ACTIONS, '--action'),
    phase: options.phase === undefined ? undefined : oneOf(options.phase, PHASES, '--phase'),
    verdict: options.verdict === undefined ? undefined : parseIdPrefix(options.verdict, '--verdict'),
  };
}

function listingOf({ decoder }: Session, filter: ResponseFilter): Listing<ResponseRow> {
  const parts = subjectParts(filter.pod ?? null, filter.namespace);
  return {
    stream: 'RESPONSES',
    noun: 'responses',
    filterSubjects: [filters.responses({ ...parts, ...(filter.action ? { action: filter.action } : {}) })],
    read: (message, take) =>
      decoder.read(message, 'Response', (response) => {
        if (!wantsResponse(response, filter)) return;
        take({ sequence: message.sequence, storedAtMicros: message.timestampMicros, response });
      }),
    columns: RESPONSE_COLUMNS,
    cells: responseCells,
    json: responseJson,
  };
}

/** Tasks that wait for approval, whenever they began to. */
async function listPending(session: Session, filter: ResponseFilter, json: boolean): Promise<number> {
  const { out, io, decoder } = session;
  const rows = (await waitingTasks(session)).filter(({ response }) => wantsResponse(response, filter));
  if (json) for (const row of rows) out.jsonLine(responseJson(row));
  else if (rows.length === 0) out.note('nothing waits for approval');
  else {
    const cells = rows.map((row) => responseCells(row, io.nowMs()));
    out.lines(table(RESPONSE_COLUMNS, cells, out.table));
    out.note('decide with `bailiff responses approve <id>` or `bailiff responses deny <id>`');
  }
  const complaint = decoder.complaint();
  if (complaint) out.note(complaint);
  return 0;
}

function registerDecision(parent: Command, io: CliIo, word: 'approve' | 'deny'): void {
  const description =
    word === 'approve'
      ? 'let a response that waits for approval go on; its guards are judged again first'
      : 'end a response that waits for approval: nothing is done';
  const command = parent
    .command(word)
    .description(description)
    .argument('<id>', 'id of the pending response, or its first characters')
    .option('--reason <text>', 'why, for the record')
    .option('--by <name>', 'who decides, for the record (default: user@host)')
    .option('-y, --yes', 'do not ask')
    .option('--json', 'the record as one JSON document')
    .addHelpText('after', `\nExample:\n  bailiff responses ${word} 3f2a9c --reason "agreed with the owner of shop"\n`);
  withBusOptions(command).action(async (id: string) => {
    const prefix = parseIdPrefix(id, 'id');
    const options = optionsOf<{ reason?: string; by?: string; yes?: boolean; json?: boolean }>(command);
    io.exitCode = await withSession(io, command, (session) => decide(session, word, prefix, options));
  });
}

export function register(program: Command, io: CliIo): void {
  const command = withListOptions(program.command('responses'))
    .description('responses: what was done about verdicts, or refused, and why')
    .option('--pod <pod>', 'name, namespace/name or uid of a pod')
    .option('-n, --namespace <namespace>', 'pods of a namespace')
    .option('--node <node>', 'one node')
    .option('--action <action>', ACTIONS.join(', '))
    .option('--phase <phase>', PHASES.join(', '))
    .option('--verdict <id>', 'of one verdict, by the first characters of its id')
    .option('--pending', 'only what waits for approval, however old')
    .addHelpText('after', EXAMPLES);
  withBusOptions(command).action(async () => {
    const options = optionsOf<Options>(command);
    const filter = filterOf(options);
    const request = parseListOptions(options, io.nowMs());
    io.exitCode = await withSession(io, command, (session) =>
      options.pending
        ? listPending(session, filter, request.json)
        : runListing(session, listingOf(session, filter), request),
    );
  });
  registerDecision(command, io, 'approve');
  registerDecision(command, io, 'deny');
}
