/** Evidence of a verdict: makes the file, shows what its verification found, and saves it. */
import { useState } from 'preact/hooks';
import type { ErrorView, EvidenceView } from '../wire.ts';
import { CommandLine, Section } from './command.tsx';
import { save } from './file.ts';
import { Failed } from './loaded.tsx';
import { Sections } from './sections.tsx';
import { failureOf, request } from './session.ts';

type State =
  | { kind: 'idle' }
  | { kind: 'running' }
  | { kind: 'done'; view: EvidenceView }
  | ({ kind: 'failed' } & ErrorView);

function Made({ view }: { view: EvidenceView }) {
  return (
    <>
      <div class={`answer ${view.tone}`} role="status">
        <h3>{view.headline}</h3>
        {view.about.map((line) => (
          <p key={line}>{line}</p>
        ))}
        <p>
          <button type="button" class="act" onClick={() => save(view, 'application/x-ndjson')}>
            Save {view.name}
          </button>
        </p>
        <p>To check it again, without the bus and without this console:</p>
        <p>
          <CommandLine command={view.command} />
        </p>
      </div>
      <Sections sections={view.sections} name="evidence" more={view.command} isWhole />
    </>
  );
}

export function Evidence({ id, command }: { id: string; command: string }) {
  const [state, setState] = useState<State>({ kind: 'idle' });
  const [isRedacted, setRedacted] = useState(false);
  const make = async () => {
    setState({ kind: 'running' });
    try {
      const query = new URLSearchParams({ id, ...(isRedacted ? { redact: 'yes' } : {}) });
      const response = await request(`/api/evidence?${query}`);
      setState({ kind: 'done', view: (await response.json()) as EvidenceView });
    } catch (error) {
      setState({ kind: 'failed', ...failureOf(error, 'try it again') });
    }
  };
  return (
    <Section title="Evidence that others can check" id="evidence-file" command={command}>
      <p>
        One file with the verdict, the messages that it was judged from, and what the responder did. It is not signed:
        the command signs it with <code>--key</code>.
      </p>
      <p>
        <label>
          <input
            type="checkbox"
            checked={isRedacted}
            onChange={(event) => setRedacted((event.currentTarget as HTMLInputElement).checked)}
          />{' '}
          without arguments of processes and without addresses
        </label>
      </p>
      <p>
        <button type="button" disabled={state.kind === 'running'} onClick={() => void make()}>
          {state.kind === 'running' ? 'Reading the messages …' : 'Make the file and check it'}
        </button>
      </p>
      {state.kind === 'done' && <Made view={state.view} />}
      {state.kind === 'failed' && <Failed {...state} />}
    </Section>
  );
}
