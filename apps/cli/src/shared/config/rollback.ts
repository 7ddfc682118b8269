/** Writing an earlier value of a key again, as a new revision: for `config rollback` and `policy rollback`. */
import type { ConfigKey } from '@bailiff/policy';
import { CliError } from '../errors.ts';
import type { Session } from '../session.ts';
import { type Change, type ChangeOptions, carryOut, readStored } from './change.ts';
import { readHistory, rollbackTarget } from './history.ts';

/**
 * @param to the revision to go back to; null = the last that differs from what holds now
 * @throws CliError CLI_NOT_FOUND | CLI_CONFIG; as carryOut
 */
export async function rollBack(
  session: Session,
  key: ConfigKey,
  to: number | null,
  options: ChangeOptions,
  linesOf?: Change['linesOf'],
): Promise<number> {
  const { value, revision: number } = rollbackTarget(await readHistory(session, key), to);
  const stored = await readStored(session, key);
  if (typeof value === 'string') throw new CliError('CLI_CONFIG', `revision ${number} is no JSON`);
  const { revision, ...next } = (value ?? {}) as Record<string, unknown>;
  const without = key.kind === 'runtime' ? 'rollback to before it was made' : 'rollback to the built-in value';
  const because = value === undefined ? without : `rollback to revision ${String(revision)}`;
  const reason = options.reason === undefined ? {} : { reason: `${because}: ${options.reason}` };
  const change = { key, stored, next: value === undefined ? null : next, because, ...(linesOf ? { linesOf } : {}) };
  return carryOut(session, change, { ...options, ...reason });
}
