/**
 * Implementation of `bailiff credentials`: directory, manifests, and instructions for the next
 * step.
 */
import { randomBytes, X509Certificate } from 'node:crypto';
import { open } from 'node:fs/promises';
import { newSeed, publicKeyOf } from '@bailiff/bus/auth';
import bcrypt from 'bcryptjs';
import { CliError } from '../../shared/errors.ts';
import type { CliIo } from '../../shared/io.ts';
import { Out } from '../../shared/session.ts';
import { SECRETS, secretOfUser } from './names.ts';
import { makeAuthority, makeServer } from './openssl.ts';
import { manifests } from './render.ts';
import {
  abort,
  type Credentials,
  finish,
  type InitOptions,
  inForce,
  init,
  type Makers,
  prepare,
  type RotationScope,
  withMissingUsers,
} from './rotation.ts';
import { load, refuseExisting, save } from './store.ts';

/**
 * The lowest of bcrypt: passwords have 256 random bits, so a higher cost adds no security. The server
 * pays it for every login, also with a wrong password: 1.4 ms of CPU, and 4.6 ms with a cost of 6.
 */
const BCRYPT_COST = 4;
const DAY_MS = 86_400_000;
/** Certificates that expire within this many days are highlighted. */
const SOON_DAYS = 30;

/** nats-server recognises bcrypt only by `$2a$`; the algorithm equals that of `$2b$`. */
async function bcryptHash(password: string): Promise<string> {
  const salt = (await bcrypt.genSalt(BCRYPT_COST)).replace(/^\$2b\$/, '$2a$');
  return bcrypt.hash(password, salt);
}

export const makersOf = (io: CliIo): Makers => ({
  password: () => randomBytes(32).toString('base64url'),
  hash: bcryptHash,
  issuer: () => newSeed('issuer'),
  xkey: () => newSeed('xkey'),
  authority: () => makeAuthority(),
  server: (authority, names) => makeServer(authority, names),
  now: () => new Date(io.nowMs()).toISOString(),
});

export interface OutputTarget {
  out: string;
  /** A file, or true for stdout. */
  kubernetes?: string | true;
}

async function writeSecret(file: string, text: string): Promise<void> {
  const handle = await open(file, 'w', 0o600);
  try {
    await handle.chmod(0o600);
    await handle.writeFile(text);
  } finally {
    await handle.close();
  }
}

const OTHERS = `with cert-manager, first remove ${SECRETS.natsTls} and ${SECRETS.busCa} from it, and with a Redis of your own ${SECRETS.redis}`;

async function write(io: CliIo, credentials: Credentials, where: OutputTarget): Promise<void> {
  const out = new Out(io);
  const written = await save(where.out, credentials);
  out.note(
    `wrote ${written.length} files to ${where.out}, readable only by you: store credentials.json safely, it contains all secrets`,
  );
  if (where.kubernetes === undefined) return;
  const text = manifests(credentials);
  if (where.kubernetes === true) io.stdout.write(text);
  else {
    await writeSecret(where.kubernetes, text);
    out.note(
      `wrote Secrets for namespace ${credentials.namespace} to ${where.kubernetes}: kubectl apply -f ${where.kubernetes}`,
      OTHERS,
    );
  }
}

export async function runInit(io: CliIo, options: InitOptions, where: OutputTarget): Promise<void> {
  await refuseExisting(where.out);
  await write(io, await init(options, makersOf(io)), where);
}

export async function runRender(io: CliIo, where: OutputTarget): Promise<void> {
  await write(io, await withMissingUsers(await load(where.out), makersOf(io)), where);
}

export interface RotateOptions {
  scope: RotationScope;
  step: 'prepare' | 'finish' | 'abort';
}

/** The chart keeps a copy, with which an upgrade and the next rotation begin. */
const STORE_STATE =
  'With Helm: also store credentials.json in the Secret bailiff-credentials (docs/bus-credentials.md, "Changing them").';
const NEXT: Readonly<Record<RotateOptions['step'], string>> = {
  prepare: [
    'Prepared. Client files contain the new password, then the old one; the servers still accept the old one.',
    'Next: apply the Secrets (or copy the files), wait until every pod has them (2 minutes), then',
    '      bailiff credentials rotate --finish',
  ].join('\n'),
  finish: [
    'Next: apply the Secrets (or copy the files), wait 2 minutes, then reload each server:',
    '      nats-server --signal reload (SIGHUP), in a cluster one after the other',
    'The reload disconnects clients. They reconnect automatically, collectors within five seconds; nothing is lost.',
  ].join('\n'),
  abort: 'Reverted: apply the Secrets (or copy the files) again.',
};

/** Additional instructions for routes, the authority and Redis. */
const ROUTES_FIRST =
  'Routes: when the pods have the Secrets, also reload each server, all of them before --finish. From then on they accept either password.';
const AUTHORITY_FIRST =
  'Several servers: when the pods have the Secrets, also reload each one, before --finish. From then on they trust both authorities, and so each other.';
const REDIS_FIRST = [
  'Redis: when the pod has the Secret, let the server accept both passwords:',
  '      kubectl -n NAMESPACE exec bailiff-valkey-0 -- sh /etc/valkey/passwords.sh',
].join('\n');
const REDIS_LAST = [
  'Redis: restart the responder, which then uses the new password, and let the server accept only this one:',
  '      kubectl -n NAMESPACE rollout restart deployment/bailiff-responder',
  '      kubectl -n NAMESPACE exec bailiff-valkey-0 -- sh /etc/valkey/passwords.sh',
].join('\n');

