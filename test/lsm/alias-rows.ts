/** The tables of docs/runtime-paths.md, each row of which is a test of the name that stands first in it. */
export interface AliasRow {
  readonly name: string;
  readonly outcome: string;
}

/** Rows of the sections with such a title; a row of several names is one of each. */
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
