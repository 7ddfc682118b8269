/** History: who changed the configuration, when, and why? */
import type { ChangeView, HistoryView } from '../wire.ts';
import { CommandLine, Notes, SinceLinks } from './command.tsx';
import { Difference } from './difference.tsx';
import { Loaded } from './loaded.tsx';

/** Changes of so few lines are open. */
const SHORT = 14;

function Change({ change }: { change: ChangeView }) {
  const { sequence, at, key, revision, lines, isOverBuiltIn, owner, signedAs, by, why, diff, diffOmitted } = change;
  return (
    <li class="change" id={`log-${sequence}`}>
      <p>
        <b>{at} UTC</b> · <a href={`/history?${new URLSearchParams({ key, since: 'all' })}`}>{key}</a> · revision{' '}
        {revision} · {lines}
      </p>
      <p>
        by <b>{by || 'unknown'}</b>, owner {owner}, {signedAs === '' ? 'unsigned' : `signed as ${signedAs}`}:{' '}
        {why === '' ? <span class="dim">no reason given</span> : why} <span class="dim">CONFIG_LOG #{sequence}</span>
      </p>
      {diff.length > 0 && (
        <details open={diff.length <= SHORT}>
          <summary>{isOverBuiltIn ? 'Lines that differ from the built-in value' : 'Changed lines'}</summary>
          <Difference lines={diff} omitted={diffOmitted} />
        </details>
      )}
    </li>
  );
}

function Found({ view, title }: { view: HistoryView; title: string }) {
  return (
    <>
      <div class="answer plain">
        <h1>{title}</h1>
        <p>
          <CommandLine command={view.command} />
        </p>
        <SinceLinks />
      </div>
      <Notes notes={view.notes} />
      {view.changes.length === 0 && <p class="empty">No change in this range.</p>}
      <ol class="changes">
        {view.changes.map((change) => (
          <Change key={change.sequence} change={change} />
        ))}
      </ol>
      {view.omitted > 0 && <p class="dim">… and {view.omitted} older changes: choose one key.</p>}
    </>
  );
}

export function HistoryPage({ query }: { query: URLSearchParams }) {
  const key = query.get('key') ?? '';
  const since = query.get('since') ?? '30d';
  const title = key === '' ? 'Changes of the configuration, newest first' : `Changes of ${key}`;
  return (
    <Loaded<HistoryView> path={`/api/history?${new URLSearchParams({ key, since })}`}>
      {(view) => <Found view={view} title={title} />}
    </Loaded>
  );
}
