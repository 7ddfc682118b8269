/**
 * `policy apply`, `diff` and `delete`: compares files with stored policies. Writes are
 * all-or-nothing (shared/config/change.ts).
 */
import type { StoredConfig } from '@bailiff/bus';
import { formatConfigKey, type RuntimePolicy } from '@bailiff/policy';
import { plural } from '@bailiff/response';
import {
  type Change,
  type ChangeOptions,
  differenceOf,
  headingOf,
  isSame,
  isUnchanged,
  paintDiff,
  perform,
  readStored,
} from '../shared/config/change.ts';
import { CliError } from '../shared/errors.ts';
import type { FilePolicy } from '../shared/policy/files.ts';
import { parsePolicyName } from '../shared/policy/names.ts';
import { differenceJson, prepare, type Reach, readReach, summaryOf } from '../shared/policy/prepare.ts';
import { storedPolicy } from '../shared/policy/stored.ts';
import type { Session } from '../shared/session.ts';
import { yamlLines } from '../shared/text/yaml.ts';

export interface ApplyOptions extends ChangeOptions {
  /** Instead of the mode of each file. */
  mode?: RuntimePolicy['mode'];
}

/**
 * @throws CliError CLI_CONFIG | CLI_DECLINED | CLI_STATE, PolicyError
 * POLICY_LIMIT, ConfigError, BusError
 */
export async function apply(session: Session, files: readonly FilePolicy[], options: ApplyOptions): Promise<void> {
  const { out } = session;
  const { mode } = options;
  const wanted = mode === undefined ? files : files.map((file) => ({ ...file, policy: { ...file.policy, mode } }));
  const changes = await prepare(session, wanted, 'bailiff policy apply');
  const unchanged = changes
    .filter((change) => isUnchanged(change, options))
    .map(({ key, stored }) => ({
      key: formatConfigKey(key),
      unchanged: true,
      revision: stored?.revision ?? 0,
    }));
  const outcomes = await perform(session, changes, options);
  if (options.json) {
    const dry = changes.filter((change) => !isSame(change)).map(differenceJson);
    out.json(options.dryRun ? { dryRun: true, changes: dry, unchanged } : [...(outcomes ?? []), ...unchanged]);
  } else if (outcomes) {
    // A stored policy may not be in force: a node's kernel may lack LSM, or the set may exceed a
    // limit.
    out.note('check that it is in force: bailiff policy status --wait 10s');
  }
}

/** Prints what `apply` would write. */
export async function diff(session: Session, files: readonly FilePolicy[], json: boolean): Promise<void> {
  const { out } = session;
  const changes = await prepare(session, files, '');
  if (json) return out.json(changes.map(differenceJson));
  const different = changes.filter((change) => !isSame(change));
  for (const change of different) {
    const lines = paintDiff(session, differenceOf(change));
    out.line(out.paint(headingOf(change), 'bold'));
    out.lines(lines.length === 0 ? ['  the effective value stays the same'] : lines);
  }
  const same = changes.length - different.length;
  out.note(`${plural(different.length, 'policy', 'policies')} would change, ${same} would not`);
}

/** `enforce, 3 rules; in force on 2 of 2 nodes, for 5 pods and containers` */
function deletedText(stored: StoredConfig, reach: Reach): string {
  const policy = storedPolicy(stored)?.policy;
  const what = policy ? summaryOf(policy) : 'refused by readers of this version';
  const where = policy && !policy.enabled ? 'off' : reach(stored.key, stored.revision);
  return `${what}; ${where}`;
}

/** @throws CliError CLI_NOT_FOUND if a policy does not exist; then none is deleted */
export async function remove(
  session: Session,
  names: readonly string[],
  namespace: string | undefined,
  options: ChangeOptions,
): Promise<void> {
  const keys = names.map((name) => parsePolicyName(name, namespace));
  const reach = await readReach(session);
  const changes = await Promise.all(
    keys.map(async (key): Promise<Change> => {
      const stored = await readStored(session, key);
      const summary = stored ? { summary: deletedText(stored, reach) } : {};
      return { key, stored, next: null, because: 'bailiff policy delete', linesOf: yamlLines, ...summary };
    }),
  );
  const missing = changes.filter(({ stored }) => stored === null).map(({ key }) => formatConfigKey(key));
  if (missing.length > 0) {
    throw new CliError('CLI_NOT_FOUND', `${missing.join(', ')} not found; nothing was deleted`, {
      remedy: '`bailiff policy list` lists the policies; use namespace/name for one of a namespace',
    });
  }
  const outcomes = await perform(session, changes, options);
  if (options.json && outcomes) session.out.json(outcomes);
}
