/** The chained CNI plugin in a node's status, as text and as problems. Pure. */
import type { CniStatus, NodeStatus } from '@bailiff/schemas';
import { plural, quoted, reportedName } from '../status/text.ts';
import { type Problem, warn } from './problem.ts';

/** The remedies are on one page. */
const GUIDE = 'see docs/cni-plugin.md';
const UNINSTALL = 'on the node: collector uninstall-cni';

/** Why new pods of a node start without the guarantee of the plugin; null: it holds, or is off. */
export function cniObstacle({ cni }: NodeStatus): { reason: string; remedy: string } | null {
  if (!cni) return null;
  if (cni.state === 'off') return cni.problem === '' ? null : { reason: quoted(cni.problem), remedy: UNINSTALL };
  if (cni.state === 'not-installed') return { reason: because('the CNI plugin is not installed', cni), remedy: GUIDE };
  if (cni.state === 'not-served')
    return { reason: because('the CNI plugin is installed, but not served', cni), remedy: GUIDE };
  return null;
}

const because = (text: string, { problem }: CniStatus): string =>
  problem === '' ? text : `${text}: ${quoted(problem)}`;

export function cniProblems(node: string, status: NodeStatus): Problem[] {
  const problems: Problem[] = [];
  const obstacle = cniObstacle(status);
  if (obstacle) problems.push(warn(node, obstacle.reason, obstacle.remedy, 'CNI plugin'));
  const { passed = 0, lastPassed = '' } = status.cni ?? {};
  if (passedLately(status))
    problems.push(
      warn(
        node,
        `${plural(passed, 'pod')} started without a guard since its boot, last ${quoted(lastPassed)}`,
        GUIDE,
        'CNI plugin',
      ),
    );
  return problems;
}

/**
 * A pod without a guard at its start is guarded moments later, so the warning ends this long after the
 * last one. The details keep the number.
 */
export const PASSED_WARNING_MS = 3_600_000;

/** Whether pods started without a guard within PASSED_WARNING_MS. Both times are the node's. */
export function passedLately({ cni, updatedAt }: NodeStatus): boolean {
  if (!cni || cni.passed === 0) return false;
  return cni.passedAt === undefined || Date.parse(updatedAt) - Date.parse(cni.passedAt) < PASSED_WARNING_MS;
}

/** Lines of the node's details. */
export function cniLines({ cni }: NodeStatus): string[] {
  if (!cni) return ['not reported by this version'];
  if (cni.state === 'off') return [cni.problem === '' ? 'off' : `off: ${quoted(cni.problem)}`];
  const state = cni.state.replace('-', ' ');
  return [
    `${state}, failure policy ${cni.failurePolicy}, ${plural(cni.passed, 'pod')} started without a guard`,
    ...(cni.passed === 0
      ? []
      : [
          `last pod without a guard: ${quoted(cni.lastPassed)}${cni.passedAt ? ` (${reportedName(cni.passedAt)})` : ''}`,
        ]),
    ...(cni.problem === '' ? [] : [`last problem: ${quoted(cni.problem)} (${reportedName(cni.problemAt ?? '-')})`]),
  ];
}
