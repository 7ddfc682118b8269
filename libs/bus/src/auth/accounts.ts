/**
 * NATS accounts: which account an identity is in, and what each account imports from the core
 * account.
 *
 * JetStream publishes a response to the reply subject of a request even if the client may not
 * publish there. Outside CORE that subject lies in the client's own account, where no stream
 * listens. The rules at IMPORTS keep this true; test/bus/rights.test.ts tries them on every
 * supported server.
 */

import { type FixedRole, type Identity, IMPORTED_API } from '../topology/identities.ts';
import { MAX_PAYLOAD_BYTES } from '../topology/server-limits.ts';
import { consumerStateSubject, ROOT, readSubject } from '../topology/subjects.ts';
import { EVENT_SUBJECTS, ownStatus, permissionsFor, WATCHED_SUBJECTS } from './permissions.ts';

/**
 * The account with all streams and buckets. Its name is a directory of the store, so it must not
 * change.
 */
export const CORE = 'BAILIFF';
export const ACCOUNTS = [
  'BAILIFF',
  'NODES',
  'NODE_PUSH',
  'OPERATORS',
  'CONSOLE',
  'EVIDENCE',
  'READERS',
  'SIEM',
  'AUTH',
] as const;
/** The server's own account: with auth callout, bus-auth watches the connections of nodes through it. */
export const SYSTEM = '$SYS';
export type Account = (typeof ACCOUNTS)[number] | typeof SYSTEM;

const ACCOUNT_OF: Readonly<Record<Identity['role'], Account>> = {
  collector: 'NODES',
  push: 'NODE_PUSH',
  cli: 'OPERATORS',
  console: 'CONSOLE',
  'evidence-log': 'EVIDENCE',
  reader: 'READERS',
  'siem-reader': 'SIEM',
  'bus-auth': 'AUTH',
  // These create consumers, and so choose where JetStream delivers. docs/threat-model.md explains
  // why that is accepted.
  admin: CORE,
  correlator: CORE,
  responder: CORE,
  'ipam-sync': CORE,
  'siem-relay': CORE,
};

export const accountOf = ({ role }: Pick<Identity, 'role'>): Account => ACCOUNT_OF[role];

/**
 * Limits of each connection outside the core. nats-server enforces the limits of an account, and
 * ignores those of a user that an auth callout admits.
 */
export const CONNECTION_LIMITS = {
  /** A larger message ends the connection before it is read. */
  maxPayloadBytes: MAX_PAYLOAD_BYTES,
  /** A collector needs about ten. */
  maxSubscriptions: 100,
} as const;

/**
 * Largest message of accounts that send only requests. siem-relay receives some of them, and the
 * server would end its connection at MAX_PENDING_BYTES of large ones.
 */
export const MAX_PAYLOADS: Readonly<Partial<Record<Account, number>>> = {
  CONSOLE: 16_384,
  EVIDENCE: 16_384,
  READERS: 16_384,
  SIEM: 16_384,
};

/**
 * Fewer subscriptions where events are delivered to each, while their publisher waits: with 16 connections of
 * 100, siem-relay stored 152 events a second instead of 7,700. A client has one for its requests, one for each
 * consumer that it reads and one for each filter of live events.
 */
export const MAX_SUBSCRIPTIONS: Readonly<Partial<Record<Account, number>>> = { READERS: 8, SIEM: 8 };

/**
 * Connections of an account whose users have passwords: each may hold MAX_PENDING_BYTES of a
 * server's memory. The connections of nodes are limited by their rate of logins (bus-auth).
 *
 * A message to a subscription waits for the lock of its connection, and its publisher waits with it. A connection
 * that subscribes without pause holds the lock nearly all the time: with 16 of them, siem-relay stored one event a
 * second, with 4 some hundred. On a busy server, 8 of the console delayed responses of the API by 5 s, 4 by 0.3 s.
 */
export const MAX_CONNECTIONS: Readonly<Partial<Record<Account, number>>> = {
  OPERATORS: 32,
  CONSOLE: 4,
  EVIDENCE: 4,
  READERS: 8,
  SIEM: 4,
};

export interface Import {
  kind: 'service' | 'stream';
  from: Account;
  /** Subject in the exporting account. */
  subject: string;
  /** Subject in the importing account, if it differs. */
  to?: string;
}

export interface Export {
  kind: 'service' | 'stream';
  subject: string;
  accounts: Account[];
  /**
   * How long a request may receive further responses; undefined: one response, within RESPONSE_MS.
   */
  responsesMs?: number;
}

/**
 * How long the server waits for a single response; the timeout of Bailiff's clients. Each request
 * without a response costs the server 1 to 8 kB during that time, and some requests get none, such
 * as an acknowledgement of message 0. The server's default is 2 minutes.
 */
