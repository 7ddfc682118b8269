/**
 * Parser of the tables of docs/runtime-hooks.md whose last column names tests: ways to start a
 * program, and system calls.
 */
export interface TableRow {
  readonly cells: readonly string[];
  /** The heading of the third level above it; empty if there is none. */
  readonly part: string;
  /**
   * Each is `<file> › <words in it>` in backticks, with a note behind it if the test tries
   * something similar; or `no test:` and the reason.
   */
  readonly tests: readonly string[];
}

export interface CallRow extends TableRow {
  readonly calls: readonly string[];
  /** False: no hook judges it, or it concerns no object. */
  readonly judged: boolean;
}

/** Rows of every table below a heading of the second level. */
export function rowsUnder(doc: string, heading: string): TableRow[] {
  const section = doc.split(/^## /m).find((one) => one.startsWith(`${heading}\n`)) ?? '';
  return section.split(/^### /m).flatMap((text, index) => {
    const lines = text.split('\n');
    // The head of a table is the line above its rule.
    const rows = lines.filter((line, at) => line.startsWith('| ') && !lines[at + 1]?.startsWith('|--'));
    return rows.map((line) => {
      const cells = line
        .split('|')
        .slice(1, -1)
        .map((cell) => cell.trim());
      return { cells, part: index === 0 ? '' : (lines[0] ?? ''), tests: (cells.at(-1) ?? '').split('; ') };
    });
  });
}

/** The system calls and the operations of io_uring. */
export function callRows(doc: string): CallRow[] {
  return rowsUnder(doc, 'System calls').map((row) => ({
    ...row,
    calls: (row.cells[0] ?? '').split(',').map((name) => name.trim()),
    judged: row.part === 'Judged',
  }));
}
