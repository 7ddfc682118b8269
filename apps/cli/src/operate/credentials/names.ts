/**
 * Names that credentials and the manifests in k8s share: Secrets and their keys, mount paths, and
 * the servers' DNS names.
 */
import { FIXED_ROLES } from '@bailiff/bus';

export const DEFAULT_NAMESPACE = 'bailiff-system';

/** Secrets. Their keys are file names at the mount path. */
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
  /** credentials.json, if `credentials install` created the Secrets */
  state: 'bailiff-credentials',
} as const;

/** Users with a password. The Secret of bus-auth also contains its keys. */
export const BUS_USERS = FIXED_ROLES;
/** The Secret of a user, with the key `password`. */
export const secretOfUser = (user: string) => (user === 'bus-auth' ? SECRETS.busAuth : `bailiff-bus-${user}`);

/** StatefulSet, and the Service for clients. */
export const NATS_NAME = 'bailiff-nats';
/** Headless Service with the servers' own names. */
export const NATS_HEADLESS = 'bailiff-nats-headless';
export const NATS_CLIENT_PORT = 4222;
export const NATS_CLUSTER_PORT = 6222;
export const NATS_MONITOR_PORT = 8222;
/** Mount paths of bailiff-nats-conf, of bailiff-nats-tls and of the volume. */
export const NATS_CONF_DIR = '/etc/nats';
export const NATS_TLS_DIR = '/etc/nats-tls';
export const NATS_STORE_DIR = '/data';
/** Variable with the server's name: the pod name from the downward API. */
export const NATS_NAME_VARIABLE = 'POD_NAME';

/** Default names of the server certificate. */
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
