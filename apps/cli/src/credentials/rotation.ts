/**
 * The credentials of a bus as one value: what `credentials.json` holds, from which every other file and Secret is rendered. Pure but for
 * randomness, which is passed in.
 *
 * Rotation overlaps: `prepare` puts a new secret before the one in force in every client's file (clients try each in turn), and changes
 * nothing at the server; `finish` makes the server take the new one. At no moment does a client lack what the server wants.
 */
import { BUS_USERS } from './names.ts';

/** Newest first; at most two. */
export type Generations = readonly string[];

export interface UserCredential {
  passwords: Generations;
  /** bcrypt of the one that the server takes. */
  hash: string;
}

export interface Authority {
  /** PEM. */
  certificate: string;
  key: string;
}

export interface Credentials {
  version: 1;
  createdAt: string;
  /** When the server's side last changed. */
  inForceSince: string;
  /** prepared: clients have what comes next, the server does not take it yet. */
  stage: 'in-force' | 'prepared';
  namespace: string;
  replicas: number;
  dnsNames: readonly string[];
  users: Readonly<Record<string, UserCredential>>;
  /** Seeds; which is in force follows from the stage. */
  issuers: Generations;
  xkeys: Generations;
  routePassword: string;
  redisPassword: string;
  /** While a rotation of them is prepared: what comes next. */
  nextRoutePassword?: string | undefined;
  nextRedisPassword?: string | undefined;
  /** Users outside the core are in accounts of their own. Absent in files from before there were accounts: `finish` moves them. */
  accounts?: true | undefined;
  /** Newest first; clients trust all, the newest in force signs. */
  authorities: readonly Authority[];
  server: Authority;
}

/** What making secrets takes: given, so that tests are quick and the same each time. */
export interface Makers {
  password(): string;
  hash(password: string): Promise<string>;
  issuer(): string;
  xkey(): string;
  authority(): Promise<Authority>;
  server(authority: Authority, dnsNames: readonly string[]): Promise<Authority>;
  now(): string;
}

export const USERS = [...BUS_USERS, 'bus-auth'] as const;

/** The one that the server takes now: while something is prepared, what stands behind it. */
export function inForce<T>(generations: readonly T[], stage: Credentials['stage']): T {
  const found = stage === 'prepared' ? generations[1] : generations[0];
  return (found ?? generations[0]) as T;
}

export interface InitOptions {
  namespace: string;
  replicas: number;
  dnsNames: readonly string[];
}

/** Credentials of a new bus. */
export async function init(options: InitOptions, make: Makers): Promise<Credentials> {
  const users: Record<string, UserCredential> = {};
  for (const user of USERS) {
    const password = make.password();
    users[user] = { passwords: [password], hash: await make.hash(password) };
  }
  const authority = await make.authority();
  const now = make.now();
  return {
    version: 1,
    createdAt: now,
    inForceSince: now,
    stage: 'in-force',
    ...options,
    users,
    issuers: [make.issuer()],
    xkeys: [make.xkey()],
    routePassword: make.password(),
    redisPassword: make.password(),
    accounts: true,
    authorities: [authority],
    server: await make.server(authority, options.dnsNames),
  };
}

export interface RotationScope {
  /** A new CA too. */
  authority: boolean;
  /** New keys of auth callout too: a server takes those by a restart alone. */
  keys: boolean;
  /** A new password of the routes between servers too: they are reloaded in the first step as well. */
  routes: boolean;
  /** A new password of Redis too: it takes both between the steps. */
  redis: boolean;
}

/** First half of a rotation. */
export async function prepare(from: Credentials, scope: RotationScope, make: Makers): Promise<Credentials> {
  const next = (generations: Generations, made: string) => [made, inForce(generations, from.stage)];
  const keys = (generations: Generations, made: () => string) =>
    scope.keys ? next(generations, made()) : [inForce(generations, from.stage)];
  const users = Object.entries(from.users).map(
    ([name, user]) => [name, { ...user, passwords: next(user.passwords, make.password()) }] as const,
  );
  const [authority] = from.authorities as [Authority];
  return {
    ...from,
    stage: 'prepared',
    users: Object.fromEntries(users),
    issuers: keys(from.issuers, make.issuer),
    xkeys: keys(from.xkeys, make.xkey),
    authorities: scope.authority ? [await make.authority(), authority] : [authority],
    ...(scope.routes ? { nextRoutePassword: make.password() } : {}),
    ...(scope.redis ? { nextRedisPassword: make.password() } : {}),
  };
}

/** Second half: the server takes what was prepared, and has a new certificate. Clients keep the old behind the new till the next rotation. */
export async function finish(from: Credentials, make: Makers): Promise<Credentials> {
  const users: Record<string, UserCredential> = {};
  for (const [name, { passwords }] of Object.entries(from.users)) {
    users[name] = { passwords, hash: await make.hash(passwords[0] as string) };
  }
  const { nextRoutePassword, nextRedisPassword, ...rest } = from;
  return {
    ...rest,
    stage: 'in-force',
    inForceSince: make.now(),
    accounts: true,
    users,
    routePassword: nextRoutePassword ?? from.routePassword,
    redisPassword: nextRedisPassword ?? from.redisPassword,
    server: await make.server(from.authorities[0] as Authority, from.dnsNames),
  };
}

/** Takes a preparation back: what the server wanted never changed. */
export function abort(from: Credentials): Credentials {
  const drop = <T>(generations: readonly T[]) => (generations.length > 1 ? generations.slice(1) : generations);
  const users = Object.entries(from.users).map(
    ([name, user]) => [name, { ...user, passwords: drop(user.passwords) }] as const,
  );
  const { nextRoutePassword: _route, nextRedisPassword: _redis, ...rest } = from;
  return {
    ...rest,
    stage: 'in-force',
    users: Object.fromEntries(users),
    issuers: drop(from.issuers),
    xkeys: drop(from.xkeys),
    authorities: drop(from.authorities),
  };
}
