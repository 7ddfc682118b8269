/**
 * `config release`: the key keeps its value but loses its owner, so that a custom resource can take
 * it.
 */
import { writeConfig } from '@bailiff/bus';
import { type ConfigKey, formatConfigKey } from '@bailiff/policy';
import { readStored, refuseUnread, valueIn } from '../../shared/config/change.ts';
import type { ChangeOptions } from '../../shared/config/change-options.ts';
import { ownerJson, ownerText, refuseOwned } from '../../shared/config/owner.ts';
import { confirm } from '../../shared/confirm.ts';
import { CliError } from '../../shared/errors.ts';
import { signing } from '../../shared/key-file.ts';
import type { Session } from '../../shared/session.ts';

/**
 * Writes the stored value again, without an owner.
 * @throws CliError CLI_NOT_FOUND | CLI_STATE | CLI_DECLINED; ConfigError CONFIG_OWNER |
 * CONFIG_REVISION; BusError
 */
export async function release(session: Session, key: ConfigKey, options: ChangeOptions): Promise<void> {
  const { bus, io, out } = session;
  const text = formatConfigKey(key);
  const stored = await readStored(session, key);
  if (!stored) {
    const remedy = 'a key without a stored value has no owner, so a custom resource can already take it';
    throw new CliError('CLI_NOT_FOUND', `nothing is stored under ${text}`, { remedy });
  }
  if (stored.released) return out.note(`${text} has no owner`);
  refuseOwned(stored, options.takeOver);
  const value = valueIn(stored);
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    const remedy = 'write it again with `bailiff config set -f`, or delete it';
    throw new CliError('CLI_STATE', `the value stored under ${text} is not an object of fields`, { remedy });
  }
  refuseUnread({ key, stored, next: {}, basis: stored, because: '' }, options.sign);
  out.note(`${text}: revision ${stored.revision} stays; ${ownerText(stored)} no longer owns it`);
  if (options.dryRun) return out.note('nothing was written (--dry-run)');
  await confirm(io, 'Release it?', options.yes);
  const { revision: _renewed, ...fields } = value as Record<string, unknown>;
  const { by = io.operator, reason: why = 'bailiff config release', takeOver = false } = options;
  const expectedRevision = stored.bucketRevision;
  // The value is already stored: checks for new values must not prevent the release.
  const how = {
    by,
    why,
    takeOver,
    expectedRevision,
    release: true,
    restores: true,
    ...signing(options.sign, io.nowMs()),
  };
  const written = await writeConfig(bus, key, fields, how);
  if (options.json) out.json({ key: text, revision: written.revision, keptBy: ownerJson(written) });
  else out.line(`${text}: revision ${written.revision}, without an owner`);
}
