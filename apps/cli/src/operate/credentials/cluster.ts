/**
 * `bailiff credentials install` and `uninstall`: the Secrets of a bus, through the API server.
 *
 * The Secret of the state is created first, and decides between concurrent runs. Every other Secret
 * is derived from it. Existing passwords and keys stay, because a rotation changes them in steps.
 */
import { apiPath, type KubeApi, loadKube, nullOn } from '@bailiff/kube';
import { plural } from '@bailiff/response';
import { CliError } from '../../shared/errors.ts';
import type { CliIo } from '../../shared/io.ts';
import { Out } from '../../shared/session.ts';
import { SECRETS } from './names.ts';
import { MANAGED_BY, secretObject, secrets } from './render.ts';
import { type Credentials, type InitOptions, init, type Makers, withMissingUsers } from './rotation.ts';
import { makersOf } from './steps.ts';
import { parseState, STATE_FILE } from './store.ts';

const CERTIFICATES: readonly string[] = [SECRETS.natsTls, SECRETS.busCa];

export interface InstallOptions {
  /** The streams may be lost: see `requireSameKind`. */
  emptyBus?: boolean;
  /** False: another program issues them. */
  certificates: boolean;
  /** False: the Secret of Redis belongs to the operator. */
  redis: boolean;
}

interface Secret {
  metadata?: { labels?: Record<string, string>; annotations?: Record<string, string> };
  data?: Record<string, string>;
}

const isOurs = ({ metadata }: Secret) =>
  Object.entries(MANAGED_BY).every(([label, value]) => metadata?.labels?.[label] === value);

const collection = (namespace: string) => apiPath`/api/v1/namespaces/${namespace}/secrets`;
const pathOf = (namespace: string, name: string) => apiPath`/api/v1/namespaces/${namespace}/secrets/${name}`;

class Secrets {
  readonly #api: Pick<KubeApi, 'request'>;
  readonly #namespace: string;
  constructor(api: Pick<KubeApi, 'request'>, namespace: string) {
    this.#api = api;
    this.#namespace = namespace;
  }