/** For credentials that predate accounts. */
const ACCOUNTS_FIRST = [
  'Prepared. Client files contain the new password, then the old one; the servers still accept the old one.',
  'These credentials predate accounts (docs/bus-credentials.md, "From one account to several"). Next:',
  '  1. apply the Secrets (or copy the files) and wait 2 minutes',
  '  2. reload each server, which creates the accounts',
  '  3. upgrade Bailiff',
  '  4. set the JetStream API prefix of each SIEM connector to BUS (docs/bus-credentials.md)',
  '  5. bailiff credentials rotate --finish moves cli, reader and siem-reader to their accounts. Until then, use the previous version of bailiff',
];

/** nats-server does not reload a changed auth_callout. */
const RESTART =
  'The auth callout keys changed: restart each server instead (kubectl rollout restart), one after the other.';

export async function runRotate(io: CliIo, options: RotateOptions, where: OutputTarget): Promise<void> {
  const credentials = await withMissingUsers(await load(where.out), makersOf(io));
  const prepared = credentials.stage === 'prepared';
  if (options.step === 'prepare' && prepared) {
    throw new CliError('CLI_STATE', 'a rotation is already prepared', {
      remedy:
        'continue with bailiff credentials rotate --finish, or revert with --abort; if the step was interrupted, bailiff credentials render writes its files and Secrets again',
    });
  }
  if (options.step !== 'prepare' && !prepared) {
    throw new CliError('CLI_STATE', 'no rotation is prepared', {
      remedy:
        'start with bailiff credentials rotate; if a step was interrupted, bailiff credentials render writes its files and Secrets again',
    });
  }
  const make = makersOf(io);
  const steps = {
    prepare: () => prepare(credentials, options.scope, make),
    finish: () => finish(credentials, make),
    abort: async () => abort(credentials),
  };
  const next = await steps[options.step]();
  await write(io, next, where);
  const out = new Out(io);
  const moves = options.step === 'prepare' && !credentials.accounts;
  out.note(...(moves ? ACCOUNTS_FIRST : NEXT[options.step].split('\n')), STORE_STATE);
  const inNamespace = (text: string) => out.note(...text.replaceAll('NAMESPACE', next.namespace).split('\n'));
  if (options.step !== 'finish') {
    // After an abort, servers must forget the next password.
    const { nextRoutePassword, nextRedisPassword } = options.step === 'abort' ? credentials : next;
    if (nextRoutePassword !== undefined)
      out.note(options.step === 'abort' ? 'Routes: reload each server.' : ROUTES_FIRST);
    if (options.step === 'prepare' && options.scope.authority && next.replicas > 1) out.note(AUTHORITY_FIRST);
    if (nextRedisPassword !== undefined) inNamespace(REDIS_FIRST);
  } else if (credentials.nextRedisPassword !== undefined) inNamespace(REDIS_LAST);
  if (options.step === 'finish' && next.issuers.length > 1) out.note(RESTART);
}

/** Facts about credentials without secrets. */
export function summary(credentials: Credentials, nowMs: number) {
  const { stage, issuers, xkeys, authorities, server } = credentials;
  const endOf = (certificate: string) => {
    const { validTo, fingerprint256 } = new X509Certificate(certificate);
    const ends = Date.parse(validTo);
    return { ends: new Date(ends).toISOString(), daysLeft: Math.floor((ends - nowMs) / DAY_MS), fingerprint256 };
  };
  return {
    stage,
    createdAt: credentials.createdAt,
    inForceSince: credentials.inForceSince,
    namespace: credentials.namespace,
    replicas: credentials.replicas,
    accounts: credentials.accounts ?? false,
    issuer: publicKeyOf('issuer', inForce(issuers, stage)),
    xkey: publicKeyOf('xkey', inForce(xkeys, stage)),
    server: { ...endOf(server.certificate), dnsNames: credentials.dnsNames },
    authorities: authorities.map(({ certificate }) => endOf(certificate)),
    users: Object.entries(credentials.users).map(([user, { passwords }]) => ({
      user,
      secret: secretOfUser(user),
      passwords: passwords.length,
    })),
  };
}

export async function runShow(io: CliIo, options: { out: string; json: boolean }): Promise<void> {
  const shown = summary(await load(options.out), io.nowMs());
  const out = new Out(io);
  if (options.json) return out.json(shown);
  const until = ({ ends, daysLeft }: { ends: string; daysLeft: number }) =>
    `${ends.slice(0, 10)}, in ${daysLeft} days${daysLeft < SOON_DAYS ? ': rotate' : ''}`;
  const stage = shown.stage === 'prepared' ? 'a rotation is prepared: rotate --finish, or --abort' : 'in force';
  const facts: [string, string][] = [
    ['stage', stage],
    ['in force since', shown.inForceSince],
    ['namespace', `${shown.namespace}, ${shown.replicas} servers`],
    ['accounts', shown.accounts ? 'by identity' : 'one for all users; rotate and rotate --finish separate them'],
    ['issuer', shown.issuer],
    ['xkey', shown.xkey],
    ['certificate', `until ${until(shown.server)}`],
    ['', `for ${shown.server.dnsNames.join(', ')}`],
    ...shown.authorities.map((one, index): [string, string] => [
      index === 0 ? 'CA' : 'previous CA',
      `until ${until(one)}`,
    ]),
  ];
  out.lines(facts.map(([name, value]) => `${name.padEnd(15)} ${value}`));
  out.line();
  const columns = [{ title: 'USER' }, { title: 'SECRET' }, { title: 'PASSWORDS' }];
  out.rows(columns, shown.users, ({ user, secret, passwords }) => [
    user,
    secret,
    passwords === 1 ? '1' : '2: next and current',
  ]);
}
