/** Now: is everything guarded, who attacks, and what was done? */
import type { AttackerView, Cell, LiveView, NowView, ProblemView, StatusView, TableView } from '../wire.ts';
import { RatesChart } from './chart.tsx';
import { clock } from './clock.ts';
import { CommandLine, Notes, Section } from './command.tsx';
import { now } from './stream.ts';
import { Table } from './table.tsx';

/** Approvals with a command to copy. */
const MAX_COMMANDS = 5;

/** The response id of a row. */
function idIn({ columns }: TableView, cells: readonly Cell[]): string {
  const cell = cells[columns.findIndex(({ title }) => title === 'ID')] ?? '';
  return typeof cell === 'string' ? cell : cell.text;
}

function Head({ status }: { status: StatusView }) {
  const severe = status.problems.some(({ severity }) => severity === 'shout');
  const tone = severe ? 'bad' : status.ok ? 'good' : 'warn';
  const sign = { bad: '✗', warn: '!', good: '✓' }[tone];
  return (
    <div class={`answer ${tone}`}>
      <h1>
        <span aria-hidden="true">{sign}</span> {status.headline}
      </h1>
      <p>{status.summary}</p>
      <p class="dim">
        Read at {clock(status.atMs)} UTC
        {status.exitCode !== null && (
          <>
            {' '}
            · exit code {status.exitCode} · <CommandLine command="bailiff status" />
          </>
        )}
      </p>
    </div>
  );
}

function Figure({ value, text, tone, href }: { value: string; text: string; tone: string; href: string }) {
  return (
    <a class={`number ${tone}`} href={href}>
      <b>{value}</b>
      <span>{text}</span>
    </a>
  );
}

/** Without any interface, nothing is known to be good. */
function guardTone(status: StatusView | null): string {
  if (!status || status.guardable === 0) return 'plain';
  if (status.guarded < status.guardable) return 'bad';
  return status.enforced < status.guarded ? 'warn' : 'good';
}

function guardText(status: StatusView | null): string {
  const open = status ? status.guarded - status.enforced : 0;
  return open > 0 ? `interfaces guarded, ${open} not fully enforced` : 'interfaces guarded';
}

function Numbers({ view: { status, waiting, live } }: { view: NowView }) {
  const count = (table: { rows: unknown[]; omitted: number }) => table.rows.length + table.omitted;
  const waits = waiting ? count(waiting) : 0;
  const attackers = live.attackers.length + live.attackersOmitted;
  const problems = (status?.problems.length ?? 0) + (status?.problemsOmitted ?? 0);
  /** A number that still grows. */
  const counted = (value: number) => (live.complete ? String(value) : `${value}+`);
  return (
    <nav class="numbers" aria-label="Sections of this page">
      {status?.exitCode !== null && (
        <Figure value={String(problems)} text="problems" tone={problems > 0 ? 'warn' : 'good'} href="#problems" />
      )}
      <Figure
        value={status ? `${status.guarded}/${status.guardable}` : '–'}
        text={guardText(status)}
        tone={guardTone(status)}
        href="#nodes"
      />
      <Figure value={String(waits)} text="wait for approval" tone={waits > 0 ? 'warn' : 'plain'} href="#waiting" />
      <Figure
        value={counted(live.rates.total)}
        text="violations in an hour"
        tone={live.rates.total > 0 ? 'warn' : 'plain'}
        href="#attacks"
      />
      <Figure
        value={counted(live.rates.passed)}
        text="got through: only audited"
        tone={live.rates.passed > 0 ? 'bad' : live.complete ? 'good' : 'plain'}
        href="#attacks"
      />
      <Figure value={counted(attackers)} text="pods violate" tone={attackers > 0 ? 'warn' : 'plain'} href="#attacks" />
      <Figure value={counted(count(live.verdicts))} text="verdicts in a day" tone="plain" href="#verdicts" />
    </nav>
  );
}

function Problems({ problems, omitted }: { problems: ProblemView[]; omitted: number }) {
  if (problems.length === 0) return <p class="empty">No problem.</p>;
  return (
    <ul class="problems">
      {problems.map(({ severity, where, text, remedy }) => (
        <li key={`${where} ${text}`} class={severity === 'shout' ? 'bad' : 'warn'}>
          <p>
            <span class="sign" aria-hidden="true">
              {severity === 'shout' ? '✗' : '!'}
            </span>
            <b>{where}</b>: {text}
          </p>
          {remedy !== '' && <p class="remedy">→ {remedy}</p>}
        </li>
      ))}
      {omitted > 0 && <li class="dim">… and {omitted} more: bailiff status --json</li>}
    </ul>
  );
}

/** As on the page Graph, which shows what was forged. */
const outcome = (passed: number): Cell =>
  passed === 0 ? { text: 'none got through', style: 'green' } : { text: `${passed} got through`, style: 'yellow' };

