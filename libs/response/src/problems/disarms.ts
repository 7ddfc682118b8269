/**
 * Disarms that a node has although no stored one explains them: it has not read their end. The kernel keeps a
 * disarm until its time, also without a collector. Pure.
 */
import type { NodeStatus } from '@bailiff/schemas';
import { age, plural, reportedName, shortList } from '../status/text.ts';
import type { ActiveDisarm } from './enforcement.ts';
import { MAX_NAMED, notEnforced, type Problem } from './problem.ts';

export type DisarmsOfNode = Pick<NodeStatus, 'disarmedUntil' | 'disarmedNamespaces' | 'disarmedNamespacesOmitted'>;

/** A time of a node is converted to that of the bus by when the bus stored its status. */
const CLOCK_SLACK_MS = 30_000;
const READ_END = 'no stored disarm explains it: check that its collector runs and reads the bus; it ends by itself';

/** Whether nothing of the namespace is dropped there; null: its status omits that. */
export function isDisarmedThere(
  { disarmedUntil, disarmedNamespaces = [], disarmedNamespacesOmitted = 0 }: DisarmsOfNode,
  namespace: string,
  nowMs: number,
): boolean | null {
  const own = disarmedNamespaces.find((one) => one.namespace === namespace);
  if ([disarmedUntil, own?.disarmedUntil].some((until) => Date.parse(until ?? '') > nowMs)) return true;
  return own || disarmedNamespacesOmitted === 0 ? false : null;
}

/** `namespace` null: of the whole node. */
export interface UnendedDisarm {
  namespace: string | null;
  untilMs: number;
}

/** Further namespaces, which a status omits, are not compared: `omitted` counts them. */
export function unendedDisarms(
  node: string,
  status: DisarmsOfNode,
  stored: readonly Pick<ActiveDisarm, 'scope' | 'untilMs'>[],
  nowMs: number,
): { unended: UnendedDisarm[]; omitted: number } {
  const { disarmedUntil, disarmedNamespaces = [], disarmedNamespacesOmitted = 0 } = status;
  const held = [
    { namespace: null, untilMs: Date.parse(disarmedUntil ?? '') },
    ...disarmedNamespaces.map((one) => ({ namespace: one.namespace, untilMs: Date.parse(one.disarmedUntil) })),
  ];
  const isExplained = ({ namespace, untilMs }: UnendedDisarm): boolean => {
    const scopes = ['the whole cluster', `node ${node}`, ...(namespace === null ? [] : [`namespace ${namespace}`])];
    return stored.some((one) => scopes.includes(one.scope) && one.untilMs + CLOCK_SLACK_MS >= untilMs);
  };
  return {
    unended: held.filter((one) => one.untilMs > nowMs && !isExplained(one)),
    omitted: disarmedNamespacesOmitted,
  };
}

/** `namespace shop`, `namespaces a, b and 3 more`, as a node names them. */
export const namespacesText = (names: readonly string[]): string =>
  `namespace${names.length === 1 ? '' : 's'} ${shortList(names.map(reportedName), MAX_NAMED)}`;

export function disarmProblems(
  node: string,
  status: DisarmsOfNode,
  stored: readonly Pick<ActiveDisarm, 'scope' | 'untilMs'>[],
  nowMs: number,
): Problem[] {
  const { unended, omitted } = unendedDisarms(node, status, stored, nowMs);
  const whole = unended.find(({ namespace }) => namespace === null);
  const names = unended.flatMap(({ namespace }) => (namespace === null ? [] : [namespace]));
  const lastMs = Math.max(...unended.filter(({ namespace }) => namespace !== null).map(({ untilMs }) => untilMs));
  const problems: Problem[] = [];
  if (whole) problems.push(notEnforced(node, `is disarmed for ${age(whole.untilMs - nowMs)}`, READ_END, 'nodes'));
  if (names.length > 0)
    problems.push(
      notEnforced(node, `is disarmed in ${namespacesText(names)} for ${age(lastMs - nowMs)}`, READ_END, 'nodes'),
    );
  if (omitted > 0)
    problems.push(
      notEnforced(
        node,
        `is disarmed in ${plural(omitted, 'further namespace')}, omitted from its status`,
        'bailiff disarm',
        'nodes',
      ),
    );
  return problems;
}
