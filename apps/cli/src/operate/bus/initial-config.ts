/**
 * `bus setup --initial-config`: stores configuration keys that were never stored. A key that an
 * operator changed or deleted stays as it is, so an upgrade never undoes a decision. All files are
 * checked before the first write. The keys have no owner, so that a custom resource can replace them.
 */
import { CONFIG_BUCKET, openBucket, writeConfig } from '@bailiff/bus';
import { type ConfigKey, type ConfigSigner, formatConfigKey } from '@bailiff/policy';
import { readTree } from '../../shared/config-tree/read.ts';
import { signing } from '../../shared/key-file.ts';
import { keyOf } from '../../shared/policy/names.ts';
import { prepare } from '../../shared/policy/prepare.ts';
import type { Session } from '../../shared/session.ts';

const WHY = 'initial configuration';

/** @throws CliError CLI_CONFIG | CLI_USAGE, PolicyError, ConfigError, BusError; ENOENT */
export async function storeInitialConfig(session: Session, directory: string, signer?: ConfigSigner): Promise<void> {
  const { bus, out, io } = session;
  const bucket = openBucket(bus, CONFIG_BUCKET);
  const isNew = async (key: ConfigKey) => (await bucket.newest(formatConfigKey(key))) === null;
  const tree = await readTree(directory);
  const policies = await filter(tree.policies, ({ namespace, name }) => isNew(keyOf(namespace, name)));
  const values = await filter(tree.values, ({ key }) => isNew(key));
  const prepared = policies.length === 0 ? [] : await prepare(session, policies, WHY);
  const wanted = [...values.map(({ key, value }) => ({ key, next: value })), ...prepared];
  for (const { key, next } of wanted) {
    if (!next) continue;
    const note = { by: 'bus setup', why: WHY, ...signing(signer, io.nowMs()) };
    await writeConfig(bus, key, next, { ...note, expectedRevision: 0, release: true });
    out.line(`${formatConfigKey(key)}: stored`);
  }
  const present = tree.values.length + tree.policies.length - wanted.length;
  if (present > 0) out.line(`${present} initial keys exist or existed, and stay as they are`);
}

async function filter<T>(list: readonly T[], isWanted: (one: T) => Promise<boolean>): Promise<T[]> {
  const wanted = await Promise.all(list.map(isWanted));
  return list.filter((_, index) => wanted[index]);
}
