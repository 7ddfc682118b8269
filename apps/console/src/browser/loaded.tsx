/** A page that is read once: its state, its errors, and the button that reads it again. */
import { useEffect, useState } from 'preact/hooks';
import type { ErrorView } from '../wire.ts';
import { clock } from './clock.ts';
import { failureOf, request, session } from './session.ts';

type State<T> = { view: T; atMs: number } | ErrorView | null;

interface FailedProps extends ErrorView {
  heading?: 'h1' | 'h2' | 'h3';
  children?: preact.ComponentChildren;
}

/** An error, and what to do about it. */
export function Failed({ error, remedy, heading: Heading = 'h3', children }: FailedProps) {
  return (
    <div class="answer bad" role="alert">
      <Heading>{error}</Heading>
      <p class="lines">{remedy}</p>
      {children}
    </div>
  );
}

export function Loaded<T>({ path, children }: { path: string; children: (view: T) => preact.ComponentChildren }) {
  const [state, setState] = useState<State<T>>(null);
  const [round, setRound] = useState(0);
  const isOpen = session.value === 'open';
  useEffect(() => {
    if (!isOpen) return;
    const gone = new AbortController();
    request(path, gone.signal)
      .then(async (response) => setState({ view: (await response.json()) as T, atMs: Date.now() }))
      .catch((error: unknown) => {
        if (!gone.signal.aborted) setState(failureOf(error, 'is `bailiff console` still running?'));
      });
    return () => gone.abort();
  }, [path, round, isOpen]);
  const again = (
    <p>
      <button type="button" onClick={() => setRound(round + 1)}>
        Read again
      </button>
    </p>
  );
  if (state === null) return <p class="loading">Reading the bus …</p>;
  if ('error' in state) {
    return (
      <Failed {...state} heading="h1">
        {again}
      </Failed>
    );
  }
  return (
    <>
      <p class="dim">Read at {clock(state.atMs)} UTC. This page does not update by itself.</p>
      {children(state.view)}
      {again}
    </>
  );
}
