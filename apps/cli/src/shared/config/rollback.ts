/**
 * Writes an earlier value of a key as a new revision, for `config rollback` and `policy rollback`.
 */
import type { ConfigKey } from '@bailiff/policy';
import { CliError } from '../errors.ts';
import type { Session } from '../session.ts';
import { type Change, carryOut, readStored } from './change.ts';
import type { ChangeOptions } from './change-options.ts';
import { readHistory, rollbackTarget } from './history.ts';

/**
 * @param to the revision to restore; null = the last one that differs from the current value
 * @throws CliError CLI_NOT_FOUND | CLI_CONFIG; the errors of `carryOut`
 */
export async function rollBack(
  session: Session,
  key: ConfigKey,
  to: number | null,
  options: ChangeOptions,
  linesOf?: Change['linesOf'],
): Promise<void> {
  const { value, revision: number, text: json, signature } = rollbackTarget(await readHistory(session, key), to);
  const stored = await readStored(session, key);
  if (typeof value === 'string') throw new CliError('CLI_CONFIG', `revision ${number} is not JSON`);
  const { revision, ...next } = (value ?? {}) as Record<string, unknown>;
  const toNothing = key.kind === 'runtime' ? 'rollback to before its creation' : 'rollback to the built-in value';
  const because = value === undefined ? toNothing : `rollback to revision ${String(revision)}`;
  const reason = options.reason === undefined ? {} : { reason: `${because}: ${options.reason}` };
  const what = { key, stored, next: value === undefined ? null : next, basis: { json, signature } };
  const change = { ...what, because, ...(linesOf ? { linesOf } : {}) };
  return carryOut(session, change, { ...options, ...reason });
}
