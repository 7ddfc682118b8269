/** The frame of all pages: navigation, state of the connection, and the page of this path. */

import type { ErrorView } from '../wire.ts';
import { CommandLine } from './command.tsx';
import { GraphPage } from './graph.tsx';
import { HistoryPage } from './history.tsx';
import { NowPage } from './now.tsx';
import { PodPage } from './pod.tsx';
import { PoliciesPage } from './policies.tsx';
import { refusal, session } from './session.ts';
import { now, stream, trouble } from './stream.ts';
import { VerdictPage } from './verdict.tsx';
import { WhatIfPage } from './what-if.tsx';

const PAGES = [
  { path: '/', name: 'Now' },
  { path: '/graph', name: 'Graph' },
  { path: '/policies', name: 'Policies' },
  { path: '/what-if', name: 'What if' },
  { path: '/verdict', name: 'Verdict' },
  { path: '/pod', name: 'Pod' },
  { path: '/history', name: 'History' },
];

function NoSession() {
  return (
    <div class="answer warn" role="alert">
      <h1>This browser has no session</h1>
      <p>The link was used, the session ended, or the console was started again.</p>
      <p>
        Run <CommandLine command="bailiff console" /> and open the link that it prints. Then reload this page, if it
        does not go on by itself.
      </p>
      {now.value !== null && <p>What you see below is old.</p>}
    </div>
  );
}

function Refused({ error, remedy }: ErrorView) {
  return (
    <div class="answer warn" role="alert">
      <h1>You see nothing here: {error}</h1>
      <p>{remedy}</p>
      <p>This page tries again by itself.</p>
    </div>
  );
}

/** Whose violations these are, for visitors who do not see all. */
function ScopeLine() {
  const scope = now.value?.scope;
  if (!scope || scope.isAll) return null;
  const more = scope.omitted > 0 ? ` and ${scope.omitted} more` : '';
  return (
    <p class="scope">
      You see the namespace{scope.namespaces.length === 1 ? '' : 's'} <b>{scope.namespaces.join(', ')}</b>
      {more}. Everything here counts these only. Nodes and services are shown to those who may see all namespaces.
    </p>
  );
}

/** What the reader has to know before trusting the numbers. */
function Connection() {
  if (stream.value === 'lost') {
    const old = now.value === null ? '' : 'What you see is old. ';
    if (trouble.value !== null && refusal.value === null) {
      return (
        <p class="banner bad" role="alert">
          Not live: {trouble.value.error}. {old}
          {trouble.value.remedy}. Trying again …
        </p>
      );
    }
    return (
      <p class="banner bad" role="alert">
        The console does not respond. {old}Trying again …
      </p>
    );
  }
  const connection = now.value?.connection;
  if (!connection) return null;
  if (!connection.connected) {
    return (
      <p class="banner bad" role="alert">
        The bus is not connected. What you see is old. Trying again …
      </p>
    );
  }
  if (connection.problem === '') return null;
  return (
    <p class="banner bad" role="alert">
      Something cannot be read: {connection.problem}
    </p>
  );
}

function Page({ path, query }: { path: string; query: URLSearchParams }) {
  if (path === '/graph') return <GraphPage query={query} />;
  if (path === '/policies') return <PoliciesPage query={query} />;
  if (path === '/what-if') return <WhatIfPage query={query} />;
  if (path === '/verdict') return <VerdictPage query={query} />;
  if (path === '/pod') return <PodPage query={query} />;
  if (path === '/history') return <HistoryPage query={query} />;
  return <NowPage />;
}

export function App() {
  const { pathname, search } = location;
  const connection = now.value?.connection;
  const isConnected = stream.value === 'live' && connection?.connected === true && session.value === 'open';
  // The other pages are read once.
  const state = pathname === '/' ? 'live' : 'connected';
  return (
    <>
      <a class="skip" href="#main">
        Skip to the content
      </a>
      <header class="top">
        <a class="brand" href="/">
          Bailiff
        </a>
        <nav aria-label="Pages">
          {PAGES.map(({ path, name }) => (
            <a key={path} class="page" href={path} aria-current={path === pathname ? 'page' : undefined}>
              {name}
            </a>
          ))}
        </nav>
        <span class={`state ${isConnected ? 'good' : 'bad'}`}>{isConnected ? `● ${state}` : `○ not ${state}`}</span>
        {connection && (
          <span class="dim bus">
            {connection.user} on {connection.bus}
          </span>
        )}
      </header>
      <main id="main" tabIndex={-1}>
        {session.value === 'none' ? <NoSession /> : <Connection />}
        {refusal.value && <Refused {...refusal.value} />}
        <ScopeLine />
        {(session.value === 'open' || now.value !== null) && refusal.value === null && (
          <Page path={pathname} query={new URLSearchParams(search)} />
        )}
      </main>
    </>
  );
}
