/** What if: stored violations judged again under a changed rule, before it is changed. */
import { useRef, useState } from 'preact/hooks';
import type { ErrorView, RulesView, RuleView, TrialEvent, TrialView } from '../wire.ts';
import { ChangeOffer } from './change.tsx';
import { CommandLine, Notes, Section } from './command.tsx';
import { Failed, Loaded } from './loaded.tsx';
import { Sections } from './sections.tsx';
import { dataOf } from './server-events.ts';
import { failureOf, request } from './session.ts';
import { now } from './stream.ts';

const RANGES = ['1h', '6h', '1d', '7d'];

interface Tried {
  rule: RuleView;
  assignments: readonly string[];
}

type State =
  | { kind: 'idle' }
  | { kind: 'running'; frames: number; left: number | null }
  | { kind: 'done'; view: TrialView; tried: Tried }
  | ({ kind: 'failed' } & ErrorView);

function Result({ view, tried }: { view: TrialView; tried: Tried }) {
  return (
    <>
      <div class={`answer ${view.isSame ? 'plain' : 'warn'}`} role="status">
        <h2>{view.headline}</h2>
        <p>Nothing was changed. To change it:</p>
        <p>
          <CommandLine command={view.apply} />
        </p>
        <ChangeOffer
          key={`${tried.rule.key} ${tried.assignments.join(' ')}`}
          changeKey={tried.rule.key}
          set={tried.assignments}
          label="Apply it here"
          whyNot={tried.rule.whyNot}
        />
      </div>
      <Notes notes={view.notes} />
      <Sections sections={view.sections} name="trial" more={`${view.command} --all`} />
      <Section title="The same as a command" id="command" command={view.command}>
        <p>The file trial.yaml:</p>
        <pre class="file">{view.yaml}</pre>
      </Section>
    </>
  );
}

function Progress({ state, onCancel }: { state: Extract<State, { kind: 'running' }>; onCancel: () => void }) {
  const { frames, left } = state;
  const of = left === null ? '' : ` of ${frames + left}`;
  return (
    <div class="answer plain" role="status">
      <p>
        Judging again: {frames}
        {of} messages read
      </p>
      <progress
        {...(left === null ? {} : { value: frames, max: Math.max(1, frames + left) })}
        aria-label="Messages read"
      />
      <p>
        <button type="button" onClick={onCancel}>
          Cancel
        </button>
      </p>
    </div>
  );
}

function Field({
  field,
  value,
  onChange,
}: {
  field: RuleView['fields'][number];
  value: string;
  onChange: (next: string) => void;
}) {
  const id = `field-${field.path}`;
  const changed = value !== field.value;
  const input = (event: Event) => onChange((event.currentTarget as HTMLInputElement | HTMLSelectElement).value);
  return (
    <p class="field">
      <label for={id}>{field.label}</label>
      {field.choices.length > 0 ? (
        <select id={id} value={value} onChange={input}>
          {field.choices.map((choice) => (
            <option key={choice} value={choice}>
              {choice}
            </option>
          ))}
        </select>
      ) : (
        <input id={id} value={value} onInput={input} autocomplete="off" spellcheck={false} />
      )}
      <span class="dim">{changed ? `now ${field.value}` : 'as now'}</span>
    </p>
  );
}

/** A person comes here from an attack: its rule is that of the newest verdict. */
function newestRule(): string {
  const { columns = [], rows = [] } = now.value?.live.verdicts ?? {};
  const cell = rows[0]?.cells[columns.findIndex(({ title }) => title === 'RULE')] ?? '';
  return `correlation.cluster._.${typeof cell === 'string' ? cell : cell.text}`;
}

