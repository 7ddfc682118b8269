/** `bailiff responses`: responses on the bus, pending ones, and their approval or denial. */
import { filters, isCopy } from '@bailiff/bus';
import {
  matchesResponse,
  PHASES,
  type ResponseFilter,
  type ResponseRow,
  readTasks,
  responseJson,
  shortId,
  subjectParts,
  type TaskRecords,
  waitingOf,
  waitingTasks,
} from '@bailiff/insight';
import { RESPONSE_ACTIONS } from '@bailiff/policy';
import { approvalOf, denialOf } from '@bailiff/response';
import type { Command } from 'commander';
import { oneOf, parseIdPrefix, placeOf } from '../shared/arguments.ts';
import { confirm } from '../shared/confirm.ts';
import { CliError } from '../shared/errors.ts';
import type { CliIo } from '../shared/io.ts';
import { type Listing, type ListOptions, parseListOptions, runListing, withListOptions } from '../shared/listing.ts';
import { publishResponse } from '../shared/publish-response.ts';
import { RESPONSE_COLUMNS, responseCells } from '../shared/rows/response-cells.ts';
import { onBus, type Session } from '../shared/session.ts';

interface Options extends ListOptions {
  action?: string;
  phase?: string;
  verdict?: string;
  pending?: boolean;
}

const EXAMPLES = `
Examples:
  bailiff responses --since 1d                     actions of one day, done or refused, and why
  bailiff responses --pending                      responses that wait for approval
  bailiff responses approve 3f2a9c --reason "seen, agreed"
  bailiff responses --phase refused --json
`;

function filterOf(options: Options): ResponseFilter {
  return {
    ...placeOf(options),
    action: options.action === undefined ? undefined : oneOf(options.action, RESPONSE_ACTIONS, '--action'),
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
      // The responder stores needed records again before the stream deletes them.
      isCopy(message)
        ? undefined
        : decoder.read(message, 'Response', (response) => {
            if (!matchesResponse(response, filter)) return;
            take({ sequence: message.sequence, storedAtMicros: message.timestampMicros, response });
          }),
    columns: RESPONSE_COLUMNS,
    cells: responseCells,
    json: responseJson,
  };
}

/** Tasks that wait for approval, of any age. */
async function listPending(session: Session, filter: ResponseFilter, json: boolean): Promise<void> {
  const { out, decoder } = session;
  const rows = (await waitingTasks(session)).filter(({ response }) => matchesResponse(response, filter));
  if (json) for (const row of rows) out.jsonLine(responseJson(row));
  else if (rows.length === 0) out.note('no response waits for approval');
  else {
    out.rows(RESPONSE_COLUMNS, rows, responseCells);
    out.note('decide with `bailiff responses approve <id>` or `bailiff responses deny <id>`');
  }
  decoder.reportUndecodable(out);
}

function registerDecision(parent: Command, io: CliIo, word: 'approve' | 'deny'): void {
  const description =
    word === 'approve'
      ? 'approve a pending response; its guards are checked again before it runs'
      : 'deny a pending response: its action is not carried out';
  const command = parent
    .command(word)
    .description(description)
    .argument('<id>', 'id of the pending response, or its first characters')
    .option('--reason <text>', 'reason, for the record')
    .option('--by <name>', 'author, for the record (default: user@host)')
    .option('-y, --yes', 'do not ask for confirmation')
    .option('--json', 'print the record as one JSON document')
    .addHelpText('after', `\nExample:\n  bailiff responses ${word} 3f2a9c --reason "agreed with the owner of shop"\n`);
  onBus(command, io, (options: { reason?: string; by?: string; yes?: boolean; json?: boolean }, id: string) => {
    const prefix = parseIdPrefix(id, 'id');
    return (session) => decide(session, word, prefix, options);
  });
}

export interface DecideOptions {
  reason?: string;
  by?: string;
  yes?: boolean;
  json?: boolean;
}

/**
 * The pending record with this prefix of its own id or its verdict's id. Pure.
 * @throws CliError CLI_NOT_FOUND | CLI_STATE | CLI_USAGE
 */
export function findWaiting(tasks: Iterable<TaskRecords>, prefix: string): ResponseRow {
  const all = [...tasks];
  const hasPrefix = ({ response }: ResponseRow) =>
    response.responseId.startsWith(prefix) || response.verdictId.startsWith(prefix);
  const found = waitingOf(all).filter(hasPrefix);
  if (found.length === 1) return found[0] as ResponseRow;
  if (found.length > 1) {
    const lines = found.map(({ response }) => `${response.responseId}  ${response.action} ${subjectOf(response)}`);
    throw new CliError('CLI_USAGE', `"${prefix}" is a prefix of ${found.length} pending responses`, {
      remedy: `use more characters of one id:\n${lines.slice(0, 8).join('\n')}`,
    });
  }
  const decided = all.find(({ pending }) => pending && hasPrefix(pending));
  if (!decided) {
    throw new CliError('CLI_NOT_FOUND', `no pending response has an id that starts with "${prefix}"`, {
      remedy: '`bailiff responses --pending` lists them',
    });
  }
  const { response } = (decided.terminal ?? decided.started ?? decided.approved) as ResponseRow;
  throw new CliError(
    'CLI_STATE',
    `the response is no longer pending: ${response.phase}${response.reason ? `, ${response.reason}` : ''}`,
  );
}

const subjectOf = (response: ResponseRow['response']) =>
  response.podName === '' ? `node ${response.nodeName}` : `pod ${response.podNamespace}/${response.podName}`;

export async function decide(
  session: Session,
  decision: 'approve' | 'deny',
  prefix: string,
  options: DecideOptions,
): Promise<void> {
  const { io, out } = session;
  const tasks = await readTasks(session);
  const { response } = findWaiting(tasks.values(), prefix);
  const what = `${response.action} ${subjectOf(response)} on ${response.nodeName}`;
  out.note(`${what}: level ${response.level} by rule ${response.rule}, verdict ${shortId(response.verdictId)}`);
  await confirm(io, `${decision === 'approve' ? 'Approve' : 'Deny'} it?`, options.yes);
  const operator = { by: options.by ?? io.operator, nowMicros: io.nowMs() * 1000, note: options.reason ?? '' };
  const record = decision === 'approve' ? approvalOf(response, operator) : denialOf(response, operator);
  const stored = await publishResponse(session, record);
  if (stored === null) throw new CliError('CLI_STATE', 'the response was decided by another operator');
  const row = { sequence: stored, storedAtMicros: record.recordedAt, response: record };
  if (options.json) out.json(responseJson(row));
  else out.line(`${decision === 'approve' ? 'approved' : 'denied'}: ${what} (RESPONSES #${stored})`);
}

export function register(program: Command, io: CliIo): void {
  const command = withListOptions(program.command('responses'))
    .description('responses: actions on verdicts, done or refused, and why')
    .option('--action <action>', RESPONSE_ACTIONS.join(', '))
    .option('--phase <phase>', PHASES.join(', '))
    .option('--verdict <id>', 'one verdict, by the first characters of its id')
    .option('--pending', 'only responses that wait for approval, of any age')
    .addHelpText('after', EXAMPLES);
  onBus(command, io, (options: Options) => {
    const filter = filterOf(options);
    const request = parseListOptions(options);
    return (session) =>
      options.pending
        ? listPending(session, filter, request.json)
        : runListing(session, () => listingOf(session, filter), request);
  });
  registerDecision(command, io, 'approve');
  registerDecision(command, io, 'deny');
}
