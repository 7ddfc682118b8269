/**
 * The credentials of a bus, as stored in `credentials.json`, and their rotation. Pure; random
 * values come from `Makers`.
 *
 * `prepare` puts a new secret before the current one in every client's file (clients try each in
 * turn) and leaves the server's user passwords unchanged. `finish` makes the server accept the new
 * one. Clients have an accepted secret at all times.
 */
import * as z from 'zod';
import { BUS_USERS } from './names.ts';

/** Newest first. */
const generations = z.array(z.string().min(1)).min(1).max(2);
/** PEM. */
const authority = z.strictObject({ certificate: z.string(), key: z.string() });
/** `hash`: bcrypt, of the password that the server accepts. */
const userCredential = z.strictObject({ passwords: generations, hash: z.string() });

export const credentialsSchema = z.strictObject({
  version: z.literal(1),
  createdAt: z.string(),
  /** Time of the last change at the server. */
  inForceSince: z.string(),
  /** `prepared`: clients have the next secrets, the server does not accept them yet. */
  stage: z.enum(['in-force', 'prepared']),
  namespace: z.string(),
  replicas: z.number().int(),
  /** `max_file_store` of each server; absent: the default. */
  maxFileBytes: z.number().int().optional(),
  dnsNames: z.array(z.string()),
  users: z.record(z.string(), userCredential),
  /** Seeds; the stage determines which is in force. */
  issuers: generations,
  xkeys: generations,
  routePassword: z.string(),
  redisPassword: z.string(),
  /** The next value while a rotation is prepared. */
  nextRoutePassword: z.string().optional(),
  nextRedisPassword: z.string().optional(),
  /** Users outside the core have accounts of their own. Absent in older files; `finish` sets it. */
  accounts: z.literal(true).optional(),
  /** Newest first. Clients trust all; the newest one signs the server certificate. */
  authorities: z.array(authority).min(1).max(2),
  server: authority,
});

export type Generations = z.infer<typeof generations>;
export type Authority = z.infer<typeof authority>;
export type Credentials = z.infer<typeof credentialsSchema>;

/** Generators of secrets; a parameter so that tests are fast and deterministic. */
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

/** The generation that the server accepts: the second while a rotation is prepared. */
export function inForce<T>(generations: readonly T[], stage: Credentials['stage']): T {
  const found = stage === 'prepared' ? generations[1] : generations[0];
  return (found ?? generations[0]) as T;
}

export interface InitOptions {
  namespace: string;
  replicas: number;
  maxFileBytes?: number | undefined;
  dnsNames: string[];
}

/** Credentials of a new bus. */
export async function init(options: InitOptions, make: Makers): Promise<Credentials> {
  const users: Credentials['users'] = {};
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

/** Users that this version has and the stored credentials lack; the servers need the new configuration. */
export async function withMissingUsers(from: Credentials, make: Makers): Promise<Credentials> {
  const missing = USERS.filter((user) => !Object.hasOwn(from.users, user));
  if (missing.length === 0) return from;
  const users = { ...from.users };
  for (const user of missing) {
    const password = make.password();
    users[user] = { passwords: [password], hash: await make.hash(password) };
  }
  return { ...from, users };
}

export interface RotationScope {
  /** Also a new CA. */
  authority: boolean;
  /** Also new auth callout keys, which servers accept only after a restart. */
  keys: boolean;
  /** Also a new route password; servers are reloaded in the first step too. */
  routes: boolean;
  /** Also a new Redis password; Redis accepts both between the steps. */
  redis: boolean;
}

/** First step of a rotation. */
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

/**
 * Second step: the server accepts the prepared secrets and gets a new certificate. Clients keep the
 * old secret after the new one until the next rotation.
 */
export async function finish(from: Credentials, make: Makers): Promise<Credentials> {
  const users: Credentials['users'] = {};
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

/** Reverts a prepared rotation. With `routes` or `redis`, the servers must be reloaded. */
export function abort(from: Credentials): Credentials {
  const drop = <T>(generations: T[]) => (generations.length > 1 ? generations.slice(1) : generations);
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
