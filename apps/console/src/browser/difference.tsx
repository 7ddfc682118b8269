/** Lines that a change adds and removes. */
import type { ChangeView } from '../wire.ts';

const SIGNS = { '+': 'added', '-': 'removed', ' ': '', '…': 'dim' } as const;

export function Difference({ lines, omitted }: { lines: ChangeView['diff']; omitted: number }) {
  return (
    <pre>
      {lines.map(({ sign, text }, index) => (
        <span key={index} class={SIGNS[sign]}>{`${sign} ${text}\n`}</span>
      ))}
      {omitted > 0 ? `… and ${omitted} more lines` : ''}
    </pre>
  );
}
