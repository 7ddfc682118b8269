/**
 * Names that the manifests in k8s and the credentials agree on: Secrets and their keys, where they are mounted, and the names under
 * which the servers of the bus find each other.
 */
import { FIXED_ROLES } from '@bailiff/bus';

export const DEFAULT_NAMESPACE = 'bailiff-system';

/** Secrets; every key is a file's name where they are mounted. */
export const SECRETS = {
  /** nats.conf */
  natsConf: 'bailiff-nats-conf',
  /** tls.crt, tls.key, ca.crt */
  natsTls: 'bailiff-nats-tls',
  /** ca.crt: for every client of the bus */
  busCa: 'bailiff-bus-ca',
  /** issuer.seed, xkey.seed, password */
  busAuth: 'bailiff-bus-auth',
  /** password */
  redis: 'bailiff-redis',
} as const;

/** Users with a password; bus-auth has a Secret that holds its keys too. */
export const BUS_USERS = FIXED_ROLES;
/** Secret of a user, with the key `password`. */
export const secretOfUser = (user: string) => (user === 'bus-auth' ? SECRETS.busAuth : `bailiff-bus-${user}`);

/** StatefulSet, and Service for clients. */
export const NATS_NAME = 'bailiff-nats';
/** Headless Service: the servers' own names. */
export const NATS_HEADLESS = 'bailiff-nats-headless';
export const NATS_CLIENT_PORT = 4222;
export const NATS_CLUSTER_PORT = 6222;
export const NATS_MONITOR_PORT = 8222;
/** Where the StatefulSet mounts the two Secrets and the volume. */
export const NATS_CONF_DIR = '/etc/nats';
export const NATS_TLS_DIR = '/etc/nats-tls';
export const NATS_STORE_DIR = '/data';
/** The variable that names a server: the pod's name, by the downward API. */
export const NATS_NAME_VARIABLE = 'POD_NAME';

/** Names that the certificate is for unless others are said. */
export function defaultDnsNames(namespace: string): string[] {
  const inCluster = (service: string) => [
    `${service}.${namespace}`,
    `${service}.${namespace}.svc`,
    `${service}.${namespace}.svc.cluster.local`,
  ];
  return [
    NATS_NAME,
    ...inCluster(NATS_NAME),
    ...inCluster(NATS_HEADLESS).map((name) => `*.${name}`),
    'localhost',
    '127.0.0.1',
  ];
}

/** Route listener of each replica. */
export function routesOf(namespace: string, replicas: number): string[] {
  return Array.from(
    { length: replicas },
    (_, index) => `${NATS_NAME}-${index}.${NATS_HEADLESS}.${namespace}.svc:${NATS_CLUSTER_PORT}`,
  );
}
