/**
 * NATS accounts of the bus: which identity is in which account, and what each account imports from the one that holds the streams.
 *
 * Data path: server-conf.ts writes them; bus-auth places collectors by `accountOf`. JetStream publishes a response to the reply subject
 * of the request, whether or not the client may publish there. Outside CORE a client's reply subject lies in the client's own account, where no stream
 * listens. Three rules keep that true, and test/bus/rights.test.ts tries them on every server version that is supported:
 *
 * 1. A reply subject may name an import of the same account, and the response then enters CORE there. The server refuses this for
 *    imports of one export (it takes it for a cycle). So everything that an account with distrusting users imports and a stream
 *    captures comes from one export: `>` for NODES. Its other imports only read.
 * 2. Imports of captured subjects have no `to`. With a wildcard and `to`, nats-server 2.10.27 panics on a reply to such an import.
 * 3. An import names the string of an export exactly, or only the export `>` matches it: overlapping exports are matched at random.
 */
import { type FixedRole, type Identity, IMPORTED_API, permissionsFor } from './permissions.ts';
import { ROOT } from './subjects.ts';

/** The account that holds all streams and buckets. Its name is a directory of the store: it does not change. */
export const CORE = 'BAILIFF';
export const ACCOUNTS = ['BAILIFF', 'NODES', 'NODE_PUSH', 'OPERATORS', 'READERS', 'SIEM', 'AUTH'] as const;
export type Account = (typeof ACCOUNTS)[number];

const ACCOUNT_OF: Readonly<Record<Identity['role'], Account>> = {
  collector: 'NODES',
  push: 'NODE_PUSH',
  cli: 'OPERATORS',
  reader: 'READERS',
  'siem-reader': 'SIEM',
  'bus-auth': 'AUTH',
  // These create consumers, so they choose where JetStream delivers: docs/threat-model.md says why that is accepted.
  admin: CORE,
  correlator: CORE,
  responder: CORE,
  'ipam-sync': CORE,
  'siem-relay': CORE,
};

export const accountOf = ({ role }: Pick<Identity, 'role'>): Account => ACCOUNT_OF[role];

export interface Import {
  kind: 'service' | 'stream';
  from: Account;
  /** Subject in the exporting account. */
  subject: string;
  /** Subject in the importing account, where it is another. */
  to?: string;
}

export interface Export {
  kind: 'service' | 'stream';
  subject: string;
  accounts: Account[];
  /** A request may have many responses, for so long. Each request costs the server 2 kB meanwhile. */
  responsesMs?: number;
}

/** Above the longest pull of a SIEM connector's client (30 s by default). */
const PULL_MS = 35_000;
/** A batch of direct gets is answered at once. */
const BATCH_MS = 5_000;

const service = (subject: string, to?: string): Import => ({
  kind: 'service',
  from: CORE,
  subject,
  ...(to === undefined ? {} : { to }),
});
const stream = (subject: string, from: Account = CORE): Import => ({ kind: 'stream', from, subject });

/** What a role's own account imports: the subjects that the role may publish on. */
function importsFor(role: FixedRole): Import[] {
  const { allow } = permissionsFor({ role }).publish;
  return allow
    .filter((subject) => !subject.startsWith(`${ROOT}.replay.`))
    .map((subject) =>
      subject.startsWith(`${IMPORTED_API}.`)
        ? service(`$JS.API${subject.slice(IMPORTED_API.length)}`, subject)
        : service(subject),
    );
}

const CONFIG_INFO = 'STREAM.INFO.KV_bailiff_config';

/** Imports of each account. */
export const IMPORTS: Readonly<Record<Account, readonly Import[]>> = {
  BAILIFF: [{ kind: 'service', from: 'NODE_PUSH', subject: `${ROOT}.capture.*` }],
  NODES: [
    service(`${ROOT}.violations.>`),
    service('$KV.bailiff_nodes.*'),
    service('$JS.API.DIRECT.GET.>'),
    service(`$JS.API.${CONFIG_INFO}`, `${IMPORTED_API}.${CONFIG_INFO}`),
  ],
  NODE_PUSH: [stream(`${ROOT}.push.>`)],
  OPERATORS: importsFor('cli'),
  READERS: [...importsFor('reader'), stream(`${ROOT}.replay.>`, 'OPERATORS')],
  SIEM: [...importsFor('siem-reader'), stream(`${ROOT}.siem.>`)],
  AUTH: [],
};

/** How long responses to a request on an exported subject may come; undefined: there is one. */
function responsesMsOf(subject: string): number | undefined {
  if (subject.startsWith('$JS.API.CONSUMER.MSG.NEXT.')) return PULL_MS;
  return /^\$JS\.API\.DIRECT\.GET\.[^.]+$/.test(subject) ? BATCH_MS : undefined;
}

/** Whether an import is served by the export `>` of the core account (rule 1). */
const isByWholeExport = (account: Account, { to }: Import) => account === 'NODES' && to === undefined;

function exportsOf(account: Account): Export[] {
  const found = new Map<string, Export>();
  for (const importer of ACCOUNTS) {
    for (const one of IMPORTS[importer]) {
      if (one.from !== account) continue;
      const subject = isByWholeExport(importer, one) ? '>' : one.subject;
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

/** Exports of each account: what the others import of it, and no more. */
export const EXPORTS: Readonly<Record<Account, readonly Export[]>> = Object.fromEntries(
  ACCOUNTS.map((account) => [account, exportsOf(account)]),
) as Record<Account, Export[]>;
