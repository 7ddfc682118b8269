/** Runtime policies before they are enforced: one that allows what a pod did, and what one would have denied. */
import { useEffect, useRef, useState } from 'preact/hooks';
import type { PolicyChoiceView, PolicyTextView, PromotionView } from '../wire.ts';
import { ChangeOffer } from './change.tsx';
import { Section } from './command.tsx';
import { post, request } from './session.ts';
import { RangeField, Result, RunState, useRun } from './trial-run.tsx';

/** Characters of a policy file that the server reads. */
const MAX_TEXT = 131_072;

interface SimulationProps {
  choices: readonly PolicyChoiceView[];
  /** Policies that only watch. */
  promotions: readonly PromotionView[];
  query: URLSearchParams;
  /** A proposal to begin with; empty: none. */
  proposal: string;
}

function Simulation({ choices, promotions, query, proposal }: SimulationProps) {
  const [key, setKey] = useState(proposal === '' ? (query.get('policy') ?? choices[0]?.key ?? '') : '');
  /** As stored; null: not read yet, or the text is another one. */
  const [stored, setStored] = useState<string | null>(null);
  const [text, setText] = useState(proposal);
  const [since, setSince] = useState(query.get('since') ?? '7d');
  const run = useRun<{ key: string; text: string }>();
  const field = useRef<HTMLTextAreaElement>(null);
  useEffect(() => {
    // It also scrolls there.
    if (proposal !== '') field.current?.focus();
  }, []);
  useEffect(() => {
    if (key === '') return;
    const gone = new AbortController();
    setStored(null);
    request(`/api/policy?${new URLSearchParams({ key })}`, gone.signal)
      .then(async (response) => ((await response.json()) as PolicyTextView).yaml)
      .catch(() => '')
      .then((yaml) => {
        if (gone.signal.aborted) return;
        setStored(yaml);
        setText(yaml);
      });
    return () => gone.abort();
  }, [key]);
  const isReading = key !== '' && stored === null;
  const whose = isReading ? 'reading it …' : key === '' ? '' : text === stored ? 'as stored' : 'changed here';
  const simulate = (event: SubmitEvent) => {
    event.preventDefault();
    // A changed text is no stored policy any more.
    const tried = { key: text === stored ? key : '', text };
    void run.start((signal) => post('/api/simulation', { policy: text, since }, signal), tried);
  };
  return (
    <>
      <form class="trial" onSubmit={simulate}>
        <p class="field">
          <label for="policy">Policy</label>
          <select
            id="policy"
            value={key}
            onChange={(event) => {
              setKey((event.currentTarget as HTMLSelectElement).value);
              run.reset();
            }}
          >
            <option value="">the text below</option>
            {choices.map((one) => (
              <option key={one.key} value={one.key}>
                {one.name}
              </option>
            ))}
          </select>
          <span class="dim">{whose}</span>
        </p>
        <p class="field whole">
          <label for="policy-text">Policy file, which you may change here</label>
          <textarea
            id="policy-text"
            ref={field}
            disabled={isReading}
            rows={12}
            value={text}
            maxLength={MAX_TEXT}
            spellcheck={false}
            autocomplete="off"
            onInput={(event) => setText((event.currentTarget as HTMLTextAreaElement).value)}
          />
        </p>
        <RangeField id="simulate-since" label="With the operations of the last" value={since} onChange={setSince} />
        <p class="field">
          <button type="submit" disabled={run.state.kind === 'running' || text.trim() === ''}>
            Simulate
          </button>
          <span class="dim">judged as enforced, whatever its mode; nothing is changed</span>
        </p>
      </form>
      <RunState run={run}>
        {(view, tried) => {
          const promotion = promotions.find((one) => one.key === tried.key);
          return (
            <Result
              view={view}
              text={tried.text}
              name="simulation"
              toDo="Nothing was changed. To enforce it:"
              all="--json"
            >
              {promotion && (
                <ChangeOffer
                  changeKey={promotion.key}
                  set={['mode=enforce']}
                  label={`Enforce ${promotion.name} now`}
                  whyNot={promotion.whyNot}
                />
              )}
            </Result>
          );
        }}
      </RunState>
    </>
  );
}

function Learning({ query, onPropose }: { query: URLSearchParams; onPropose: (yaml: string) => void }) {
  const [pod, setPod] = useState(query.get('learn') ?? '');
  const [since, setSince] = useState(query.get('since') ?? '1d');
  const run = useRun<null>();
  const learn = (event: SubmitEvent) => {
    event.preventDefault();
    const asked = new URLSearchParams({ pod: pod.trim(), since });
    void run.start((signal) => request(`/api/learn?${asked}`, signal), null);
  };
  return (
    <>
      <form class="trial" onSubmit={learn}>
        <p class="field">
          <label for="learn-pod">Pod: namespace/name</label>
          <input
            id="learn-pod"
            value={pod}
            autocomplete="off"
            spellcheck={false}
            onInput={(event) => setPod((event.currentTarget as HTMLInputElement).value)}
          />
          <span class="dim">its recorded operations become rules that allow them</span>
        </p>
        <RangeField id="learn-since" label="With the operations of the last" value={since} onChange={setSince} />
        <p class="field">
          <button type="submit" disabled={run.state.kind === 'running' || pod.trim() === ''}>
            Propose a policy
          </button>
          <span class="dim">nothing is changed</span>
        </p>
      </form>
      <RunState run={run}>
        {(view) => (
          <Result view={view} name="learning" toDo="Review each rule. To watch with it first:">
            <p>
              <button type="button" class="act" onClick={() => onPropose(view.yaml)}>
                Simulate this policy
              </button>
            </p>
          </Result>
        )}
      </RunState>
    </>
  );
}

type Props = Omit<SimulationProps, 'proposal'>;

/** Simulation alone. */
export function Simulate(props: Props) {
  return (
    <Section title="What would a policy of programs have denied?" id="simulate">
      <Simulation {...props} proposal="" />
    </Section>
  );
}

/** Learn, then simulate what was learned. */
export function LearnAndSimulate(props: Props) {
  const [{ proposal, round }, setProposal] = useState({ proposal: '', round: 0 });
  const propose = (yaml: string) => setProposal({ proposal: yaml, round: round + 1 });
  return (
    <>
      <Section title="Learn: which policy allows what a pod did?" id="learn">
        <Learning query={props.query} onPropose={propose} />
      </Section>
      <Section title="Simulate: what would a policy have denied?" id="simulate">
        <Simulation key={round} {...props} proposal={proposal} />
      </Section>
    </>
  );
}
