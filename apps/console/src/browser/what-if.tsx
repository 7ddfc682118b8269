/** What if: stored violations judged again under a changed rule, mode or policy, before it is changed. */
import { useState } from 'preact/hooks';
import type { RulesView, RuleView } from '../wire.ts';
import { ChangeOffer } from './change.tsx';
import { Loaded } from './loaded.tsx';
import { request } from './session.ts';
import { Simulate } from './simulation.tsx';
import { now } from './stream.ts';
import { RangeField, Result, RunState, useRun } from './trial-run.tsx';

const KINDS = { correlation: '', response: 'responses: ', spoof: 'packets: ' };

interface Tried {
  rule: RuleView;
  assignments: readonly string[];
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

/** A person comes here from an attack: its rule is that of the newest verdict. null: none has been read yet. */
function newestRule(): string | null {
  const { columns = [], rows = [] } = now.value?.live.verdicts ?? {};
  const cell = rows[0]?.cells[columns.findIndex(({ title }) => title === 'RULE')];
  if (cell === undefined) return null;
  return `correlation.cluster._.${typeof cell === 'string' ? cell : cell.text}`;
}

function Trial({ rules, query }: { rules: readonly RuleView[]; query: URLSearchParams }) {
  const [key, setKey] = useState(query.get('key'));
  // The page may be open before the first verdict is read. Later ones change no form that a person reads.
  const newest = key === null ? newestRule() : null;
  if (newest !== null) setKey(newest);
  const rule = rules.find((one) => one.key === (key ?? newest)) ?? rules[0];
  const [changes, setChanges] = useState<Record<string, string>>(
    Object.fromEntries(
      query.getAll('set').map((text) => [text.slice(0, text.indexOf('=')), text.slice(text.indexOf('=') + 1)]),
    ),
  );
  const [since, setSince] = useState(query.get('since') ?? '1d');
  const run = useRun<Tried>();
  if (!rule) return <p class="empty">No rule is in force.</p>;
  const assignments = rule.fields
    .filter(({ path, value }) => (changes[path] ?? value) !== value)
    .map(({ path }) => `${path}=${changes[path]}`);
  const start = (event: SubmitEvent) => {
    event.preventDefault();
    const asked = new URLSearchParams({ key: rule.key, since });
    for (const text of assignments) asked.append('set', text);
    history.replaceState(null, '', `${location.pathname}?${asked}`);
    void run.start((signal) => request(`/api/trial?${asked}`, signal), { rule, assignments });
  };
  // Many vectors are enforced; the others come first.
  const isQuiet = ({ value }: RuleView['fields'][number]) => rule.kind === 'spoof' && value === 'enforce';
  const fieldOf = (field: RuleView['fields'][number]) => (
    <Field
      key={`${rule.key} ${field.path}`}
      field={field}
      value={changes[field.path] ?? field.value}
      onChange={(next) => {
        setKey(rule.key);
        setChanges({ ...changes, [field.path]: next });
      }}
    />
  );
  const isRunning = run.state.kind === 'running';
  return (
    <>
      <form class="trial" onSubmit={start}>
        <p class="field">
          <label for="rule">Rule, policy for responses, or modes of packets</label>
          <select
            id="rule"
            value={rule.key}
            onChange={(event) => {
              setKey((event.currentTarget as HTMLSelectElement).value);
              setChanges({});
              run.reset();
            }}
          >
            {rules.map((one) => (
              <option key={one.key} value={one.key}>
                {KINDS[one.kind] + one.name}
              </option>
            ))}
          </select>
          <span class="dim">{rule.description}</span>
        </p>
        {rule.fields.filter((one) => !isQuiet(one)).map(fieldOf)}
        {rule.fields.some(isQuiet) && (
          <details open={rule.fields.some((one) => isQuiet(one) && changes[one.path] !== undefined)}>
            <summary>Vectors that are enforced</summary>
            {rule.fields.filter(isQuiet).map(fieldOf)}
          </details>
        )}
        <RangeField id="since" label="With the violations of the last" value={since} onChange={setSince} />
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
      <RunState run={run}>
        {(view, tried) => (
          <Result view={view} name="trial" toDo="Nothing was changed. To change it:">
            <ChangeOffer
              key={`${tried.rule.key} ${tried.assignments.join(' ')}`}
              changeKey={tried.rule.key}
              set={tried.assignments}
              label="Apply it here"
              whyNot={tried.rule.whyNot}
            />
          </Result>
        )}
      </RunState>
    </>
  );
}

export function WhatIfPage({ query }: { query: URLSearchParams }) {
  return (
    <>
      <div class="answer plain">
        <h1>What would another threshold, mode or policy have done?</h1>
        <p>
          Change a rule or a mode, and see which packets, verdicts and responses would have been different. The stored
          violations are judged again, as the correlator judges them. Nothing is changed.
        </p>
      </div>
      <Loaded<RulesView> path="/api/rules">
        {({ rules, policies }) => (
          <>
            <Trial rules={rules} query={query} />
            <Simulate choices={policies} promotions={[]} query={query} />
          </>
        )}
      </Loaded>
    </>
  );
}
