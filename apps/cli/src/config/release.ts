/** `config release`: a key is kept by nobody, and its value stands until somebody writes it. */
import { writeConfig } from '@bailiff/bus';
import { type ConfigKey, formatConfigKey } from '@bailiff/policy';
import { readStored, valueIn } from '../shared/config/change.ts';
import type { ChangeOptions } from '../shared/config/change-options.ts';
import { ownerJson, ownerText, refuseOwned } from '../shared/config/keeper.ts';
import { confirm } from '../shared/confirm.ts';
import { CliError } from '../shared/errors.ts';
import type { Session } from '../shared/session.ts';

/**
 * Writes the value that stands again, with nobody as its keeper. @returns the exit code.
 * @throws CliError CLI_NOT_FOUND | CLI_STATE | CLI_DECLINED; ConfigError CONFIG_OWNER | CONFIG_REVISION; BusError
 */
export async function release(session: Session, key: ConfigKey, options: ChangeOptions): Promise<number> {
  const { bus, io, out } = session;
  const text = formatConfigKey(key);
  const stored = await readStored(session, key);
  if (!stored) {
    const remedy = 'a key under which nothing is stored is nobody’s: a resource that means it has it already';
    throw new CliError('CLI_NOT_FOUND', `nothing is stored under ${text}`, { remedy });
  }
  if (stored.released) {
    out.note(`${text}: nobody keeps it`);
    return 0;
  }
  refuseOwned(stored, options.takeOver);
  const value = valueIn(stored);
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    const remedy = 'write it anew with `bailiff config set -f`, or delete it';
    throw new CliError('CLI_STATE', `what is stored under ${text} is no object of fields`, { remedy });
  }
  out.note(`${text}: revision ${stored.revision} stands; ${ownerText(stored)} keeps it no more`);
  if (options.dryRun) {
    out.note('nothing was written (--dry-run)');
    return 0;
  }
  await confirm(io, 'Release it?', options.yes);
  const { revision: _renewed, ...fields } = value as Record<string, unknown>;
  const { by = io.operator, reason: why = 'bailiff config release', takeOver = false } = options;
  const expectedRevision = stored.bucketRevision;
  // It stands already: what would be refused of a new value is no reason to keep it here.
  const how = { by, why, takeOver, expectedRevision, release: true, restores: true };
  const written = await writeConfig(bus, key, fields, how);
  if (options.json) out.json({ key: text, revision: written.revision, keptBy: ownerJson(written) });
  else out.line(`${text} is at revision ${written.revision}, kept by nobody`);
  return 0;
}
