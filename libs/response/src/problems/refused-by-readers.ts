/**
 * Values that readers refuse, such as an unsigned one where signatures are required: the bus has it. It is
 * not in force if every reader refuses it. If some do, others apply it. Pure.
 */
import { parseConfigKey } from '@bailiff/policy';
import { type InstanceStatus, type NodeStatus, OMITTED_KEYS } from '@bailiff/schemas';
import { EXIT } from '@bailiff/service/exit-codes';
import { lastQuoted, quoted, reportedName } from '../status/text.ts';
import type { ClusterFacts, StoredConfig } from './facts.ts';
import { activeInstances, REFUSED_BY_SOME } from './instances.ts';
import { type Problem, shout } from './problem.ts';

type Readers = Pick<ClusterFacts, 'nodes' | 'instances' | 'nowMs' | 'staleMs'>;

/** Services that read a kind; nodes read the others. */
const SERVICES: Readonly<Record<string, string>> = { correlation: 'correlator', response: 'responder' };

/** Readers of a key that report; a string is a status that cannot be read. @throws ConfigError */
function readersOf(
  key: string,
  { nodes, instances, nowMs, staleMs }: Readers,
): (NodeStatus | InstanceStatus | string)[] {
  const { kind, scope, name } = parseConfigKey(key);
  const service = SERVICES[kind];
  if (service !== undefined) return activeInstances(instances, nowMs).filter((one) => one.service === service);
  const reading = [...nodes].filter(([node]) => scope !== 'node' || node === name).map(([, status]) => status);
  return reading.filter((one) => typeof one === 'string' || nowMs - Date.parse(one.updatedAt) < staleMs);
}

/**
 * The reason of a reader, quoted: sentences of commands end with it. Empty if a reader accepts the value, may
 * not have read it yet, or cannot be read, and without readers.
 */
export function refusalOfReaders({ key, storedMs }: Pick<StoredConfig, 'key' | 'storedMs'>, readers: Readers): string {
  const reasons = readersOf(key, readers).map((status) =>
    typeof status === 'string' || Date.parse(status.updatedAt) <= storedMs
      ? ''
      : (status.configRefused.find((one) => one.key === key)?.reason ?? ''),
  );
  return reasons.every((reason) => reason !== '') ? quoted(reasons[0] ?? '') : '';
}

/** A status follows a value that was read within ten seconds. */
const READ_WITHIN_MS = 15_000;

/** Whether readers have read a value since it was stored, and none refuses it. */
export function isAcceptedByReaders(
  { key, json, storedMs }: Pick<StoredConfig, 'key' | 'json' | 'storedMs'>,
  readers: Readers,
): boolean {
  // Who reads a kind that this version does not know is not known.
  if (!isKey(key)) return false;
  if (key.startsWith('runtime.')) return isInForceSomewhere(key, json, readers);
  const read = readersOf(key, readers).filter(
    (one) => typeof one !== 'string' && Date.parse(one.updatedAt) - storedMs > READ_WITHIN_MS,
  ) as (NodeStatus | InstanceStatus)[];
  // Beyond its limit, a list of refused keys only says how many more there are.
  const isRefused = (refused: { key: string }) => refused.key === key || refused.key === OMITTED_KEYS;
  return read.length > 0 && !read.some(({ configRefused }) => configRefused.some(isRefused));
}

/** A node that enforces no runtime policies does not read them, and names none that it refuses. */
function isInForceSomewhere(key: string, json: string, { nodes }: Readers): boolean {
  const revision = /"revision" *: *(\d+)/.exec(json)?.[1];
  return [...nodes.values()].some(
    (one) =>
      typeof one !== 'string' &&
      one.runtime?.policies.some(
        (policy) => policy.key === key && policy.state === 'in-force' && String(policy.revision) === revision,
      ),
  );
}

/** Who refuses a value, in sentences: a command of an earlier version does not know what newer readers accept. */
export const refusersOf = ({ refusedHere = false }: { refusedHere?: boolean }): string =>
  refusedHere ? 'this command alone, which is of another version than the cluster' : 'all readers';

/** A node's text becomes part of a command only if it is a key. */
function isKey(text: string): boolean {
  try {
    parseConfigKey(text);
    return /^[\w.-]+$/.test(text);
  } catch {
    return false;
  }
}

type NodeReaders = Omit<Readers, 'instances'>;

function remedyOf(node: string, key: string, { nodes, nowMs, staleMs }: NodeReaders): string {
  if (!isKey(key)) return 'bailiff config list';
  const accepts = ([name, status]: [string, NodeStatus | string]): boolean =>
    name !== node &&
    typeof status !== 'string' &&
    nowMs - Date.parse(status.updatedAt) <= staleMs &&
    status.configRefused.every((refused) => refused.key !== key);
  if (parseConfigKey(key).scope !== 'node' && [...nodes].some(accepts)) return REFUSED_BY_SOME;
  return `bailiff config get ${key}; bailiff config rollback ${key}`;
}

export const nodeRefusalProblems = (
  node: string,
  { configRefused }: Pick<NodeStatus, 'configRefused'>,
  readers: NodeReaders,
): Problem[] =>
  configRefused.map(({ key, reason }) => {
    const text = `refuses ${reportedName(key)}, the last good value stays in force: ${lastQuoted(reason)}`;
    return shout(node, text, remedyOf(node, key, readers), EXIT.badConfiguration, 'configuration');
  });