/** Steps are no results. */
const STEPS = ['started', 'approved', 'pending'];

/** Also what is not among the newest rows. */
function ResponseCounts({ counts }: { counts: LiveView['responseCounts'] }) {
  const results = counts.filter(({ kind }) => !STEPS.some((step) => kind.endsWith(` ${step}`)));
  if (results.length === 0) return null;
  return <p class="bold">In all: {results.map(({ kind, count }) => `${count} × ${kind}`).join(', ')}.</p>;
}

function Attackers({ attackers, omitted, empty }: { attackers: AttackerView[]; omitted: number; empty: string }) {
  const table = {
    columns: [
      { title: 'POD', long: true },
      { title: 'COUNT', align: 'right' as const },
      { title: 'OUTCOME' },
      { title: 'VECTORS', long: true },
      { title: 'LAST (UTC)' },
      { title: 'NODE', long: true },
    ],
    rows: attackers.map(({ namespace, pod, uid, node, count, passed, vectors, lastMs }) => ({
      key: `${node} ${uid}`,
      cells: [pod, String(count), outcome(passed), vectors.join(', '), clock(lastMs), node],
      links: { 0: `/pod?${new URLSearchParams({ pod: uid, namespace })}` },
    })),
    omitted,
  };
  return (
    <Table table={table} label="Pods with violations, most first" empty={empty} more="bailiff top pods --since 1h" />
  );
}

function Services({ status }: { status: StatusView }) {
  return (
    <dl class="services">
      {status.services.map(({ name, text }) => (
        <div key={name}>
          <dt>{name}:</dt>
          <dd>{text}</dd>
        </div>
      ))}
      <div>
        <dt>on the bus:</dt>
        <dd>{status.streams.replace(/^on the bus: /, '')}</dd>
      </div>
    </dl>
  );
}

export function NowPage() {
  const view = now.value;
  if (view === null) return <p class="loading">Reading the bus …</p>;
  const { status, waiting, live } = view;
  const empty = (text: string) => (live.complete ? text : 'None so far: the stored messages are still read.');
  return (
    <>
      {status ? <Head status={status} /> : <p class="loading">Reading the status …</p>}
      <Numbers view={view} />
      {status?.exitCode === null && status.nodes.rows.length > 0 && (
        <Section title="Pods without a guard" id="nodes">
          <Table table={status.nodes} label="Pods without a guard" empty="None." />
        </Section>
      )}
      {status && status.exitCode !== null && (
        <Section title="Problems" id="problems" command="bailiff status">
          <Problems problems={status.problems} omitted={status.problemsOmitted} />
          <Notes notes={status.notes} />
        </Section>
      )}
      {waiting && (
        <Section title="Waits for your approval" id="waiting" command="bailiff responses --pending">
          <Table table={waiting} label="Responses that wait for approval" empty="No response waits for approval." />
          {waiting.rows.slice(0, MAX_COMMANDS).map(({ key, cells }) => (
            <p key={key}>
              <CommandLine command={`bailiff responses approve ${idIn(waiting, cells)}`} />
            </p>
          ))}
          {waiting.rows.length > 0 && (
            <p class="dim">
              To refuse it, use <code>deny</code> instead of <code>approve</code>.
            </p>
          )}
        </Section>
      )}
      <Section title="Who attacks: the last hour" id="attacks" command="bailiff top pods --since 1h">
        {!live.complete && (
          <p class="note">
            {live.read === 0
              ? 'Counting the stored messages.'
              : `Counting: ${live.read} of ${live.read + live.left} stored messages are read.`}{' '}
            Every number with a + still grows.
          </p>
        )}
        <RatesChart rates={live.rates} />
        <Attackers
          attackers={live.attackers}
          omitted={live.attackersOmitted}
          empty={empty('No pod violated within the last hour.')}
        />
        <Notes notes={live.notes} />
      </Section>
      <Section title="Verdicts of the last day, newest first" id="verdicts" command="bailiff verdicts --since 1d">
        <Table table={live.verdicts} label="Verdicts" empty={empty('No verdict.')} more="bailiff verdicts --since 1d" />
      </Section>
      <Section title="What Bailiff did, and refused to do" id="responses" command="bailiff responses --since 1d">
        <ResponseCounts counts={live.responseCounts} />
        <Table
          table={live.responses}
          label="Responses"
          empty={empty('No response.')}
          more="bailiff responses --since 1d"
        />
      </Section>
      {status && status.exitCode !== null && (
        <Section title="Coverage by node" id="nodes" command="bailiff status">
          <Table table={status.nodes} label="Nodes" empty="No node has reported yet." more="bailiff status" />
          <p class="dim">
            One node in detail: <code>bailiff status --node NODE</code>
          </p>
          <h3>Services and streams</h3>
          <Services status={status} />
        </Section>
      )}
    </>
  );
}