export const RESPONSE_MS = 5_000;
/** Above the longest pull of a SIEM connector's client (30 s by default). */
const PULL_MS = 35_000;
/** A batch of direct gets is served at once. */
const BATCH_MS = 5_000;
/** Each server of a cluster responds with its connections; one that is flooded responds late. */
const CONNECTIONS_MS = 10_000;

const service = (subject: string, to?: string, from: Account = CORE): Import => ({
  kind: 'service',
  from,
  subject,
  ...(to === undefined ? {} : { to }),
});
const stream = (subject: string, from: Account = CORE): Import => ({ kind: 'stream', from, subject });

/** Imports of a role's own account: the subjects that the role may publish on. */
function importsFor(role: FixedRole): Import[] {
  const { allow } = permissionsFor({ role }).publish;
  return allow
    .filter((subject) => !subject.startsWith(`${ROOT}.replay.`))
    .map((subject) => {
      const consumer = /^BUS\.CONSUMER\.INFO\.[^.]+\.([^.]+)$/.exec(subject)?.[1];
      if (consumer !== undefined) return service(consumerStateSubject(consumer), subject);
      const stream = /\.DIRECT\.GET\.([^.]+)$/.exec(subject)?.[1];
      if (role === 'reader' && stream !== undefined) return service(readSubject(stream), subject);
      return subject.startsWith(`${IMPORTED_API}.`)
        ? service(`$JS.API${subject.slice(IMPORTED_API.length)}`, subject)
        : service(subject);
    });
}

/**
 * Imports of each account, by five rules:
 * 1. A reply subject may name an import of the same account; the response then enters CORE. The
 *    server refuses this for imports of one export (it treats it as a cycle). So NODES imports
 *    everything through the single export `>`.
 * 2. Imports of captured subjects have no `to`. nats-server 2.10.27 panics on a reply to an
 *    import with a wildcard and `to`.
 * 3. An import names the subject of an export exactly, or only the export `>` matches it.
 *    Overlapping exports are matched at random.
 * 4. Only OPERATORS, CONSOLE and EVIDENCE import requests about streams and for their messages, which the server imports
 *    from its system account: behind a route it may publish there on behalf of a client (server-conf.ts),
 *    and there one message can stop JetStream for good. siem-relay responds to SIEM instead.
 * 5. READERS, CONSOLE and EVIDENCE import no direct get of a whole stream: one of 100 bytes can block the
 *    stream for half a minute, or have the server read all of it into memory. siem-relay responds to READERS,
 *    the API of JetStream to the others.
 */
export const IMPORTS: Readonly<Record<Account, readonly Import[]>> = {
  BAILIFF: [{ kind: 'service', from: 'NODE_PUSH', subject: `${ROOT}.capture.*` }],
  NODES: [service(`${ROOT}.violations.>`), service('$KV.bailiff_nodes.*'), service('$JS.API.DIRECT.GET.>')],
  NODE_PUSH: [stream(`${ROOT}.push.>`)],
  OPERATORS: importsFor('cli'),
  CONSOLE: importsFor('console'),
  EVIDENCE: importsFor('evidence-log'),
  READERS: [...importsFor('reader'), stream(`${ROOT}.replay.>`, 'OPERATORS')],
  SIEM: [...importsFor('siem-reader'), stream(`${ROOT}.siem.>`)],
  AUTH: [
    ...WATCHED_SUBJECTS.map((subject) => service(subject, undefined, SYSTEM)),
    ...EVENT_SUBJECTS.map((subject) => stream(subject, SYSTEM)),
    service(ownStatus('bus-auth')),
  ],
  $SYS: [],
};

/**
 * How long a request on an exported subject may receive responses; undefined: a single response.
 */
function responsesMsOf(subject: string): number | undefined {
  if (subject.startsWith('$JS.API.CONSUMER.MSG.NEXT.')) return PULL_MS;
  if (subject.endsWith('.CONNZ')) return CONNECTIONS_MS;
  return /^\$JS\.API\.DIRECT\.GET\.[^.]+$/.test(subject) ? BATCH_MS : undefined;
}

function exportsOf(account: Account): Export[] {
  const found = new Map<string, Export>();
  for (const importer of ACCOUNTS) {
    for (const one of IMPORTS[importer]) {
      if (one.from !== account) continue;
      const subject = importer === 'NODES' ? '>' : one.subject;
      const key = `${one.kind} ${subject}`;
      const responsesMs = one.kind === 'service' ? responsesMsOf(subject) : undefined;
      const entry = found.get(key) ?? {
        kind: one.kind,
        subject,
        accounts: [],
        ...(responsesMs === undefined ? {} : { responsesMs }),
      };
      if (!entry.accounts.includes(importer)) entry.accounts.push(importer);
      found.set(key, entry);
    }
  }
  return [...found.values()];
}

/** Exports of each account: exactly what the others import. */
export const EXPORTS: Readonly<Record<Account, readonly Export[]>> = Object.fromEntries(
  ([...ACCOUNTS, SYSTEM] as const).map((account) => [account, exportsOf(account)]),
) as Record<Account, Export[]>;
