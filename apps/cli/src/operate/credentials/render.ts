/**
 * Renders credentials: files for servers on a machine, Secrets for a cluster. Pure.
 *
 * A secrets file has one secret per line, newest first: clients try each in turn, bus-auth uses the
 * one that the server names.
 */
import {
  CORE,
  type Identity,
  type NatsUser,
  natsServerConf,
  natsUserFor,
  oneAccountPermissionsFor,
  type ServerConf,
} from '@bailiff/bus';
import { publicKeyOf } from '@bailiff/bus/auth';
import { stringify } from 'yaml';
import {
  BUS_USERS,
  NATS_CLIENT_PORT,
  NATS_CLUSTER_PORT,
  NATS_MONITOR_PORT,
  NATS_NAME_VARIABLE,
  NATS_STORE_DIR,
  NATS_TLS_DIR,
  routesOf,
  SECRETS,
  secretOfUser,
} from './names.ts';
import { type Credentials, type Generations, inForce } from './rotation.ts';

const ROUTE_USER = 'route';
const lines = (values: Generations) => `${values.join('\n')}\n`;

function userOf(credentials: Credentials, identity: Exclude<Identity, { node: string }>): NatsUser {
  const found = credentials.users[identity.role];
  if (!found) throw new Error(`credentials without ${identity.role}`);
  const user = natsUserFor(identity, found.hash);
  if (credentials.accounts || identity.role === 'bus-auth') return user;
  return { ...user, account: CORE, permissions: oneAccountPermissionsFor(identity) };
}

/** Users and auth callout of the server configuration. */
export const accessOf = (credentials: Credentials): Pick<ServerConf, 'users' | 'authCallout'> => ({
  users: BUS_USERS.map((role) => userOf(credentials, { role })),
  authCallout: {
    issuer: publicKeyOf('issuer', inForce(credentials.issuers, credentials.stage)),
    xkey: publicKeyOf('xkey', inForce(credentials.xkeys, credentials.stage)),
    service: userOf(credentials, { role: 'bus-auth' }),
  },
});

/** Certificate files of a server in a directory. */
export const tlsIn = (dir: string) => ({
  certFile: `${dir}/tls.crt`,
  keyFile: `${dir}/tls.key`,
  caFile: `${dir}/ca.crt`,
});

/** Server configuration of each replica in a cluster. */
export function clusterConf(credentials: Credentials): string {
  const { namespace, replicas, maxFileBytes, routePassword, nextRoutePassword } = credentials;
  const tls = tlsIn(NATS_TLS_DIR);
  return natsServerConf({
    host: '0.0.0.0',
    port: NATS_CLIENT_PORT,
    monitorPort: NATS_MONITOR_PORT,
    storeDir: NATS_STORE_DIR,
    jetstream: { maxFileBytes },
    serverName: { env: NATS_NAME_VARIABLE },
    ...accessOf(credentials),
    tls,
    ...(replicas > 1
      ? {
          cluster: {
            name: 'bailiff',
            port: NATS_CLUSTER_PORT,
            routes: routesOf(namespace, replicas),
            user: ROUTE_USER,
            password: routePassword,
            tls,
            passwordChanges: nextRoutePassword !== undefined,
          },
        }
      : {}),
  });
}

/** Passwords that Redis accepts: also the next one while a rotation is prepared. */
const redisPasswordsOf = ({ redisPassword, nextRedisPassword }: Credentials) =>
  lines(nextRedisPassword === undefined ? [redisPassword] : [nextRedisPassword, redisPassword]);
const caBundle = ({ authorities }: Credentials) => authorities.map(({ certificate }) => certificate).join('');
const passwordsOf = (credentials: Credentials, user: string) => lines(credentials.users[user]?.passwords ?? []);

/** Files by path, for one server on a machine; `dir` is their final directory. */
export function files(credentials: Credentials, dir: string): Record<string, string> {
  const conf = natsServerConf({
    host: '0.0.0.0',
    port: NATS_CLIENT_PORT,
    storeDir: `${dir}/jetstream`,
    ...accessOf(credentials),
    tls: tlsIn(dir),
  });
  return {
    'nats.conf': conf,
    'ca.crt': caBundle(credentials),
    'tls.crt': credentials.server.certificate,
    'tls.key': credentials.server.key,
    'issuer.seed': lines(credentials.issuers),
    'xkey.seed': lines(credentials.xkeys),
    'redis.password': lines([credentials.redisPassword]),
    'redis.passwords': redisPasswordsOf(credentials),
    ...Object.fromEntries(
      Object.keys(credentials.users).map((user) => [`users/${user}.password`, passwordsOf(credentials, user)]),
    ),
  };
}

/** Contents of each Secret. */
export function secrets(credentials: Credentials): Record<string, Record<string, string>> {
  const { server } = credentials;
  const ca = caBundle(credentials);
  return {
    [SECRETS.natsConf]: { 'nats.conf': clusterConf(credentials) },
    [SECRETS.natsTls]: { 'tls.crt': server.certificate, 'tls.key': server.key, 'ca.crt': ca },
    [SECRETS.busCa]: { 'ca.crt': ca },
    [SECRETS.busAuth]: {
      'issuer.seed': lines(credentials.issuers),
      'xkey.seed': lines(credentials.xkeys),
      password: passwordsOf(credentials, 'bus-auth'),
    },
    ...Object.fromEntries(BUS_USERS.map((user) => [secretOfUser(user), { password: passwordsOf(credentials, user) }])),
    [SECRETS.redis]: { password: credentials.redisPassword, passwords: redisPasswordsOf(credentials) },
  };
}

/** Of every Secret that this program writes. */
export const MANAGED_BY = { 'app.kubernetes.io/managed-by': 'bailiff-credentials' };

/** A Secret as an object of the API. */
export function secretObject(namespace: string, name: string, content: Readonly<Record<string, string>>) {
  return {
    apiVersion: 'v1',
    kind: 'Secret',
    metadata: {
      name,
      namespace,
      labels: { 'app.kubernetes.io/name': 'bailiff', ...MANAGED_BY },
    },
    type: 'Opaque',
    data: Object.fromEntries(Object.entries(content).map(([key, text]) => [key, Buffer.from(text).toString('base64')])),
  };
}

/** The Secrets as YAML documents. */
export function manifests(credentials: Credentials): string {
  return Object.entries(secrets(credentials))
    .map(([name, content]) => stringify(secretObject(credentials.namespace, name, content), { lineWidth: 0 }))
    .join('---\n');
}
