/**
 * A change with the visitor's own rights: the button, the difference and the reason to confirm it, and what
 * became of it. Nothing is written before the second button.
 */
import { useEffect, useRef, useState } from 'preact/hooks';
import type { AppliedView, ErrorView, ProposalView } from '../wire.ts';
import { Difference } from './difference.tsx';
import { Failed } from './loaded.tsx';
import { change, failureOf, proposal } from './session.ts';

const MAX_REASON = 512;

type State =
  | { kind: 'reading' }
  | { kind: 'proposed'; view: ProposalView; isRunning: boolean }
  | { kind: 'applied'; view: AppliedView }
  | ({ kind: 'failed' } & ErrorView);

const failedWith = (error: unknown): State => ({
  kind: 'failed',
  ...failureOf(error, 'look at the history whether the change was written'),
});

function Confirm({
  view,
  isRunning,
  onApply,
}: {
  view: ProposalView;
  isRunning: boolean;
  onApply: (reason: string) => void;
}) {
  const [reason, setReason] = useState('');
  return (
    <form
      onSubmit={(event) => {
        event.preventDefault();
        onApply(reason);
      }}
    >
      <p>{view.heading}</p>
      <Difference lines={view.diff} omitted={view.diffOmitted} />
      {view.notes.map((note) => (
        <p key={note} class="note">
          {note}
        </p>
      ))}
      <p class="field">
        <label for="reason">Why? Everyone reads it in the history</label>
        <input
          id="reason"
          value={reason}
          required
          maxLength={MAX_REASON}
          autocomplete="off"
          onInput={(event) => setReason((event.currentTarget as HTMLInputElement).value)}
        />
        <span class="dim">recorded as {view.by}</span>
      </p>
      <p>
        <button type="submit" class="act" disabled={isRunning || reason.trim() === ''}>
          {isRunning ? 'Applying …' : 'Apply this change'}
        </button>
      </p>
    </form>
  );
}

function Applied({ view, changeKey }: { view: AppliedView; changeKey: string }) {
  return (
    <div class={`answer ${view.isWritten ? 'good' : 'warn'}`} role="status">
      <h3>{view.text}</h3>
      {view.notes.map((note) => (
        <p key={note}>{note}</p>
      ))}
      <p>
        <a href={`/history?${new URLSearchParams({ key: changeKey, since: 'all' })}`}>See it in the history</a>
      </p>
    </div>
  );
}

interface Props {
  changeKey: string;
  /** As of `bailiff config set`. */
  set: readonly string[];
  label: string;
}

function Dialog({ changeKey, set, label, onClose }: Props & { onClose: () => void }) {
  const [state, setState] = useState<State>({ kind: 'reading' });
  const dialog = useRef<HTMLDialogElement>(null);
  useEffect(() => {
    dialog.current?.showModal();
    const gone = new AbortController();
    proposal(changeKey, set, gone.signal).then(
      (view) => setState({ kind: 'proposed', view, isRunning: false }),
      (error: unknown) => {
        if (!gone.signal.aborted) setState(failedWith(error));
      },
    );
    return () => gone.abort();
  }, []);
  const apply = async (view: ProposalView, reason: string) => {
    setState({ kind: 'proposed', view, isRunning: true });
    try {
      setState({ kind: 'applied', view: await change({ key: changeKey, set: [...set], basis: view.basis, reason }) });
    } catch (error) {
      setState(failedWith(error));
    }
  };
  return (
    <dialog class="confirm" ref={dialog} aria-labelledby="change-title" onClose={onClose}>
      <h2 id="change-title">{label}</h2>
      {state.kind === 'reading' && <p class="loading">Checking the change …</p>}
      {state.kind === 'proposed' && (
        <Confirm view={state.view} isRunning={state.isRunning} onApply={(reason) => void apply(state.view, reason)} />
      )}
      {state.kind === 'applied' && <Applied view={state.view} changeKey={changeKey} />}
      {state.kind === 'failed' && <Failed {...state} />}
      <p>
        <button type="button" onClick={() => dialog.current?.close()}>
          {state.kind === 'proposed' ? 'Cancel' : 'Close'}
        </button>
      </p>
    </dialog>
  );
}

/** @param whyNot why this visitor may not change the key here; empty: the button is shown */
export function ChangeOffer({ whyNot, ...props }: Props & { whyNot: string }) {
  const [isOpen, setOpen] = useState(false);
  if (whyNot !== '') return <p class="dim">Not from this page: {whyNot}.</p>;
  return (
    <>
      <p>
        <button type="button" class="act" onClick={() => setOpen(true)}>
          {props.label} …
        </button>
      </p>
      {isOpen && <Dialog {...props} onClose={() => setOpen(false)} />}
    </>
  );
}
