/**
 * A problem of the cluster: what is wrong, where, what to do, and the exit code of all problems. Pure.
 *
 * Files of this folder turn facts (facts.ts) into problems. `bailiff status`, `bailiff doctor` and
 * other readers show them, and decide nothing themselves.
 */
import { EXIT, type ExitCode } from '@bailiff/service/exit-codes';

/** What a problem is about. `bailiff doctor` has one finding or more for each. */
export const AREAS = [
  'nodes',
  'enforcement',
  'configuration',
  'services',
  'streams',
  'dead letters',
  'certificates',
  'unguarded nodes',
  'runtime policies',
  'CNI plugin',
] as const;
export type Area = (typeof AREAS)[number];

/** Everything works, but not everything is enforced, as configured or as the cluster allows. */
export const NOT_ENFORCED = 10;
export type ProblemCode = ExitCode | typeof NOT_ENFORCED;

export interface Problem {
  /** shout: something does not work. warn: it works with restrictions. */
  severity: 'shout' | 'warn';
  area: Area;
  /** The node, service, stream or scope. */
  node: string;
  text: string;
  /** Empty if there is nothing to do. */
  remedy: string;
  /** 0: the promise is kept all the same. */
  exitCode: ProblemCode;
}

export const shout = (
  node: string,
  text: string,
  remedy: string,
  exitCode: ExitCode,
  area: Area = 'nodes',
): Problem => ({ severity: 'shout', area, node, text, remedy, exitCode });
export const warn = (node: string, text: string, remedy = '', area: Area = 'nodes'): Problem => ({
  severity: 'warn',
  area,
  node,
  text,
  remedy,
  exitCode: EXIT.ok,
});
/** Packets or operations that should be denied pass, or may pass. */
export const notEnforced = (node: string, text: string, remedy = '', area: Area = 'enforcement'): Problem => ({
  ...warn(node, text, remedy, area),
  exitCode: NOT_ENFORCED,
});

/** A receiver or witness that fails for less is retried, and no problem. */
export const FAILING_MS = 60_000;

/** Interfaces or policies named per reason; `--json` lists all. */
export const MAX_NAMED = 2;

/** The most severe first. */
export const CODE_ORDER: readonly ProblemCode[] = [
  EXIT.dependencyUnreachable,
  EXIT.kernelLacksFeature,
  EXIT.badConfiguration,
  NOT_ENFORCED,
];

/** The exit code of the most severe problem. */
export function weigh(problems: readonly Pick<Problem, 'exitCode'>[]): ProblemCode {
  const codes = new Set(problems.map(({ exitCode }) => exitCode));
  return CODE_ORDER.find((code) => codes.has(code)) ?? EXIT.ok;
}

/** Groups by reason, so that each reason is reported once. */
export function byReason<T extends { reason: string }>(those: readonly T[]): Map<string, T[]> {
  const groups = new Map<string, T[]>();
  for (const one of those) groups.set(one.reason, [...(groups.get(one.reason) ?? []), one]);
  return groups;
}

/** Equal problems of several nodes, scopes or services, as one with all their names. */
export function alike(problems: readonly Problem[]): (Omit<Problem, 'node'> & { nodes: string[] })[] {
  const groups = new Map<string, Omit<Problem, 'node'> & { nodes: string[] }>();
  for (const { node, ...problem } of problems) {
    const key = JSON.stringify([problem.severity, problem.area, problem.text, problem.remedy]);
    const group = groups.get(key);
    if (group) group.nodes.push(node);
    else groups.set(key, { ...problem, nodes: [node] });
  }
  return [...groups.values()];
}
