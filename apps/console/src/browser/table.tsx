/**
 * A table of the server: text only. On a narrow screen each row becomes a card. The first rows are shown
 * until the reader asks for the others; columns without any text are omitted.
 */
import { useState } from 'preact/hooks';
import type { Cell, ColumnView, TableView } from '../wire.ts';

const FIRST_ROWS = 10;

const textOf = (cell: Cell): string => (typeof cell === 'string' ? cell : cell.text);
const styleOf = (cell: Cell): string => (typeof cell === 'string' ? '' : cell.style);

export function Text({ cell }: { cell: Cell }) {
  return <span class={styleOf(cell)}>{textOf(cell)}</span>;
}

interface Props {
  table: TableView;
  label: string;
  /** Sentence for a table without rows. */
  empty: string;
  /** Command that prints the omitted rows. */
  more?: string;
  /** All rows at once. */
  isWhole?: boolean;
}

const classOf = ({ align, spare = false, long = false }: ColumnView): string =>
  [align ?? '', spare ? 'spare' : '', long ? 'long' : ''].filter(Boolean).join(' ');

export function Table({ table: { columns, rows: all, omitted }, label, empty, more = '', isWhole = false }: Props) {
  const [isOpen, setOpen] = useState(isWhole);
  if (all.length === 0) return <p class="empty">{empty}</p>;
  // One more row takes no more room than the button.
  const rows = isOpen || all.length <= FIRST_ROWS + 1 ? all : all.slice(0, FIRST_ROWS);
  const shown = columns
    .map((_, index) => index)
    .filter((index) => all.some(({ cells }) => textOf(cells[index] ?? '') !== ''));
  return (
    <>
      <table aria-label={label}>
        <thead>
          <tr>
            {shown.map((index) => (
              <th key={columns[index]?.title} scope="col" class={classOf(columns[index] as ColumnView)}>
                {columns[index]?.title}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {rows.map(({ key, cells, links }) => (
            <tr key={key}>
              {shown.map((index) => {
                const column = columns[index] as ColumnView;
                const cell = cells[index] ?? '';
                const href = links?.[index];
                const none = textOf(cell) === '' ? ' none' : '';
                return (
                  <td key={column.title} data-label={column.title} class={classOf(column) + none}>
                    {href ? (
                      <a class="cell" href={href}>
                        <Text cell={cell} />
                      </a>
                    ) : (
                      <Text cell={cell} />
                    )}
                  </td>
                );
              })}
            </tr>
          ))}
        </tbody>
      </table>
      {rows.length < all.length && (
        <p>
          <button type="button" onClick={() => setOpen(true)}>
            Show {all.length - rows.length} more
          </button>
        </p>
      )}
      {omitted > 0 && (
        <p class="dim">
          … and {omitted} more{more === '' ? '' : `: ${more}`}
        </p>
      )}
    </>
  );
}
