/** What a bench says: a title, a table, what was measured and how, and which budgets were missed. Rendered to docs/benchmarks.md. */

export interface Section {
  title: string;
  /** How it was measured, in a sentence or two. */
  method: string;
  header: string[];
  rows: string[][];
  /** Budgets held against: met or missed, in words. */
  budgets: { budget: string; measured: string; met: boolean }[];
}

export function quantile(values: readonly number[], q: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  if (sorted.length === 0) return Number.NaN;
  const at = (sorted.length - 1) * q;
  const low = sorted[Math.floor(at)] as number;
  const high = sorted[Math.ceil(at)] as number;
  return low + (high - low) * (at - Math.floor(at));
}

export const median = (values: readonly number[]): number => quantile(values, 0.5);

export const fixed = (value: number, digits = 1): string => value.toFixed(digits);
export const thousands = (value: number): string => Math.round(value).toLocaleString('en-US').replaceAll(',', ' ');

const table = (header: readonly string[], rows: readonly string[][]): string =>
  [header, header.map(() => '---'), ...rows].map((row) => `| ${row.join(' | ')} |`).join('\n');

export function render(sections: readonly Section[], machine: string): string {
  const missed = sections.flatMap((s) =>
    s.budgets.filter((b) => !b.met).map((b) => `- ${s.title}: ${b.budget}; measured ${b.measured}`),
  );
  const parts = [
    '# Benchmarks',
    'Written by `npm run bench` from one run on one machine. Absolute figures are this machine’s; the ratios beside a peer or a bare floor, taken in the same run, are what carries over.',
    machine,
    '## Budgets missed',
    missed.length > 0 ? missed.join('\n') : 'None in this run.',
  ];
  for (const section of sections) {
    parts.push(`## ${section.title}`, section.method, table(section.header, section.rows));
    if (section.budgets.length > 0) {
      parts.push(
        table(
          ['budget', 'measured', ''],
          section.budgets.map((b) => [b.budget, b.measured, b.met ? 'met' : '**missed**']),
        ),
      );
    }
  }
  return `${parts.join('\n\n')}\n`;
}