  /** null if it does not exist. */
  read(name: string): Promise<Secret | null> {
    return nullOn('KUBE_NOT_FOUND', this.#api.request<Secret>({ path: pathOf(this.#namespace, name) }));
  }

  /** @returns false if it already exists */
  async create(name: string, content: Readonly<Record<string, string>>): Promise<boolean> {
    const body = secretObject(this.#namespace, name, content);
    const request = this.#api.request({ verb: 'POST', path: collection(this.#namespace), body });
    return (await nullOn('KUBE_ALREADY_EXISTS', request)) !== null;
  }

  async replace(name: string, content: Readonly<Record<string, string>>): Promise<void> {
    const { data } = secretObject(this.#namespace, name, content);
    await this.#api.request({ verb: 'PATCH', path: pathOf(this.#namespace, name), body: { data } });
  }

  /** @returns false if it did not exist */
  async remove(name: string): Promise<boolean> {
    const request = this.#api.request({ verb: 'DELETE', path: pathOf(this.#namespace, name) });
    return (await nullOn('KUBE_NOT_FOUND', request)) !== null;
  }
}

const stateContent = (state: Credentials) => ({ [STATE_FILE]: `${JSON.stringify(state, null, 2)}\n` });

function stateIn(secret: Secret): Credentials {
  const text = Buffer.from(secret.data?.[STATE_FILE] ?? '', 'base64').toString('utf8');
  return parseState(text, `Secret ${SECRETS.state}, ${STATE_FILE}`);
}

/** The stored state; a new one if there is none. */
async function stateOf(store: Secrets, options: InitOptions, make: Makers): Promise<Credentials> {
  const found = await store.read(SECRETS.state);
  if (found) return stateIn(found);
  // Without a state, `credentials init` created the existing Secrets. New ones would not match
  // them.
  if (await store.read(SECRETS.natsConf)) {
    throw new CliError('CLI_STATE', `the Secret ${SECRETS.natsConf} exists, and ${SECRETS.state} does not`, {
      remedy: `set credentials.strategy=existing, or create the Secret ${SECRETS.state} from your ${STATE_FILE}`,
    });
  }
  const made = await init(options, make);
  if (await store.create(SECRETS.state, stateContent(made))) return made;
  const other = await store.read(SECRETS.state);
  if (other) return stateIn(other);
  throw new CliError('CLI_STATE', `the Secret ${SECRETS.state} was deleted meanwhile`, { remedy: 'run it again' });
}

/**
 * The streams of a single server are unknown to a cluster, which deletes them when it starts, and
 * those of a cluster to a single server. Three of five servers keep theirs, but those that had two of their three
 * copies on the others elect no leader.
 */
function requireSameKind(before: number, after: number): void {
  if (after > 1 && after < before)
    throw new CliError('CLI_STATE', `the bus has ${before} servers: with ${after}, some streams would have no leader`, {
      remedy: `set nats.replicas=${before} again, or follow docs/operations.md#from-five-servers-to-three and set nats.emptyBus=true`,
    });
  if ((before === 1) === (after === 1)) return;
  throw new CliError('CLI_STATE', `the bus has ${plural(before, 'server')}: with ${after} it would lose every stream`, {
    remedy: `set nats.replicas=${before} again, or follow docs/operations.md#from-one-server-to-three and set nats.emptyBus=true`,
  });
}

/**
 * A rotation changes the servers' configuration. A state that was not stored afterwards would bring former passwords
 * back: of a thief, or such as no client has any more.
 */
function requireCurrent({ users }: Credentials, conf: Secret): void {
  const text = Buffer.from(conf.data?.['nats.conf'] ?? '', 'base64').toString('utf8');
  // A rotation changes all of them.
  if (Object.values(users).some(({ hash }) => text.includes(hash))) return;
  throw new CliError('CLI_STATE', `the passwords in ${SECRETS.natsConf} are not those of ${SECRETS.state}`, {
    remedy: `apply the Secrets of the last rotation, and store its ${STATE_FILE} in ${SECRETS.state}: docs/bus-credentials.md#changing-them`,
  });
}

/**
 * cert-manager leaves its Secret when its Certificate is deleted. Clients would get our authority, and the servers would
 * keep a certificate of another one.
 */
async function requireOwnCertificate(store: Secrets): Promise<void> {
  const annotations = (await store.read(SECRETS.natsTls))?.metadata?.annotations ?? {};
  if (!Object.keys(annotations).some((name) => name.startsWith('cert-manager.io/'))) return;
  throw new CliError(
    'CLI_STATE',
    `the Secret ${SECRETS.natsTls} is of cert-manager: no client would trust the servers`,
    {
      remedy: `set certificates.strategy=certManager, or existing if ${SECRETS.busCa} has its authority, or delete the Certificate ${SECRETS.natsTls}, then the Secrets ${CERTIFICATES.join(' and ')}`,
    },
  );
}

/** Names of created and of changed Secrets. Pure but for `api` and `make`. */
export async function install(
  api: Pick<KubeApi, 'request'>,
  options: InitOptions,
  { certificates, redis, emptyBus = false }: InstallOptions,
  make: Makers,
): Promise<{ created: string[]; changed: string[] }> {
  const store = new Secrets(api, options.namespace);
  if (certificates) await requireOwnCertificate(store);
  const stored = await stateOf(store, options, make);
  let state = await withMissingUsers(stored, make);
  const changed: string[] = [];
  const { replicas, maxFileBytes } = options;
  if (!emptyBus) requireSameKind(state.replicas, replicas);
  if (state !== stored || state.replicas !== replicas || state.maxFileBytes !== maxFileBytes) {
    state = { ...state, replicas, maxFileBytes };
    const conf = await store.read(SECRETS.natsConf);
    if (conf) {
      requireCurrent(stored, conf);
      await store.replace(SECRETS.natsConf, secrets(state)[SECRETS.natsConf] ?? {});
      changed.push(SECRETS.natsConf);
    }
    // Last, so that a run that is interrupted before is repeated.
    await store.replace(SECRETS.state, stateContent(state));
  }
  const created: string[] = [];
  for (const [name, content] of Object.entries(secrets(state))) {
    if (!certificates && CERTIFICATES.includes(name)) continue;
    if (!redis && name === SECRETS.redis) continue;
    if (await store.create(name, content)) created.push(name);
  }
  return { created, changed };
}

/** Deletes the Secrets that `install` created, and none that others own. @returns their names */
export async function uninstall(api: Pick<KubeApi, 'request'>, namespace: string): Promise<string[]> {
  const store = new Secrets(api, namespace);
  const found = await store.read(SECRETS.state);
  // Without a state, `install` created no Secret.
  if (!found) return [];
  const removed: string[] = [];
  // The state is last, so that an interrupted run can be repeated.
  for (const name of [...Object.keys(secrets(stateIn(found))), SECRETS.state]) {
    const secret = await store.read(name);
    if (secret && isOurs(secret) && (await store.remove(name))) removed.push(name);
  }
  return removed;
}

/** A signal ends the request that is under way. */
async function withApi<T>(
  { signal }: CliIo,
  kubeconfig: string | undefined,
  use: (api: Pick<KubeApi, 'request'>) => Promise<T>,
): Promise<T> {
  const client = loadKube({ ...(kubeconfig ? { kubeconfig } : {}), userAgent: 'bailiff-cli' });
  try {
    return await use({ request: (options) => client.request({ ...options, signal }) });
  } catch (error) {
    signal.throwIfAborted();
    throw error;
  } finally {
    client.close();
  }
}

export async function runInstall(
  io: CliIo,
  options: InitOptions,
  flags: InstallOptions & { kubeconfig?: string },
): Promise<void> {
  const { created, changed } = await withApi(io, flags.kubeconfig, (api) => install(api, options, flags, makersOf(io)));
  const out = new Out(io);
  if (created.length > 0) out.line(`created ${created.join(', ')}`);
  if (changed.length > 0) out.line(`changed ${changed.join(', ')}: restart the servers of the bus`);
  if (created.length + changed.length === 0) out.line('all Secrets exist');
}

export async function runUninstall(io: CliIo, namespace: string, kubeconfig: string | undefined): Promise<void> {
  const removed = await withApi(io, kubeconfig, (api) => uninstall(api, namespace));
  new Out(io).line(
    removed.length > 0 ? `deleted ${removed.join(', ')}` : `found no Secrets that \`credentials install\` created`,
  );
}
