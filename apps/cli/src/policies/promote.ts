/**
 * `policy promote`: moves one policy from audit to enforce. First it shows what enforcing would have
 * denied (would-deny.ts), and where the policy is in force, because nothing is recorded elsewhere.
 */
import { clockTime, isoMicros, operationText, programText } from '@bailiff/insight';
import { plural, podName } from '@bailiff/response';
import { type ChangeOptions, perform } from '../shared/config/change.ts';
import { CliError } from '../shared/errors.ts';
import { shortName } from '../shared/policy/names.ts';
import { prepare, readReach } from '../shared/policy/prepare.ts';
import { caveatsOf, readWouldDeny, type WouldDeny } from '../shared/policy/would-deny.ts';
import type { Session } from '../shared/session.ts';
import type { Cell, Column } from '../shared/text/table.ts';
import { incompleteOf } from '../shared/unsent.ts';
import { storedByName } from './show.ts';

export interface PromoteOptions extends ChangeOptions {
  namespace?: string;
  /** As the user wrote it. */
  since: string;
  sinceMs: number;
}

const COLUMNS: readonly Column[] = [
  { title: 'POD' },
  { title: 'RULE' },
  { title: 'OPERATIONS', align: 'right' },
  { title: 'LAST (UTC)' },
  { title: 'NEWEST OPERATION', min: 16, spare: true },
  { title: 'PROGRAM', min: 12, spare: true },
  { title: 'OWNER', min: 10, spare: true },
  { title: 'NODE', spare: true },
];
/** --json has all that are kept. */
const MAX_ROWS = 50;
function cellsOf({ key, packets, lastAtMicros, sample }: WouldDeny['groups'][number], nowMs: number): Cell[] {
  const { pod, vector, nodeName } = key;
  const operation = sample?.operation ?? null;
  return [
    pod ? podName(pod) : '?',
    vector.slice(vector.indexOf('/') + 1),
    String(packets),
    clockTime(lastAtMicros, nowMs),
    operation ? operationText(operation) : '',
    operation ? programText(operation) : '',
    pod?.ownerName ? `${pod.ownerKind} ${pod.ownerName}` : '',
    nodeName,
  ];
}

/** @param isComplete false: a part of the violations could not be read */
function report({ out }: Session, name: string, since: string, found: WouldDeny, isComplete: boolean): void {
  const { groups, operations } = found;
  if (operations === 0) {
    const limit = isComplete ? '' : ', as far as violations could be read';
    out.line(`Enforcing ${name} would have denied nothing that is recorded since ${since}${limit}.`);
    return;
  }
  const pods = new Set(groups.map(({ key }) => key.pod?.uid ?? key.nodeName)).size;
  const what = `${plural(operations, 'operation')} of ${plural(pods, 'pod')}`;
  out.lines([`Enforcing ${name} would have denied ${what} since ${since}:`, '']);
  out.rows(COLUMNS, groups, cellsOf, { most: MAX_ROWS });
  out.line();
}

/** The policy in audit. @throws CliError CLI_NOT_FOUND | CLI_CONFIG */
async function readAudited(session: Session, text: string, namespace?: string) {
  const found = await storedByName(session, text, namespace);
  const { policy, refused } = found;
  if (!policy) {
    throw new CliError('CLI_CONFIG', `${shortName(found)} is refused by readers of this version: ${refused}`, {
      remedy: 'apply a valid policy first',
    });
  }
  return { ...found, policy };
}

/** @throws CliError, ConfigError, PolicyError, BusError */
export async function promote(session: Session, text: string, options: PromoteOptions): Promise<void> {
  const { out, io } = session;
  const { since, sinceMs, namespace, json = false } = options;
  const audited = await readAudited(session, text, namespace);
  const { key, policy, stored } = audited;
  const name = shortName(audited);
  if (policy.mode === 'enforce') {
    if (json) out.json({ policy: key, mode: 'enforce', unchanged: true, revision: stored.revision });
    else out.note(`${name} is enforced already, at revision ${stored.revision}`);
    return;
  }
  const [found, reach] = await Promise.all([readWouldDeny(session, audited, sinceMs), readReach(session)]);
  const where = policy.enabled ? reach(key, stored.revision) : 'off: it has `enabled: false`, also after this change';
  const incomplete = await incompleteOf(session, { ...found, sinceMs });
  if (!json) report(session, name, since, found, incomplete.length === 0);
  for (const line of [...caveatsOf(found, policy), ...incomplete]) out.note(line);
  const changed = clockTime(stored.timestampMicros, io.nowMs());
  out.note(`${name} has revision ${stored.revision} since ${changed}; ${where}`);
  // It contains the revision, so that it is refused if the policy has changed since.
  const enforced = { ...audited, file: name, policy: { ...policy, mode: 'enforce' as const } };
  const changes = await prepare(session, [enforced], 'bailiff policy promote');
  const based = changes.map((change) => ({ ...change, basis: stored }));
  const outcomes = await perform(session, based, options);
  if (json) {
    const denied = found.groups.map(({ key: { pod, vector, nodeName }, packets, firstAtMicros, lastAtMicros }) => ({
      pod,
      vector,
      nodeName,
      operations: packets,
      firstAt: isoMicros(firstAtMicros),
      lastAt: isoMicros(lastAtMicros),
    }));
    const { operations, unresolved, rest: omitted } = found;
    const before = found.before.map(({ key: { vector }, packets }) => ({ vector, operations: packets }));
    const result = options.dryRun ? { dryRun: true } : { written: outcomes?.[0] ?? null };
    out.json({ policy: key, since, where, operations, denied, before, unresolved, omitted, incomplete, ...result });
  } else if (outcomes) {
    out.note(`check that it is in force: bailiff policy status ${name} --wait 10s`);
  }
}
