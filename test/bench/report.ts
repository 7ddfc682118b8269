/** The result of a bench, and its rendering as docs/benchmarks.md. */

export interface Section {
  title: string;
  /** How it was measured: a few sentences. */
  method: string;
  header: string[];
  rows: string[][];
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
export const thousands = (value: number): string => Math.round(value).toLocaleString('en-US');

function table(header: readonly string[], rows: readonly string[][]): string {
  const line = (row: readonly string[]) => `| ${row.join(' | ')} |`;
  return [line(header), `|${header.map(() => '---').join('|')}|`, ...rows.map(line)].join('\n');
}

export function render(sections: readonly Section[], machine: string): string {
  const missed = sections
    .map(({ title, budgets }) => ({ title, count: budgets.filter(({ met }) => !met).length }))
    .filter(({ count }) => count > 0)
    .map(({ title, count }) => `${title} (${count})`);
  const parts = [
    '# Benchmarks',
    'For sizing and for comparing releases: one run of `npm run bench` on one machine, with the budget of each figure. To compare machines, use the ratios to a peer or a floor of the same run.',
    machine,
    `**Budgets missed:** ${missed.length > 0 ? missed.join(', ') : 'none'}.`,
  ];
  for (const section of sections) {
    parts.push(`## ${section.title}`, section.method, table(section.header, section.rows));
    if (section.budgets.length > 0) {
      parts.push(
        section.budgets
          .map(({ budget, measured, met }) => `- ${met ? 'Met' : '**Missed**'}: ${budget}. Measured: ${measured}`)
          .join('\n'),
      );
    }
  }
  return `${parts.join('\n\n')}\n`;
}
