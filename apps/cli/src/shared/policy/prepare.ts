/**
 * Policies of files as changes of the stored configuration: checked alone, and merged with the stored
 * policies for the existing pods. All-or-nothing (shared/config/change.ts).
 */
import { type Reader, readNodesInput, readPods } from '@bailiff/insight';
import { formatConfigKey } from '@bailiff/policy';
import { plural, policyPlaces, STALE_NODE_MS } from '@bailiff/response';
import {
  compileSet,
  containersNamed,
  mergeSelected,
  type NamedPolicy,
  PolicyError,
  selects,
  selectsPod,
} from '@bailiff/runtime';
import type { PodIdentity } from '@bailiff/schemas';
import { type Change, checkChange, differenceOf, isSame, readStored } from '../config/change.ts';
import { CliError } from '../errors.ts';
import { yamlLines } from '../text/yaml.ts';
import type { FilePolicy } from './files.ts';
import { keyOf } from './names.ts';
import { namedPolicies, readPolicies } from './stored.ts';

/** Most locations listed per error. */
const MAX_FIELDS = 12;

/** The value to store, with a revision only if the file contains one. */
function storedForm({ policy }: NamedPolicy): Record<string, unknown> {
  const { revision, ...rest } = policy;
  return revision > 0 ? { ...rest, revision } : rest;
}

async function changesOf(session: Reader, files: readonly FilePolicy[], because: string): Promise<Change[]> {
  return Promise.all(
    files.map(async (policy): Promise<Change> => {
      const key = keyOf(policy.namespace, policy.name);
      return {
        key,
        stored: await readStored(session, key),
        next: storedForm(policy),
        because,
        linesOf: yamlLines,
        summary: summaryOf(policy.policy),
      };
    }),
  );
}

/** Lists the rules that exceed a limit together, with their files. */
function limitError(error: PolicyError, files: readonly FilePolicy[]): CliError {
  const fields = error.fields.slice(0, MAX_FIELDS).map(({ policy, field }) => {
    const file = files.find(({ key }) => key === policy)?.file;
    return `${policy}  ${field}${file === undefined ? '  (stored)' : `  ${file}`}`;
  });
  const more = error.fields.length - fields.length;
  const lines = [`${error.message}; nothing was written`, ...fields, ...(more > 0 ? [`and ${more} more`] : [])];
  const remedy = 'use fewer rules about one object, or policies that select fewer pods';
  return new CliError('CLI_CONFIG', lines.join('\n'), { cause: error, remedy });
}

/** Checks policies, alone and merged with the stored ones for the existing pods. */
export async function prepare(session: Reader, files: readonly FilePolicy[], because: string): Promise<Change[]> {
  const [changes, stored, pods] = await Promise.all([
    changesOf(session, files, because),
    readPolicies(session),
    readPods(session),
  ]);
  for (const change of changes) checkChange(change);
  const changed = new Set(files.map(({ key }) => key));
  try {
    checkMerged([...namedPolicies(stored).filter(({ key }) => !changed.has(key)), ...files], changed, pods);
  } catch (error) {
    if (!(error instanceof PolicyError)) throw error;
    throw limitError(error, files);
  }
  return changes;
}

/** `enforce, 3 rules` */
export const summaryOf = ({ mode, rules }: { mode: string; rules: readonly unknown[] }): string =>
  `${mode}, ${plural(rules.length, 'rule')}`;

function changeKind(change: Change) {
  if (isSame(change)) return 'none';
  if (!change.next) return 'deleted';
  return change.stored ? 'changed' : 'created';
}

export function differenceJson(change: Change) {
  const sign = { ' ': 'kept', '-': 'removed', '+': 'added' } as const;
  const lines = differenceOf(change).flatMap((line) => (line === null || line.sign === ' ' ? [] : [line]));
  return {
    key: formatConfigKey(change.key),
    change: changeKind(change),
    against: change.stored?.revision ?? null,
    lines: lines.map((line) => ({ [sign[line.sign]]: line.text })),
  };
}

export type Reach = (key: string, revision: number) => string;

/** Where policies are in force, as reported by the nodes. @throws BusError */
export async function readReach(reader: Reader): Promise<Reach> {
  const input = await readNodesInput(reader, STALE_NODE_MS);
  return (key, revision) => {
    const policies = [{ key, revision, enabled: true }];
    const [places] = policyPlaces({ ...input, policies });
    if (!places || places.nodes === 0) return 'no node has reported yet';
    const where = `in force on ${places.inForce} of ${plural(places.nodes, 'node')}`;
    return places.inForce === 0
      ? where
      : `${where}, for ${plural(places.subjects, 'pod or container', 'pods and containers')}`;
  };
}

/** Only limits are checked, so the key does not matter. */
const KEY = new Uint8Array(16);

/**
 * Checks that valid policies also compile together for the existing pods, so that an excess of
 * rules is refused here instead of by a node later. @throws PolicyError POLICY_LIMIT
 */
function checkMerged(
  policies: readonly NamedPolicy[],
  changed: ReadonlySet<string>,
  pods: readonly PodIdentity[],
): void {
  const seen = new Set<string>();
  for (const pod of pods) {
    const holding = policies.filter((named) => selectsPod(named, pod));
    if (!holding.some(({ key }) => changed.has(key))) continue;
    for (const container of [null, ...containersNamed(holding, pod)]) {
      const mine = holding.filter((named) => selects(named, pod, container));
      // Pods with the same policies share a set: ten thousand pods have only a few.
      const name = mine.map(({ key }) => key).join(' ');
      if (mine.length === 0 || seen.has(name)) continue;
      seen.add(name);
      compileSet(mergeSelected(mine), 1, KEY);
    }
  }
}
