/** Text for terminals: tables, counts and the width of the terminal. */

/** Columns padded to their widest cell, two spaces between. */
export function table(rows: readonly (readonly string[])[]): string {
  const widths = rows[0]?.map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0))) ?? [];
  return rows
    .map((row) =>
      row
        .map((cell, column) => cell.padEnd(widths[column] ?? 0))
        .join('  ')
        .trimEnd(),
    )
    .join('\n');
}

/** Columns of the terminal; without a terminal there is no limit. */
export const terminalWidth = () => (process.stdout.isTTY ? process.stdout.columns : 0) || Number.POSITIVE_INFINITY;

export const counted = (count: number, noun: string) => `${count} ${noun}${count === 1 ? '' : 's'}`;
