/** The report as a table, JUnit XML and JSON. Pure. */
import type { Facts } from '../cluster/facts.ts';
import { type Counts, type Result, summaryOf } from './result.ts';

const MARK = { passed: 'ok', failed: 'FAILED', skipped: 'skipped' } as const;

/** Control characters, which a terminal would obey and XML cannot hold, become spaces. */
const oneLine = (text: string) => text.replace(/\p{Cc}+/gu, ' ');

function padded(rows: readonly (readonly string[])[]): string[] {
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)));
  return rows.map((row) =>
    row
      .map((cell, column) => cell.padEnd(widths[column] ?? 0))
      .join('  ')
      .trimEnd(),
  );
}

const countRow = ({ vector, control, guarded }: Counts) => [
  `  ${vector}`,
  control ? `${control.landed}/${control.sent}` : '-',
  `${guarded.landed}/${guarded.sent}`,
  String(guarded.counted),
];

/** One line per scenario with its reason, then the counts of all attacks. */
export function renderTable(results: readonly Result[]): string {
  const scenarios = results.map(({ scenario, status, detail, seconds }) => [
    MARK[status],
    scenario,
    `${seconds.toFixed(1)} s`,
    oneLine(detail),
  ]);
  const counts = results.flatMap(({ scenario, counts: rows }) =>
    rows.length > 0 ? [[scenario, '', '', ''], ...rows.map(countRow)] : [],
  );
  const { passed, failed, skipped } = summaryOf(results);
  return [
    ...padded(scenarios),
    ...(counts.length > 0
      ? ['', ...padded([['ATTACK', 'LANDED UNGUARDED', 'LANDED GUARDED', 'COUNTED'], ...counts])]
      : []),
    '',
    `${passed} passed, ${failed} failed, ${skipped} skipped`,
    '',
  ].join('\n');
}

/** Facts of the cluster, one line each. */
export const renderFacts = (facts: Facts): string =>
  `${padded(Object.entries(facts).map(([name, value]) => [name, Array.isArray(value) ? value.join(', ') : String(value)])).join('\n')}\n`;

const ESCAPES: Readonly<Record<string, string>> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;' };
/** Escaped for an attribute. */
const xml = (text: string) => oneLine(text).replace(/[&<>"]/g, (character) => ESCAPES[character] as string);

export function renderJunit(results: readonly Result[], facts: Facts): string {
  const { failed, skipped } = summaryOf(results);
  const seconds = results.reduce((sum, result) => sum + result.seconds, 0);
  const cases = results.map((result) => {
    const head = `    <testcase classname="bailiff.live" name="${xml(result.scenario)}" time="${result.seconds.toFixed(3)}"`;
    if (result.status === 'passed') return `${head}/>`;
    const kind = result.status === 'failed' ? 'failure' : 'skipped';
    return `${head}>\n      <${kind} message="${xml(result.detail)}"/>\n    </testcase>`;
  });
  const properties = Object.entries(facts).map(
    ([name, value]) => `      <property name="${xml(name)}" value="${xml(String(value))}"/>`,
  );
  return [
    '<?xml version="1.0" encoding="UTF-8"?>',
    '<testsuites>',
    `  <testsuite name="live" tests="${results.length}" failures="${failed}" skipped="${skipped}" time="${seconds.toFixed(3)}">`,
    '    <properties>',
    ...properties,
    '    </properties>',
    ...cases,
    '  </testsuite>',
    '</testsuites>',
    '',
  ].join('\n');
}

export const renderJson = (results: readonly Result[], facts: Facts): string =>
  `${JSON.stringify({ facts, summary: summaryOf(results), results }, null, 2)}\n`;
