/** What a check of `bailiff doctor` finds, and what all of them come to. Pure. */
import { EXIT, type ExitCode } from '@bailiff/service';
import { wrap } from '../shared/text/clean.ts';
import type { Style } from '../shared/text/paint.ts';
import type { TableOptions } from '../shared/text/table.ts';

export interface Finding {
  name: string;
  /** fail: something needed is missing. warn: it works with less. skip: not looked at, and why. */
  state: 'ok' | 'warn' | 'fail' | 'skip';
  detail: string;
  /** How to get it; empty when it is there. */
  remedy: string;
  /** Of a failure. */
  exitCode: ExitCode;
}

export interface Group {
  title: string;
  findings: Finding[];
}

export const ok = (name: string, detail = ''): Finding => ({
  name,
  state: 'ok',
  detail,
  remedy: '',
  exitCode: EXIT.ok,
});
export const warn = (name: string, detail: string, remedy = ''): Finding => ({
  name,
  state: 'warn',
  detail,
  remedy,
  exitCode: EXIT.ok,
});
export const fail = (name: string, detail: string, remedy: string, exitCode: ExitCode): Finding => ({
  name,
  state: 'fail',
  detail,
  remedy,
  exitCode,
});
export const skip = (name: string, detail: string, remedy = ''): Finding => ({
  name,
  state: 'skip',
  detail,
  remedy,
  exitCode: EXIT.ok,
});

/** What is nearest to the machine first: without privilege nothing else can be told. */
const ORDER: readonly ExitCode[] = [
  EXIT.missingPrivilege,
  EXIT.kernelLacksFeature,
  EXIT.badConfiguration,
  EXIT.dependencyUnreachable,
];

export function exitCodeOf(groups: readonly Group[]): ExitCode {
  const failed = groups.flatMap(({ findings }) => findings.filter(({ state }) => state === 'fail'));
  const codes = failed.map(({ exitCode }) => exitCode);
  return ORDER.find((code) => codes.includes(code)) ?? codes[0] ?? EXIT.ok;
}

const SIGNS: Record<Finding['state'], [string, Style]> = {
  ok: ['✓', 'green'],
  warn: ['!', 'yellow'],
  fail: ['✗', 'red'],
  skip: ['-', 'dim'],
};

/** Findings under their group's title, what to do below each. */
export function groupLines({ title, findings }: Group, { width, paint = (text) => text }: TableOptions): string[] {
  const lines = [paint(title, 'bold')];
  for (const { name, state, detail, remedy } of findings) {
    const [sign, style] = SIGNS[state];
    const [first = '', ...more] = wrap(detail === '' ? name : `${name}: ${detail}`, width > 0 ? width - 4 : 0);
    lines.push(`  ${paint(sign, style)} ${first}`, ...more.map((line) => `    ${line}`));
    if (remedy === '') continue;
    const [arrow = '', ...rest] = wrap(`→ ${remedy}`, width > 0 ? width - 6 : 0);
    lines.push(`    ${arrow}`, ...rest.map((line) => `      ${line}`));
  }
  return lines;
}

export function verdictLine(groups: readonly Group[]): string {
  const all = groups.flatMap(({ findings }) => findings);
  const count = (state: Finding['state']) => all.filter((finding) => finding.state === state).length;
  const parts = [`${count('ok')} good`];
  if (count('warn') > 0) parts.push(`${count('warn')} to know`);
  if (count('fail') > 0) parts.push(`${count('fail')} missing`);
  if (count('skip') > 0) parts.push(`${count('skip')} not looked at`);
  const code = exitCodeOf(groups);
  const deciding = all.filter(({ state, exitCode }) => state === 'fail' && exitCode === code).map(({ name }) => name);
  return parts.join(', ') + (code === EXIT.ok ? '' : `; exit code ${code}: ${deciding.join(', ')}`);
}
