/**
 * Finds Bailiff in the cluster of a kubeconfig: the Service of its bus, the login and the CA that the
 * user may read there, and a stream to one of its servers through the API server. Nothing is stored,
 * and no port of this machine listens.
 *
 * TLS verifies the name of the Service, so the API server and the node that forwards see ciphertext.
 */
import type { Duplex } from 'node:stream';
import { secretsIn } from '@bailiff/bus';
import {
  apiPath,
  type KubeClient,
  KubeError,
  type KubeList,
  type KubeObject,
  loadKube,
  nullOn,
  type Pod,
  type Service,
} from '@bailiff/kube';
import { EXIT } from '@bailiff/service';
import { CliError } from '../errors.ts';

/** Names of the chart. Only administrators of this namespace write what is trusted below. */
export const DEFAULT_NAMESPACE = 'bailiff-system';
const BUS = 'bailiff-nats';
/** Label of all objects of Bailiff. */
export const OURS = 'app.kubernetes.io/part-of=bailiff';
const OPERATOR_ROLE = 'bailiff-operator';
/** Secrets with the CA: that of the chart, or the certificate that cert-manager issued. */
const CA_SECRETS = ['bailiff-bus-ca', 'bailiff-nats-tls'] as const;

export interface ClusterChoice {
  /** Empty: KUBECONFIG or ~/.kube/config. */
  kubeconfig: string;
  /** Empty: the current one. */
  context: string;
  /** Null: the default one. */
  namespace: string | null;
}

export interface Installation {
  namespace: string;
  natsUrl: string;
  /** Newest first; empty if the caller has a password file. */
  passwords: readonly string[];
  /** Empty if the caller has a CA file. */
  ca: string;
  /** Null for a bus outside the cluster. */
  dial: ((signal: AbortSignal | undefined) => Promise<Duplex>) | null;
  /** Why the last stream could not be opened. */
  failure: () => unknown;
  client: KubeClient;
}

export interface Wanted {
  /** Its password is read; null if the caller has one. */
  user: string | null;
  ca: boolean;
  timeoutMs: number;
  signal: AbortSignal;
}

interface Secret {
  data?: Record<string, string>;
}

const rbacRemedy = (namespace: string) =>
  `an administrator can allow it: kubectl -n ${namespace} create rolebinding <name> --role ${OPERATOR_ROLE} --user <you>\n` +
  'or pass --nats-url with the credentials of the bus: see docs/install.md';

/** A refusal of the API server, which names verb, object and user. */
function refused(error: unknown, namespace: string): unknown {
  if (!(error instanceof KubeError) || error.code !== 'KUBE_FORBIDDEN') return error;
  return new CliError('CLI_CONTEXT', error.message, {
    cause: error,
    remedy: rbacRemedy(namespace),
    exitCode: EXIT.missingPrivilege,
  });
}

class Finder {
  readonly client: KubeClient;
  readonly #wanted: Wanted;

  constructor(client: KubeClient, wanted: Wanted) {
    this.client = client;
    this.#wanted = wanted;
  }

  get<T>(path: string, query: Record<string, string> = {}): Promise<T> {
    const { timeoutMs, signal } = this.#wanted;
    return this.client.request<T>({ path, query, timeoutMs, signal, attempts: 1 });
  }

  /**
   * The Service of the bus; null for a bus outside the cluster. Other namespaces are never searched:
   * tenants create Services and labels in theirs, and would get the login and choose the answers.
   */
  service(namespace: string): Promise<Service | null> {
    const path = apiPath`/api/v1/namespaces/${namespace}/services/${BUS}`;
    return nullOn('KUBE_NOT_FOUND', this.get<Service>(path));
  }

  /** The address of a bus outside the cluster. @throws CliError CLI_NOT_FOUND */
  async externalUrl(namespace: string): Promise<string> {
    const path = apiPath`/api/v1/namespaces/${namespace}/configmaps`;
    const { items } = await this.get<KubeList<KubeObject & { data?: Record<string, string> }>>(path, {
      labelSelector: OURS,
    });
    const url = items?.find(({ metadata }) => metadata.name.startsWith('bailiff-addresses'))?.data?.['natsUrl'];
    if (url) return url;
    throw new CliError('CLI_NOT_FOUND', `namespace ${namespace} has no Service ${BUS} and no addresses of a bus`, {
      remedy: 'select the namespace of Bailiff with --bailiff-namespace, or the cluster with --context',
      exitCode: EXIT.dependencyUnreachable,
    });
  }

