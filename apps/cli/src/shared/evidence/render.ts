/** The result of a verification as text and as JSON. Pure. */
import type { Check, Report } from '@bailiff/evidence';
import { isoMicros, responseText } from '@bailiff/insight';
import type { Response } from '@bailiff/schemas';
import type { Paint } from '../text/paint.ts';

/** The file is genuine as far as it can be checked. */
export const ALL_PASSED = 0;
export const SOME_FAILED = 10;
export const SOME_SKIPPED = 11;

export function exitCodeOf(checks: readonly Check[]): number {
  if (checks.some(({ outcome }) => outcome === 'FAIL')) return SOME_FAILED;
  return checks.some(({ outcome }) => outcome === 'SKIP') ? SOME_SKIPPED : ALL_PASSED;
}

export const OUTCOME_STYLES = { PASS: 'green', FAIL: 'red', SKIP: 'yellow' } as const;

/** What the file is about, by whom it was made. */
export function aboutLines({ header, verdict }: Report): string[] {
  const lines: string[] = [];
  if (header) lines.push(`Verdict ${header.verdictId}, exported ${isoMicros(header.exportedAt)} by ${header.exporter}`);
  if (verdict) {
    const about = verdict.pod
      ? `pod ${verdict.pod.namespace}/${verdict.pod.name} on ${verdict.nodeName}`
      : `node ${verdict.nodeName}`;
    lines.push(`${verdict.rule}, ${verdict.level}, at ${isoMicros(verdict.triggeredAt)} about ${about}`);
  }
  return lines;
}

export const responseLine = (response: Response, nowMs: number): string => {
  const { recordedAt, action, phase } = response;
  return `${isoMicros(recordedAt)}  ${action} ${phase}  ${responseText(response, nowMs)}`.trimEnd();
};

export function renderReport(report: Report, paint: Paint, nowMs: number): string[] {
  const { responses, checks, limits } = report;
  const lines = [...aboutLines(report), ''];
  for (const { name, outcome, detail } of checks)
    lines.push(`${paint(outcome, OUTCOME_STYLES[outcome])}  ${name.padEnd(12)} ${detail}`);
  if (responses.length > 0) {
    lines.push('', paint('What the responder then did', 'bold'));
    for (const response of responses) lines.push(`  ${responseLine(response, nowMs)}`);
  }
  lines.push('', paint('What these checks cannot find out', 'bold'), ...limits.map((limit) => `  - ${limit}`), '');
  return [...lines, paint(conclusion(checks), 'bold')];
}

export function conclusion(checks: readonly Check[]): string {
  const count = (outcome: Check['outcome']) => checks.filter((check) => check.outcome === outcome).length;
  const [passed, failed, skipped] = [count('PASS'), count('FAIL'), count('SKIP')];
  const numbers = `${passed} passed, ${failed} failed, ${skipped} skipped`;
  if (failed > 0) return `NOT genuine: ${numbers}`;
  return skipped > 0 ? `No check failed, but not all were made: ${numbers}` : `Genuine within these limits: ${numbers}`;
}

export const reportJson = ({ header, verdict, responses, checks, limits }: Report): Record<string, unknown> => ({
  header,
  checks,
  verdict,
  responses,
  limits,
});
