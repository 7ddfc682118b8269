/** Findings of `bailiff doctor`, and the exit code of all of them. Pure. */
import { CODE_ORDER, type ProblemCode, plural } from '@bailiff/response';
import { EXIT, type ExitCode } from '@bailiff/service';
import { wrapAfter } from '../../shared/text/clean.ts';
import type { Style } from '../../shared/text/paint.ts';
import type { TableOptions } from '../../shared/text/table.ts';

export interface Finding {
  name: string;
  /**
   * `fail`: a prerequisite is missing. `warn`: Bailiff works with restrictions. `skip`: not
   * checked.
   */
  state: 'ok' | 'warn' | 'fail' | 'skip';
  detail: string;
  /** How to provide it; empty if nothing is missing. */
  remedy: string;
  /** For a failure, and for a warning that something is not enforced. */
  exitCode: ProblemCode;
}

export interface Group {
  title: string;
  findings: Finding[];
}

const findingOf =
  (state: Finding['state']) =>
  (name: string, detail = '', remedy = '', exitCode: ExitCode = EXIT.ok): Finding => ({
    name,
    state,
    detail,
    remedy,
    exitCode,
  });
export const ok: (name: string, detail?: string) => Finding = findingOf('ok');
export const warn: (name: string, detail: string, remedy?: string) => Finding = findingOf('warn');
export const fail: (name: string, detail: string, remedy: string, exitCode: ExitCode) => Finding = findingOf('fail');
export const skip: (name: string, detail: string, remedy?: string) => Finding = findingOf('skip');

const NOT_CHECKED = 'not checked';

/** The finding of a part that has no address. */
export const notChecked = (why: string, remedy?: string): Finding => skip(NOT_CHECKED, why, remedy);

/** A part that was asked for by name, and could not be checked, is no success. */
export const demanded = ({ title, findings }: Group): Group => ({
  title,
  findings: findings.map((one) =>
    one.name === NOT_CHECKED ? fail(one.name, one.detail, one.remedy, EXIT.badFlags) : one,
  ),
});

/** Without privileges, later checks prove nothing. Otherwise the order of `bailiff status`. */
const ORDER: readonly ProblemCode[] = [EXIT.missingPrivilege, ...CODE_ORDER];

export function exitCodeOf(groups: readonly Group[]): ProblemCode {
  const all = groups.flatMap(({ findings }) => findings.map(({ exitCode }) => exitCode));
  const codes: ProblemCode[] = all.filter((code) => code !== EXIT.ok);
  return ORDER.find((code) => codes.includes(code)) ?? codes[0] ?? EXIT.ok;
}

const SIGNS: Record<Finding['state'], [string, Style]> = {
  ok: ['✓', 'green'],
  warn: ['!', 'yellow'],
  fail: ['✗', 'red'],
  skip: ['-', 'dim'],
};

/** A group's findings under its title, each with its remedy. */
export function groupLines({ title, findings }: Group, { width, paint = (text) => text }: TableOptions): string[] {
  const lines = [paint(title, 'bold')];
  for (const { name, state, detail, remedy } of findings) {
    const [sign, style] = SIGNS[state];
    lines.push(...wrapAfter(`  ${paint(sign, style)} `, detail === '' ? name : `${name}: ${detail}`, width, 4));
    if (remedy !== '') lines.push(...wrapAfter('    ', `→ ${remedy}`, width, 6));
  }
  return lines;
}

export function verdictLine(groups: readonly Group[]): string {
  const all = groups.flatMap(({ findings }) => findings);
  const count = (state: Finding['state']) => all.filter((finding) => finding.state === state).length;
  const parts = [`${count('ok')} ok`];
  if (count('warn') > 0) parts.push(plural(count('warn'), 'warning'));
  if (count('fail') > 0) parts.push(`${count('fail')} failed`);
  if (count('skip') > 0) parts.push(`${count('skip')} not checked`);
  const code = exitCodeOf(groups);
  const deciding = new Set(all.filter(({ exitCode }) => exitCode === code).map(({ name }) => name));
  return parts.join(', ') + (code === EXIT.ok ? '' : `; exit code ${code}: ${[...deciding].join(', ')}`);
}
