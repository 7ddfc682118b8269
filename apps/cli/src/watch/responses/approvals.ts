/**
 * Approves or denies a pending response: finds it by id, asks for confirmation, and publishes one
 * record.
 */

import { type ResponseRow, readTasks, responseJson, shortId, type TaskRecords, waitingOf } from '@bailiff/insight';
import { approvalOf, denialOf } from '@bailiff/response';
import { confirm } from '../../shared/confirm.ts';
import { CliError } from '../../shared/errors.ts';
import { publishResponse } from '../../shared/publish-response.ts';
import type { Session } from '../../shared/session.ts';

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
): Promise<number> {
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
  return 0;
}
