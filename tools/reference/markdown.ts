/** Pages of the reference as text. Pure and deterministic. */

/** Text of a table cell: escaped and on one line. */
export function cell(text: string): string {
  return text
    .replaceAll(/\s*\n\s*/g, ' ')
    .replaceAll('|', '\\|')
    .trim();
}

/** `text` as code; empty text stays empty. */
export function code(text: string): string {
  return text === '' ? '' : `\`${text}\``;
}

export const codes = (texts: readonly string[]): string => texts.map(code).join(', ');

export function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]) => `| ${cells.map(cell).join(' | ')} |`;
  return [line(head), `|${head.map(() => '---').join('|')}|`, ...rows.map(line)].join('\n');
}

/** A page: a title, an introduction, and parts separated by blank lines. */
export function page(title: string, about: string, parts: readonly string[]): string {
  const head = '<!-- Generated from the code by `npm run reference`: do not edit. -->';
  return `${[head, `# ${title}`, about, ...parts].join('\n\n')}\n`;
}

export const section = (title: string, ...parts: readonly string[]): string =>
  [`## ${title}`, ...parts.filter((part) => part !== '')].join('\n\n');

/** `1.5 GiB`, `64 MiB`, `1,024 B`. */
export function bytes(count: number): string {
  for (const [unit, size] of [
    ['GiB', 1024 ** 3],
    ['MiB', 1024 ** 2],
    ['KiB', 1024],
  ] as const)
    if (count >= size) return `${Number((count / size).toFixed(2))} ${unit}`;
  return `${count} B`;
}

/** `7 d`, `2 h`, `30 s` of nanoseconds, as JetStream has them. */
export function nanos(count: number): string {
  for (const [unit, size] of [
    ['d', 86_400e9],
    ['h', 3_600e9],
    ['min', 60e9],
    ['s', 1e9],
  ] as const)
    if (count >= size) return `${Number((count / size).toFixed(2))} ${unit}`;
  return `${count / 1e6} ms`;
}
