/** Verdict: why was this decided, by which rule and policy, and what followed? */
import type { VerdictView } from '../wire.ts';
import { CommandLine, Notes } from './command.tsx';
import { Evidence } from './evidence.tsx';
import { Loaded } from './loaded.tsx';
import { Sections } from './sections.tsx';
import { Text } from './table.tsx';

function Found({ view }: { view: VerdictView }) {
  return (
    <>
      <div class="answer plain">
        <h1>
          <Text cell={view.level} /> by {view.rule}
        </h1>
        <p class="bold">
          {view.podLink === '' ? view.title : <a href={view.podLink}>{view.title}</a>}
          {view.owner}
        </p>
        <p>{view.reason}</p>
        <p class="dim">{view.latency}</p>
        <p>
          <CommandLine command={view.command} />
        </p>
        {view.trialLink !== '' && (
          <p>
            <a href={view.trialLink}>What would another threshold have done?</a>
          </p>
        )}
      </div>
      <Notes notes={view.notes} />
      <dl class="facts">
        {view.facts.map(({ name, text, link }) => (
          <div key={name}>
            <dt>{name}</dt>
            <dd>{link ? <a href={link}>{text}</a> : text}</dd>
          </div>
        ))}
      </dl>
      <Sections sections={view.sections} name="section" more={`${view.command} --json`} />
      {view.evidenceCommand !== '' && <Evidence id={view.id} command={view.evidenceCommand} />}
    </>
  );
}

export function VerdictPage({ query }: { query: URLSearchParams }) {
  const id = query.get('id') ?? '';
  if (id === '') return <Finder name="id" label="Verdict id, or its first characters" action="/verdict" />;
  return (
    <Loaded<VerdictView> path={`/api/verdict?${new URLSearchParams({ id })}`}>{(view) => <Found view={view} />}</Loaded>
  );
}

/** Asks for what the page shows. */
export function Finder({ name, label, action }: { name: string; label: string; action: string }) {
  const open = (event: SubmitEvent) => {
    event.preventDefault();
    const value = new FormData(event.currentTarget as HTMLFormElement).get(name);
    if (typeof value === 'string' && value.trim() !== '')
      location.assign(`${action}?${new URLSearchParams({ [name]: value.trim() })}`);
  };
  return (
    <form class="finder" onSubmit={open}>
      <label for="finder">{label}</label>
      <input id="finder" name={name} autocomplete="off" spellcheck={false} />
      <button type="submit">Show</button>
    </form>
  );
}
