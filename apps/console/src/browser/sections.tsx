/** Sections of the server: sentences above a table. */
import type { SectionView } from '../wire.ts';
import { Section } from './command.tsx';
import { Table, Text } from './table.tsx';

interface Props {
  sections: readonly SectionView[];
  /** Of the page's part: ids begin with it. */
  name: string;
  /** Command that prints omitted rows. */
  more: string;
  /** All rows at once: none of them may be overlooked. */
  isWhole?: boolean;
}

export function Sections({ sections, name, more, isWhole = false }: Props) {
  return (
    <>
      {sections.map(({ title, lines, table }, index) => (
        <Section key={title} title={title} id={`${name}-${index}`}>
          {lines.map((line) => (
            <p key={typeof line === 'string' ? line : line.text}>
              <Text cell={line} />
            </p>
          ))}
          {table && <Table table={table} label={title} empty="None." more={more} isWhole={isWhole} />}
        </Section>
      ))}
    </>
  );
}
