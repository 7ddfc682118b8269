/**
 * Parser of the tables in docs/runtime-paths.md. Each row is tried by a test of the name in its
 * first column.
 */
export interface AliasRow {
  readonly name: string;
  readonly outcome: string;
}

/** Rows of the sections with such a title; a row with several names counts once per name. */
export function rowsOf(doc: string, ...titles: readonly string[]): AliasRow[] {
  const sections = doc.split(/^## /m).filter((section) => titles.includes(section.split('\n', 1)[0] ?? ''));
  return sections
    .flatMap((section) => section.split('\n'))
    .filter((line) => /^\| [a-z]/.test(line) && !line.startsWith('| test '))
    .flatMap((line) => {
      const [, names = '', , outcome = ''] = line.split('|').map((cell) => cell.trim());
      return names.split(', ').map((name) => ({ name, outcome }));
    });
}
