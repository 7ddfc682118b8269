/** Tables and sections of text that the server sends. Types only, part of wire.ts. */
export type Style = 'bold' | 'dim' | 'red' | 'green' | 'yellow' | 'cyan';
export type Cell = string | { text: string; style: Style };

export interface ColumnView {
  title: string;
  align?: 'right';
  /** Omitted on a narrow screen, as in a narrow terminal. */
  spare?: boolean;
  /** Long text: the only columns whose words are broken. */
  long?: boolean;
}

export interface RowView {
  /** Stable between updates. */
  key: string;
  cells: Cell[];
  /** Link of the cell with the same index. */
  links?: Record<number, string>;
}

export interface TableView {
  columns: ColumnView[];
  rows: RowView[];
  /** Rows that exist beside these. */
  omitted: number;
}

export interface SectionView {
  title: string;
  /** Sentences above the table. */
  lines: Cell[];
  table: TableView | null;
}
