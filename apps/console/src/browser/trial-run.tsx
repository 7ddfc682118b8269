/** A trial, a simulation or a proposal: its progress, which can be cancelled, and what came of it. */
import { useEffect, useRef, useState } from 'preact/hooks';
import type { ErrorView, TrialEvent, TrialView } from '../wire.ts';
import { CommandLine, Notes, Section } from './command.tsx';
import { save } from './file.ts';
import { Failed } from './loaded.tsx';
import { Sections } from './sections.tsx';
import { dataOf } from './server-events.ts';
import { failureOf } from './session.ts';

/** Ranges of violations that are read again. */
const RANGES = ['1h', '6h', '1d', '7d'];

type State<T> =
  | { kind: 'idle' }
  | { kind: 'running'; frames: number; left: number | null }
  | { kind: 'done'; view: TrialView; tried: T }
  | ({ kind: 'failed' } & ErrorView);

export interface Run<T> {
  state: State<T>;
  /** @param tried what the result is about */
  start(send: (signal: AbortSignal) => Promise<Response>, tried: T): Promise<void>;
  /** Ends it, and forgets its result. */
  reset(): void;
}

/** A new run, a reset, and the end of the page end the former one. */
export function useRun<T>(): Run<T> {
  const [state, setState] = useState<State<T>>({ kind: 'idle' });
  const running = useRef<AbortController | null>(null);
  const cancel = () => {
    running.current?.abort();
    running.current = null;
  };
  useEffect(() => cancel, []);
  const start: Run<T>['start'] = async (send, tried) => {
    cancel();
    const own = new AbortController();
    running.current = own;
    // Of a run that ended, nothing is shown any more.
    const show = (next: State<T>) => {
      if (running.current === own) setState(next);
    };
    show({ kind: 'running', frames: 0, left: null });
    let isOver = false;
    try {
      for await (const events of dataOf(await send(own.signal))) {
        for (const one of events.map((text) => JSON.parse(text) as TrialEvent)) {
          isOver = !('frames' in one);
          if ('result' in one) show({ kind: 'done', view: one.result, tried });
          else if ('error' in one) show({ kind: 'failed', ...one });
          else show({ kind: 'running', ...one });
        }
      }
      if (!isOver) show({ kind: 'failed', error: 'it ended early', remedy: 'try it again' });
    } catch (error) {
      show({ kind: 'failed', ...failureOf(error, 'try it again') });
    }
  };
  const reset = () => {
    cancel();
    setState({ kind: 'idle' });
  };
  return { state, start, reset };
}

function Progress({ frames, left, onCancel }: { frames: number; left: number | null; onCancel: () => void }) {
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

/** @param children shows the result */
export function RunState<T>({
  run: { state, reset },
  children,
}: {
  run: Run<T>;
  children: (view: TrialView, tried: T) => preact.ComponentChildren;
}) {
  if (state.kind === 'running') return <Progress {...state} onCancel={reset} />;
  if (state.kind === 'done') return <>{children(state.view, state.tried)}</>;
  if (state.kind === 'idle') return null;
  return <Failed {...state} heading="h2" />;
}

interface ResultProps {
  view: TrialView;
  /** What the person tried, if that is a file; default: the one that the server made. */
  text?: string;
  /** Ids begin with it. */
  name: string;
  /** Sentence before the command. */
  toDo: string;
  /** Flag of its command that prints all rows. */
  all?: string;
  /** Further ways to go on. */
  children?: preact.ComponentChildren;
}

export function Result({ view, text = view.yaml, name, toDo, all = '--all', children }: ResultProps) {
  const { fileName } = view;
  return (
    <>
      <div class={`answer ${view.isSame ? 'plain' : 'warn'}`} role="status">
        <h2>{view.headline}</h2>
        <p>{toDo}</p>
        <p>
          <CommandLine command={view.apply} />
        </p>
        {children}
      </div>
      <Notes notes={view.notes} />
      <Sections sections={view.sections} name={name} more={`${view.command} ${all}`} />
      <Section title="The same as a command" id={`${name}-command`} command={view.command}>
        <p>
          The file {fileName}:{' '}
          <button type="button" onClick={() => save({ name: fileName, file: text }, 'application/yaml')}>
            Save {fileName}
          </button>
        </p>
        <pre class="file">{text}</pre>
      </Section>
    </>
  );
}

/** The range of a run. */
export function RangeField({
  id,
  label,
  value,
  onChange,
}: {
  id: string;
  label: string;
  value: string;
  onChange: (next: string) => void;
}) {
  return (
    <p class="field">
      <label for={id}>{label}</label>
      <select id={id} value={value} onChange={(event) => onChange((event.currentTarget as HTMLSelectElement).value)}>
        {[...new Set([...RANGES, value])].map((range) => (
          <option key={range} value={range}>
            {range}
          </option>
        ))}
      </select>
    </p>
  );
}
