/** Policies: what is in force where, why not elsewhere, and what enforcing would have denied. */
import type { PoliciesView } from '../wire.ts';
import { ChangeOffer } from './change.tsx';
import { CommandLine, Notes, Section, SinceLinks } from './command.tsx';
import { Loaded } from './loaded.tsx';
import { LearnAndSimulate } from './simulation.tsx';
import { Table } from './table.tsx';

function Reasons({ reasons }: Pick<PoliciesView, 'reasons'>) {
  if (reasons.length === 0) return null;
  return (
    <>
      <h3>Where they are not in force, and why</h3>
      <ul class="problems">
        {reasons.map(({ tone, where, text, remedy }) => (
          <li key={`${where} ${text}`} class={tone}>
            <p>
              <b>{where}</b>: {text}
            </p>
            {remedy !== '' && <p class="remedy">→ {remedy}</p>}
          </li>
        ))}
      </ul>
    </>
  );
}

function Promotions({ promotions }: Pick<PoliciesView, 'promotions'>) {
  if (promotions.length === 0) return null;
  return (
    <>
      <h3>Policies that only watch: to enforce one</h3>
      <ul class="promotions">
        {promotions.map(({ key, name, command, whyNot }) => (
          <li key={key}>
            <b>{name}</b>
            <CommandLine command={command} />
            <ChangeOffer changeKey={key} set={['mode=enforce']} label={`Enforce ${name}`} whyNot={whyNot} />
          </li>
        ))}
      </ul>
    </>
  );
}

/** Lines that begin with two spaces are commands. */
function Advice({ advice }: Pick<PoliciesView, 'advice'>) {
  return (
    <>
      {advice.map((line) => (
        <p key={line}>{line.startsWith('  bailiff ') ? <CommandLine command={line.trim()} /> : line}</p>
      ))}
    </>
  );
}

function Found({ view, query }: { view: PoliciesView; query: URLSearchParams }) {
  const { headline, tone, policies, reasons, operations, operationsNotes, promotions, choices } = view;
  const { vectors, packets, packetsText, advice, commands, notes, since } = view;
  const range = since === 'all' ? 'so far' : `in the last ${since}`;
  return (
    <>
      <div class={`answer ${tone}`}>
        <h1>{headline}</h1>
        <p>A policy in mode enforce denies. One in mode audit lets everything happen and counts it.</p>
        <SinceLinks />
      </div>
      <Notes notes={notes} />
      <Section title="What programs may do" id="policies" command={commands.status}>
        <Table table={policies} label="Policies" empty="No policy is stored." more={commands.list} />
        <Reasons reasons={reasons} />
      </Section>
      <Section
        title={`What programs did that enforcing would deny, ${range}`}
        id="operations"
        command={commands.operations}
      >
        <Table
          table={operations}
          label="Audited operations"
          empty={`No operation of a policy in audit was recorded ${range}. Nothing is recorded where a policy is not in force.`}
          more={commands.operations}
        />
        <Notes notes={operationsNotes} />
        <Promotions promotions={promotions} />
      </Section>
      {choices && <LearnAndSimulate choices={choices} promotions={promotions} query={query} />}
      <Section title="Vectors of packets that are not enforced" id="vectors" command={commands.vectors}>
        <Table
          table={vectors}
          label="Vectors that are not enforced"
          empty={view.vectorsEmpty}
          more={commands.vectors}
        />
      </Section>
      <Section title={`Packets that enforcing would drop, ${range}`} id="packets" command={commands.wouldDrop}>
        {packetsText !== '' && <p class="bold">{packetsText}</p>}
        <Table
          table={packets}
          label="Audited packets"
          empty={`No packet is recorded that enforcing would drop, ${range}.`}
          more={commands.wouldDrop}
        />
        <Advice advice={advice} />
      </Section>
    </>
  );
}

export function PoliciesPage({ query }: { query: URLSearchParams }) {
  const since = query.get('since') ?? '1d';
  return (
    <Loaded<PoliciesView> path={`/api/policies?${new URLSearchParams({ since })}`}>
      {(view) => <Found view={view} query={query} />}
    </Loaded>
  );
}
