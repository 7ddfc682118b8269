/** A problem of the cluster, its severity, and the exit code of all problems. Pure. */
import { EXIT, type ExitCode } from '@bailiff/service';

export interface Problem {
  /** `shout` sets the exit code. */
  severity: 'shout' | 'warn';
  node: string;
  text: string;
  remedy: string;
  exitCode: ExitCode;
}

export const shout = (node: string, text: string, remedy: string, exitCode: ExitCode): Problem => ({
  severity: 'shout',
  node,
  text,
  remedy,
  exitCode,
});
export const warn = (node: string, text: string, remedy = ''): Problem => ({
  severity: 'warn',
  node,
  text,
  remedy,
  exitCode: EXIT.ok,
});

/** Interfaces or policies named per reason; `--json` lists all. */
export const MAX_NAMED = 2;

/** The exit code of the most severe problem. */
export function weigh(problems: readonly Problem[]): ExitCode {
  const order: ExitCode[] = [EXIT.dependencyUnreachable, EXIT.kernelLacksFeature, EXIT.badConfiguration];
  const codes = problems.filter(({ severity }) => severity === 'shout').map(({ exitCode }) => exitCode);
  return order.find((code) => codes.includes(code)) ?? EXIT.ok;
}

/** Groups by reason, so that each reason is reported once. */
export function byReason<T extends { reason: string }>(those: readonly T[]): Map<string, T[]> {
  const groups = new Map<string, T[]>();
  for (const one of those) groups.set(one.reason, [...(groups.get(one.reason) ?? []), one]);
  return groups;
}