function Trial({ rules, query }: { rules: readonly RuleView[]; query: URLSearchParams }) {
  const [key, setKey] = useState(query.get('key') ?? newestRule());
  const rule = rules.find((one) => one.key === key) ?? rules[0];
  const [changes, setChanges] = useState<Record<string, string>>(
    Object.fromEntries(
      query.getAll('set').map((text) => [text.slice(0, text.indexOf('=')), text.slice(text.indexOf('=') + 1)]),
    ),
  );
  const [since, setSince] = useState(query.get('since') ?? '1d');
  const [state, setState] = useState<State>({ kind: 'idle' });
  const running = useRef<AbortController | null>(null);
  if (!rule) return <p class="empty">No rule is in force.</p>;
  const assignments = rule.fields
    .filter(({ path, value }) => (changes[path] ?? value) !== value)
    .map(({ path }) => `${path}=${changes[path]}`);
  const run = async (event: SubmitEvent) => {
    event.preventDefault();
    const asked = new URLSearchParams({ key: rule.key, since });
    for (const text of assignments) asked.append('set', text);
    history.replaceState(null, '', `${location.pathname}?${asked}`);
    const controller = new AbortController();
    running.current = controller;
    setState({ kind: 'running', frames: 0, left: null });
    try {
      for await (const events of dataOf(await request(`/api/trial?${asked}`, controller.signal))) {
        for (const one of events.map((text) => JSON.parse(text) as TrialEvent)) {
          if ('result' in one) setState({ kind: 'done', view: one.result, tried: { rule, assignments } });
          else if ('error' in one) setState({ kind: 'failed', ...one });
          else setState({ kind: 'running', ...one });
        }
      }
      setState((last) =>
        last.kind === 'running' ? { kind: 'failed', error: 'the trial ended early', remedy: 'try it again' } : last,
      );
    } catch (error) {
      if (controller.signal.aborted) setState({ kind: 'idle' });
      else setState({ kind: 'failed', ...failureOf(error, 'try it again') });
    }
  };
  const isRunning = state.kind === 'running';
  return (
    <>
      <form class="trial" onSubmit={(event) => void run(event)}>
        <p class="field">
          <label for="rule">Rule, or policy for responses</label>
          <select
            id="rule"
            value={rule.key}
            onChange={(event) => {
              setKey((event.currentTarget as HTMLSelectElement).value);
              setChanges({});
              setState({ kind: 'idle' });
            }}
          >
            {rules.map((one) => (
              <option key={one.key} value={one.key}>
                {one.kind === 'response' ? `responses: ${one.name}` : one.name}
              </option>
            ))}
          </select>
          <span class="dim">{rule.description}</span>
        </p>
        {rule.fields.map((field) => (
          <Field
            key={`${rule.key} ${field.path}`}
            field={field}
            value={changes[field.path] ?? field.value}
            onChange={(next) => setChanges({ ...changes, [field.path]: next })}
          />
        ))}
        <p class="field">
          <label for="since">With the violations of the last</label>
          <select
            id="since"
            value={since}
            onChange={(event) => setSince((event.currentTarget as HTMLSelectElement).value)}
          >
            {RANGES.map((range) => (
              <option key={range} value={range}>
                {range}
              </option>
            ))}
          </select>
        </p>
        <p class="field">
          <button type="submit" disabled={isRunning || assignments.length === 0}>
            Try it
          </button>
          <span class="dim">{assignments.length === 0 ? 'Change a field first.' : assignments.join(' ')}</span>
        </p>
        <details>
          <summary>The whole rule, as it is now</summary>
          <pre class="file">{rule.yaml}</pre>
        </details>
      </form>
      {state.kind === 'running' && <Progress state={state} onCancel={() => running.current?.abort()} />}
      {state.kind === 'failed' && <Failed {...state} heading="h2" />}
      {state.kind === 'done' && <Result view={state.view} tried={state.tried} />}
    </>
  );
}

export function WhatIfPage({ query }: { query: URLSearchParams }) {
  return (
    <>
      <div class="answer plain">
        <h1>What would another threshold have done?</h1>
        <p>
          Change a rule here, and see which verdicts and responses would have appeared or not. The stored violations are
          judged again, as the correlator judges them. Nothing is changed.
        </p>
      </div>
      <Loaded<RulesView> path="/api/rules">{({ rules }) => <Trial rules={rules} query={query} />}</Loaded>
    </>
  );
}