  async secret(namespace: string, name: string, key: string): Promise<string> {
    const path = apiPath`/api/v1/namespaces/${namespace}/secrets/${name}`;
    const secret = await nullOn('KUBE_NOT_FOUND', this.get<Secret>(path));
    return Buffer.from(secret?.data?.[key] ?? '', 'base64').toString('utf8');
  }

  /** The first of these Secrets that has the key. @throws CliError CLI_CONTEXT */
  async firstSecret(namespace: string, names: readonly string[], key: string): Promise<string> {
    for (const name of names) {
      const value = await this.secret(namespace, name, key);
      if (value !== '') return value;
    }
    throw new CliError('CLI_CONTEXT', `no Secret ${names.join(', ')} with ${key} in namespace ${namespace}`, {
      remedy: 'Helm or `bailiff credentials` create it: see docs/bus-credentials.md',
    });
  }

  /** A stream to a ready server, another one each time. */
  async stream(namespace: string, service: Service, signal: AbortSignal | undefined): Promise<Duplex> {
    const { selector = {}, ports = [] } = service.spec ?? {};
    const labelSelector = Object.entries(selector)
      .map(([key, value]) => `${key}=${value}`)
      .join(',');
    const { items } = await this.get<KubeList<Pod>>(apiPath`/api/v1/namespaces/${namespace}/pods`, { labelSelector });
    const ready = (items ?? []).filter(isReady);
    const pod = ready[Math.floor(Math.random() * ready.length)];
    if (!pod) {
      throw new CliError('CLI_BUS', `no server of the bus is ready in namespace ${namespace}`, {
        remedy: `kubectl -n ${namespace} get pods -l ${labelSelector}`,
      });
    }
    const { timeoutMs } = this.#wanted;
    const port = portOf(pod, ports[0]?.targetPort ?? ports[0]?.port ?? 4222);
    return this.client.portForward({ namespace, pod: pod.metadata.name, port, timeoutMs, signal });
  }
}

const isReady = ({ metadata, status }: Pod) =>
  metadata.deletionTimestamp === undefined &&
  status?.conditions?.some(({ type, status: is }) => type === 'Ready' && is === 'True') === true;

function portOf(pod: Pod, target: number | string): number {
  if (typeof target === 'number') return target;
  const ports = pod.spec?.containers?.flatMap((container) => container.ports ?? []) ?? [];
  return ports.find(({ name }) => name === target)?.containerPort ?? 4222;
}

/** @throws CliError CLI_CONTEXT | CLI_NOT_FOUND | CLI_BUS; KubeError */
export async function findInstallation(choice: ClusterChoice, wanted: Wanted): Promise<Installation> {
  const { kubeconfig, context } = choice;
  const client = loadKube({
    ...(kubeconfig === '' ? {} : { kubeconfig }),
    ...(context === '' ? {} : { context }),
    userAgent: 'bailiff-cli',
  });
  const finder = new Finder(client, wanted);
  const namespace = choice.namespace ?? DEFAULT_NAMESPACE;
  let failure: unknown = null;
  try {
    const service = await finder.service(namespace);
    const external = service ? null : await finder.externalUrl(namespace);
    const { user } = wanted;
    const [password, ca] = await Promise.all([
      user === null ? '' : finder.firstSecret(namespace, [`bailiff-bus-${user}`], 'password'),
      wanted.ca ? finder.firstSecret(namespace, CA_SECRETS, 'ca.crt') : '',
    ]);
    const dial = async (signal: AbortSignal | undefined) => {
      try {
        return await finder.stream(namespace, service as Service, signal);
      } catch (error) {
        failure = refused(error, namespace);
        throw failure;
      }
    };
    return {
      namespace,
      ca,
      client,
      passwords: secretsIn(password),
      natsUrl: external ?? `tls://${BUS}.${namespace}.svc:${service?.spec?.ports?.[0]?.port ?? 4222}`,
      dial: external === null ? dial : null,
      failure: () => failure,
    };
  } catch (error) {
    client.close();
    wanted.signal.throwIfAborted();
    throw refused(error, namespace);
  }
}
