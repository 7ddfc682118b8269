/**
 * bus-auth between a real nats-server with auth callout and the API stand-in, with the rights from
 * its manifests. There are collector pods on two nodes; the rig requests their tokens as a kubelet
 * does.
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { type Bus, type BusOptions, connectBus, ensureTopology, type NodeRole, userOf } from '@bailiff/bus';
import { newSeed } from '@bailiff/bus/auth';
import { type StartNatsOptions, startNats, type TestNats, testCallout, testUsers } from '@bailiff/bus/testing';
import type { KubeClient } from '@bailiff/kube';
import { requestToken } from '@bailiff/kube/testing';
import type { AccessRule, ApiServerOptions } from '@bailiff/lab/apiserver';
import { start } from '../../../apps/bus-auth/src/bus-auth.ts';
import { configSchema } from '../../../apps/bus-auth/src/config.ts';
import { type KubeHarness, podObject, startKube } from '../../support/kube.ts';
import { BUS_AUTH_PATHS, BUS_AUTH_RULES } from '../../support/kube-rules.ts';
import { type RunningService, Services } from '../../support/service.ts';

export const NAMESPACE = 'bailiff-system';
export const ACCOUNT = 'bailiff-collector';
export const NODES = ['node-a', 'node-b.example'] as const;
export type NodeName = (typeof NODES)[number];

/** Lines by which the servers list connections to bus-auth, for tests that flood the bus on purpose. */
export const CONNECTION_LISTS = /^.*\{ service: (\{ account: "\$SYS", subject: )?"\$SYS\.REQ\.ACCOUNT.*$/gm;

const RIGHTS: AccessRule[] = BUS_AUTH_RULES.map(({ apiGroups, resources, verbs }) => ({
  apiGroups: [...apiGroups],
  resources: [...resources],
  verbs: [...verbs],
}));

const PATHS: AccessRule[] = BUS_AUTH_PATHS.map(({ nonResourceURLs, verbs }) => ({
  nonResourceURLs: [...nonResourceURLs],
  resources: [],
  verbs: [...verbs],
}));

export interface TokenWish {
  namespace?: string;
  account?: string;
  /** null: not bound to a pod. */
  pod?: string | null;
  audiences?: string[];
  seconds?: number;
}

export class AuthRig implements AsyncDisposable {
  readonly kube: KubeHarness;
  readonly nats: TestNats;
  readonly directory: string;
  readonly #client: KubeClient;
  readonly #services = new Services();
  readonly #buses = new Set<Bus>();
  #files = 0;

  private constructor(kube: KubeHarness, nats: TestNats, directory: string) {
    this.kube = kube;
    this.nats = nats;
    this.directory = directory;
    this.#client = kube.client({ user: 'admin' });
  }

  /** `keys` false: a cluster that does not give its public keys to bus-auth. */
  static async start(
    options: { api?: Partial<ApiServerOptions>; nats?: StartNatsOptions; keys?: boolean } = {},
  ): Promise<AuthRig> {
    const directory = mkdtempSync(path.join(tmpdir(), 'bailiff-bus-auth-'));
    const [issuer, xkey] = [newSeed('issuer'), newSeed('xkey')];
    const kube = await startKube({
      minTokenSeconds: 1,
      tokens: [
        { user: 'admin', token: 'token-admin', groups: ['system:masters'] },
        { user: 'bus-auth', token: 'token-bus-auth', allow: options.keys === false ? RIGHTS : [...RIGHTS, ...PATHS] },
        { user: 'no-rights', token: 'token-no-rights', allow: [] },
      ],
      ...options.api,
    });
    const nats = await startNats({ users: testUsers([]), authCallout: testCallout(issuer, xkey), ...options.nats });
    const rig = new AuthRig(kube, nats, directory);
    rig.write('issuer.seed', issuer);
    rig.write('xkey.seed', xkey);
    rig.write('bus-auth.password', 'password-of-bus-auth');
    const { api } = kube.server;
    for (const name of [NAMESPACE, 'elsewhere']) {
      api.create('namespaces', { metadata: { name } });
      for (const account of [ACCOUNT, 'other']) {
        api.create('serviceaccounts', { metadata: { name: account, namespace: name } });
      }
    }
    for (const name of NODES) api.create('nodes', { metadata: { name } });
    for (const node of NODES) rig.pod(`collector-${node}`, node);
    return rig;
  }

  /** A secret in a file. */
  write(name: string, text: string): string {
    const file = path.join(this.directory, name);
    writeFileSync(file, `${text}\n`, { mode: 0o600 });
    return file;
  }

  pod(name: string, nodeName: string, more: { namespace?: string; account?: string } = {}): void {
    const { namespace = NAMESPACE, account: serviceAccountName = ACCOUNT } = more;
    const object = podObject(name, { metadata: { namespace }, spec: { nodeName, serviceAccountName } });
    this.kube.server.api.create('pods', object);
  }

  /** A token as a kubelet requests it; default: of the collector on node-a. */
  async token(wish: TokenWish = {}): Promise<string> {
    const { namespace = NAMESPACE, account: name = ACCOUNT, pod = 'collector-node-a', audiences = ['bailiff'] } = wish;
    const bound = pod === null ? null : this.kube.server.api.get('pods', { namespace, name: pod }).metadata;
    const { token } = await requestToken(
      this.#client,
      { namespace, name },
      {
        audiences,
        ...(wish.seconds === undefined ? {} : { expirationSeconds: wish.seconds }),
        ...(bound ? { pod: { name: bound.name, uid: bound.uid } } : {}),
      },
    );
    return token;
  }

  tokenOf(node: NodeName, wish: TokenWish = {}): Promise<string> {
    return this.token({ pod: `collector-${node}`, ...wish });
  }

  /** Options of a collector's connection that logs in by a token in a file. */
  async collector(
    node: NodeName,
    wish: TokenWish = {},
    role: NodeRole = 'collector',
  ): Promise<BusOptions & { tokenFile: string }> {
    this.#files += 1;
    const tokenFile = this.write(`token-${this.#files}`, await this.tokenOf(node, wish));
    const user = userOf({ role, node });
    return { servers: this.nats.url, user, tokenFile, name: `test ${user}` };
  }

  /** Connects; the rig closes the connection. */
  async connect(options: BusOptions): Promise<Bus> {
    const bus = await connectBus(options);
    this.#buses.add(bus);
    return bus;
  }

  /** Logs in with these credentials. @returns `in`, or the error's code */
  async login(user: string, password: string, more: Partial<BusOptions> = {}): Promise<string> {
    const options = { servers: this.nats.url, user, password, name: 'login', timeoutMs: 8_000 };
    try {
      const bus = await connectBus({ ...options, ...more });
      await bus.close();
      return 'in';
    } catch (error) {
      return (error as { code: string }).code;
    }
  }

  async topology(): Promise<Bus> {
    const admin = await this.nats.connect('admin');
    await ensureTopology(admin);
    return admin;
  }

  flags(more: readonly string[] = []): string[] {
    const file = (name: string) => path.join(this.directory, name);
    return [
      ...['--nats-url', this.nats.url, '--nats-password-file', file('bus-auth.password')],
      ...['--issuer-seed-file', file('issuer.seed'), '--xkey-seed-file', file('xkey.seed')],
      ...['--kubeconfig', this.kube.server.kubeconfigPath('bus-auth'), '--metrics-address', '127.0.0.1:0', ...more],
    ];
  }

  /**
   * Runs a replica within this process; resolves when it is ready. Tests log in more often than a
   * pod's share allows.
   */
  async busAuth(flags: readonly string[] = [], until: 'ready' | 'started' = 'ready'): Promise<RunningService> {
    const share = flags.includes('--logins-per-minute') ? [] : ['--logins-per-minute', '100000'];
    const argv = this.flags([...share, ...flags]);
    const busAuth = this.#services.begin({ name: 'bus-auth', argv, schema: configSchema, start });
    await busAuth.until(until);
    return busAuth;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all([...this.#buses].map((bus) => bus.close()));
    await this.#services[Symbol.asyncDispose]();
    this.#client.close();
    await this.nats.stop();
    await this.kube[Symbol.asyncDispose]();
    rmSync(this.directory, { recursive: true, force: true });
  }
}
