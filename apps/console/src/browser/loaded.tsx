/** A page that is read once: its state, its errors, and the button that reads it again. */
import { useEffect, useState } from 'preact/hooks';
import { ApiError, request, session } from './session.ts';

type State<T> = { view: T } | { error: string; remedy: string } | null;

export function Loaded<T>({ path, children }: { path: string; children: (view: T) => preact.ComponentChildren }) {
  const [state, setState] = useState<State<T>>(null);
  const [round, setRound] = useState(0);
  const isOpen = session.value === 'open';
  useEffect(() => {
    if (!isOpen) return;
    const gone = new AbortController();
    request(path, gone.signal)
      .then(async (response) => setState({ view: (await response.json()) as T }))
      .catch((error: unknown) => {
        if (gone.signal.aborted) return;
        if (error instanceof ApiError) setState({ error: error.message, remedy: error.remedy });
        else setState({ error: 'the console does not respond', remedy: 'is `bailiff console` still running?' });
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
      <div class="answer bad" role="alert">
        <h1>{state.error}</h1>
        <p class="lines">{state.remedy}</p>
        {again}
      </div>
    );
  }
  return (
    <>
      {children(state.view)}
      {again}
    </>
  );
}
