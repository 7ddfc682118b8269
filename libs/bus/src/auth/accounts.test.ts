import { expect, test } from 'vitest';
import { apiPrefixOf, FIXED_ROLES, type Identity, NODE_ROLES, userOf } from '../topology/identities.ts';
import { ACCOUNTS, accountOf, CORE, EXPORTS, IMPORTS, type Import, SYSTEM } from './accounts.ts';
import { ownStatus, permissionsFor, REPLICA_SUBJECTS, WATCHED_SUBJECTS } from './permissions.ts';

const OUTSIDE = ACCOUNTS.filter((account) => account !== CORE);
const IDENTITIES: Identity[] = [
  ...FIXED_ROLES.map((role) => ({ role })),
  ...NODE_ROLES.map((role) => ({ role, node: 'node-a' })),
  { role: 'bus-auth' },
];
const isWatched = (subject: string) => [...REPLICA_SUBJECTS, ...WATCHED_SUBJECTS].includes(subject);
const isWild = (subject: string) => /(^|\.)(\*|>)(\.|$)/.test(subject);
const imports: [string, Import][] = OUTSIDE.flatMap((account) =>
  IMPORTS[account].map((one): [string, Import] => [account, one]),
);

test('accounts - these identities are in the core, and no other', () => {
  const core = IDENTITIES.filter((identity) => accountOf(identity) === CORE).map(userOf);
  expect(core.sort()).toEqual(['admin', 'correlator', 'ipam-sync', 'responder', 'siem-relay']);
  for (const identity of IDENTITIES) {
    expect([userOf(identity), apiPrefixOf(userOf(identity)) === '$JS.API']).toEqual([
      userOf(identity),
      accountOf(identity) === CORE,
    ]);
  }
});

test('accounts - outside the core no identity may create a consumer, and no account imports it', () => {
  const forbidden = /CONSUMER\.(CREATE|DURABLE|DELETE)|STREAM\.(CREATE|UPDATE|DELETE|PURGE|MSG\.DELETE)/;
  for (const identity of IDENTITIES.filter((one) => accountOf(one) !== CORE)) {
    for (const subject of permissionsFor(identity).publish.allow) expect(subject).not.toMatch(forbidden);
  }
  for (const [, { subject }] of imports) expect(subject).not.toMatch(forbidden);
});

test('accounts - everything enters NODES by the single export `>`', () => {
  const own = EXPORTS[CORE].filter(({ accounts }) => accounts.includes('NODES')).map(({ subject }) => subject);
  expect(own).toEqual(['>']);
});

test('accounts - no import has both a wildcard and another subject', () => {
  for (const [, { subject, to }] of imports) expect(to !== undefined && isWild(subject)).toBe(false);
});

test('accounts - each import names an export exactly, or only the export `>` matches it', () => {
  for (const [account, { kind, from, subject }] of imports) {
    const exact = EXPORTS[from].find((one) => one.kind === kind && one.subject === subject);
    if (exact) expect(exact.accounts).toContain(account);
    else expect(account).toBe('NODES');
  }
});

test('accounts - each subject that an identity outside the core may publish on is imported, or a replay', () => {
  for (const identity of IDENTITIES.filter((one) => accountOf(one) !== CORE && one.role !== 'bus-auth')) {
    const reached = IMPORTS[accountOf(identity)].map(({ subject, to }) => to ?? subject);
    for (const subject of permissionsFor(identity).publish.allow) {
      const parts = subject.split('.');
      const isReached = reached.some((pattern) => {
        const want = pattern.split('.');
        return want.every((token, at) => token === '>' || token === '*' || token === parts[at]);
      });
      expect([subject, isReached || subject.startsWith('bailiff.v1.replay.')]).toEqual([subject, true]);
    }
  }
});

test('accounts - an identity that may respond may publish nothing else, so that it cannot send itself a request', () => {
  const responding = IDENTITIES.filter((identity) => permissionsFor(identity).allowResponsesMs !== undefined);
  const inCore = responding.filter((identity) => accountOf(identity) === CORE);
  for (const identity of responding) {
    const { publish } = permissionsFor(identity);
    // bus-auth may send only requests to the servers, and its status: their responses reach no other import.
    const own = (subject: string) => isWatched(subject) || subject === ownStatus('bus-auth');
    const allowed = identity.role === 'bus-auth' ? publish.allow.filter((subject) => !own(subject)) : publish.allow;
    if (accountOf(identity) !== CORE) expect([userOf(identity), allowed]).toEqual([userOf(identity), []]);
  }
  expect(inCore.map(userOf)).toEqual(['siem-relay']);
});

test('accounts - only operators, the console, the log, and bus-auth by exact names, import requests that reach the system account', () => {
  const OTHERS = /^\$JS\.API\.(DIRECT\.GET|CONSUMER\.MSG\.NEXT)\./;
  const importing = ACCOUNTS.filter((account) =>
    IMPORTS[account].some(({ subject }) => /^(\$SYS|\$JS\.API)\./.test(subject) && !OTHERS.test(subject)),
  );
  expect(importing).toEqual(['OPERATORS', 'CONSOLE', 'EVIDENCE', 'AUTH']);
  expect(IMPORTS.AUTH.map(({ subject }) => subject)).toEqual([
    '$SYS.REQ.ACCOUNT.NODES.CONNZ',
    '$SYS.REQ.ACCOUNT.NODE_PUSH.CONNZ',
    '$SYS.REQ.SERVER.*.KICK',
    '$SYS.ACCOUNT.NODES.DISCONNECT',
    '$SYS.ACCOUNT.NODE_PUSH.DISCONNECT',
    '$SYS.SERVER.*.CLIENT.AUTH.ERR',
    '$KV.bailiff_services.bus-auth.*',
  ]);
  expect(EXPORTS[SYSTEM].flatMap(({ accounts }) => accounts)).toEqual(Array(6).fill('AUTH'));
});
