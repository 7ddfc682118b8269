/** Pod: what happened in its life, in which order? */
import { useMemo, useState } from 'preact/hooks';
import type { FileView, PodView, TimelineItemView } from '../wire.ts';
import { attackRange, moved, type Range, rangeOf, TimeAxis } from './axis.tsx';
import { Notes, Section, SinceLinks } from './command.tsx';
import { save } from './file.ts';
import { Loaded } from './loaded.tsx';
import { failureOf, request } from './session.ts';
import { Table } from './table.tsx';
import { Finder } from './verdict.tsx';

const STYLES = { plain: 'bold', good: 'green', warn: 'yellow', bad: 'red', act: 'cyan' } as const;

const tableOf = (items: readonly TimelineItemView[]) => ({
  columns: [
    { title: 'TIME (UTC)' },
    { title: 'AFTER', align: 'right' as const },
    { title: 'LANE' },
    { title: 'WHAT', long: true },
    { title: 'DETAIL', long: true },
    { title: 'ON THE BUS', spare: true },
  ],
  rows: items.map(({ at, after, lane, what, detail, tone, place, link }, index) => ({
    key: `${place} ${index}`,
    cells: [at, after, lane, { text: what, style: STYLES[tone] }, detail, place],
    ...(link === '' ? {} : { links: { 3: link } }),
  })),
  omitted: 0,
});

/** The range in the address, so that a link shows what this page shows. */
function storedRange(query: URLSearchParams): Range | null {
  const [from, to] = ['from', 'to'].map((name) => Number.parseInt(query.get(name) ?? '', 10));
  return from && to && to > from ? { from, to } : null;
}

function storeRange({ from, to }: Range): void {
  const query = new URLSearchParams(location.search);
  query.set('from', String(Math.round(from)));
  query.set('to', String(Math.round(to)));
  history.replaceState(null, '', `${location.pathname}?${query}`);
}

function Life({ view, query }: { view: PodView; query: URLSearchParams }) {
  const { items, lanes } = view;
  const all = useMemo(() => rangeOf(items), [items]);
  const attack = useMemo(() => attackRange(items), [items]);
  const [range, setRange] = useState<Range>(storedRange(query) ?? attack ?? all);
  const show = (next: Range) => {
    setRange(next);
    storeRange(next);
  };
  const keys: Readonly<Record<string, () => Range>> = {
    '+': () => moved(range, 0.5),
    '-': () => moved(range, 2),
    ArrowLeft: () => moved(range, 1, -0.25),
    ArrowRight: () => moved(range, 1, 0.25),
  };
  const press = (event: KeyboardEvent) => {
    const next = keys[event.key]?.();
    if (!next) return;
    event.preventDefault();
    show(next);
  };
  const shown = items.filter(({ atMicros, untilMicros }) => untilMicros >= range.from && atMicros <= range.to);
  return (
    <>
      {/* biome-ignore lint/a11y/noStaticElementInteractions: the keys are those of the buttons in it */}
      <div class="zoom" onKeyDown={press}>
        <button type="button" onClick={() => show(moved(range, 0.5))} aria-label="Zoom in">
          +
        </button>
        <button type="button" onClick={() => show(moved(range, 2))} aria-label="Zoom out">
          −
        </button>
        <button type="button" onClick={() => show(moved(range, 1, -0.25))} aria-label="Earlier">
          ←
        </button>
        <button type="button" onClick={() => show(moved(range, 1, 0.25))} aria-label="Later">
          →
        </button>
        <button type="button" onClick={() => show(all)}>
          All
        </button>
        {attack && (
          <button type="button" onClick={() => show(attack)}>
            From the first violation
          </button>
        )}
        <span class="dim">
          {shown.length} of {items.length} items
        </span>
        <TimeAxis items={items} lanes={lanes} range={range} onRange={show} />
      </div>
      <Table table={tableOf(shown)} label="Items in this range" empty="No item in this range." />
    </>
  );
}

function SaveLife({ path }: { path: string }) {
  const [problem, setProblem] = useState('');
  const make = async () => {
    setProblem('');
    try {
      save((await (await request(path)).json()) as FileView, 'text/html');
    } catch (error) {
      setProblem(failureOf(error, '').error);
    }
  };
  return (
    <p>
      <button type="button" onClick={() => void make()}>
        Save as one HTML file
      </button>{' '}
      {problem !== '' && <span role="alert">It was not saved: {problem}</span>}
    </p>
  );
}

interface FoundProps {
  view: PodView;
  query: URLSearchParams;
  /** Of the same life as a file. */
  filePath: string;
}

function Found({ view, query, filePath }: FoundProps) {
  return (
    <>
      <div class="answer plain">
        <h1>{view.title}</h1>
        {view.facts.map((fact) => (
          <p key={fact} class="dim">
            {fact}
          </p>
        ))}
        <SinceLinks />
        {view.items.length > 0 && <SaveLife path={filePath} />}
      </div>
      <Notes notes={view.notes} />
      <Section title="Violations by vector" id="violations" command={view.explainCommand}>
        <Table table={view.violations} label="Violations by vector" empty="No violation in this range." />
      </Section>
      <Section title="Its life" id="life" command={view.command}>
        {view.items.length === 0 ? <p class="empty">No event in this range.</p> : <Life view={view} query={query} />}
      </Section>
    </>
  );
}

export function PodPage({ query }: { query: URLSearchParams }) {
  const pod = query.get('pod') ?? '';
  if (pod === '') return <Finder name="pod" label="Pod: namespace/name, name or uid" action="/pod" />;
  const since = query.get('since') ?? '1d';
  const asked = new URLSearchParams({ pod, since, namespace: query.get('namespace') ?? '' });
  return (
    <Loaded<PodView> path={`/api/pod?${asked}`}>
      {(view) => <Found view={view} query={query} filePath={`/api/pod-file?${asked}`} />}
    </Loaded>
  );
}
