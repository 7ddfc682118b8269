import { newSeed } from '@bailiff/bus/auth';
import { KubeError } from '@bailiff/kube';
import { describe, expect, it } from 'vitest';
import { install, uninstall } from './cluster.ts';
import { defaultDnsNames, SECRETS } from './names.ts';
import { MANAGED_BY, secretObject, secrets } from './render.ts';
import { type Credentials, finish, type Makers, prepare } from './rotation.ts';
import { parseState, STATE_FILE } from './store.ts';

const NAMESPACE = 'bailiff-system';
const options = { namespace: NAMESPACE, replicas: 3, dnsNames: defaultDnsNames(NAMESPACE) };
const ALL = { certificates: true, redis: true };
const NOTHING_MORE = { authority: false, keys: false, routes: false, redis: false };

function makers(name: string): Makers {
  let made = 0;
  const next = (what: string) => `${what}-of-${name}-${++made}`;
  return {
    password: () => next('password'),
    hash: async (password) => `hash of ${password}`,
    issuer: () => newSeed('issuer'),
    xkey: () => newSeed('xkey'),
    authority: async () => ({ certificate: next('ca'), key: next('key') }),
    server: async () => ({ certificate: next('certificate'), key: next('key') }),
    now: () => new Date(0).toISOString(),
  };
}

/** Secrets of one namespace, by the rules of the API server that the code depends on. */
class Api {
  readonly secrets = new Map<string, Record<string, string>>();
  readonly calls: string[] = [];
  readonly ofOthers = new Set<string>();
  readonly ofCertManager = new Set<string>();
  async request<T>({ verb = 'GET', path, body }: { verb?: string; path: string; body?: unknown }): Promise<T> {
    const [, name] = new RegExp(`^/api/v1/namespaces/${NAMESPACE}/secrets(?:/(.+))?$`).exec(path) ?? [];
    const object = body as { metadata?: { name: string }; data: Record<string, string> };
    const key = name ?? object.metadata?.name ?? '';
    this.calls.push(`${verb} ${key}`);
    const found = this.secrets.get(key);
    if (verb === 'POST' && found) throw new KubeError('KUBE_ALREADY_EXISTS', key, { status: 409 });
    if (verb !== 'POST' && !found) throw new KubeError('KUBE_NOT_FOUND', key, { status: 404 });
    if (verb === 'POST') this.secrets.set(key, object.data);
    else if (verb === 'PATCH') this.secrets.set(key, { ...found, ...object.data });
    else if (verb === 'DELETE') this.secrets.delete(key);
    const labels = this.ofOthers.has(key) ? {} : MANAGED_BY;
    const annotations = this.ofCertManager.has(key) ? { 'cert-manager.io/certificate-name': key } : {};
    return { metadata: { labels, annotations }, data: this.secrets.get(key) } as T;
  }
  text(secret: string, key: string): string {
    return Buffer.from(this.secrets.get(secret)?.[key] ?? '', 'base64').toString('utf8');
  }
  state(): Credentials {
    return parseState(this.text(SECRETS.state, STATE_FILE), 'state');
  }
}

describe('install', () => {
  it('creates every Secret that pods mount, derived from one stored state', async () => {
    const api = new Api();
    const { created } = await install(api, options, ALL, makers('a'));
    const expected = secrets(api.state());
    expect(created.sort()).toEqual(Object.keys(expected).sort());
    for (const [name, content] of Object.entries(expected)) {
      for (const [key, text] of Object.entries(content)) expect(api.text(name, key), `${name} ${key}`).toBe(text);
    }
  });

  it('a second run changes nothing, and restores one that was deleted with the same content', async () => {
    const api = new Api();
    await install(api, options, ALL, makers('a'));
    const before = structuredClone(api.secrets);
    expect(await install(api, options, ALL, makers('b'))).toEqual({ created: [], changed: [] });
    api.secrets.delete('bailiff-bus-cli');
    expect((await install(api, options, ALL, makers('c'))).created).toEqual(['bailiff-bus-cli']);
    expect(api.secrets).toEqual(before);
  });

  it('a state from before a user existed gets that user, and the others keep their passwords', async () => {
    const api = new Api();
    await install(api, options, ALL, makers('a'));
    const { console: added, ...before } = api.state().users;
    expect(added?.passwords).toHaveLength(1);
    const text = `${JSON.stringify({ ...api.state(), users: before })}\n`;
    api.secrets.get(SECRETS.state)![STATE_FILE] = Buffer.from(text).toString('base64');
    api.secrets.delete('bailiff-bus-console');
    const { created, changed } = await install(api, options, ALL, makers('b'));
    expect([created, changed]).toEqual([['bailiff-bus-console'], [SECRETS.natsConf]]);
    const { console: next, ...after } = api.state().users;
    expect(after).toEqual(before);
    expect(next?.passwords).not.toEqual(added?.passwords);
    expect(api.text(SECRETS.natsConf, 'nats.conf')).toContain(next?.hash);
  });

  it('a certificate that cert-manager left - refused before anything is created; without it, or with its strategy, not', async () => {
    const api = new Api();
    api.secrets.set(SECRETS.natsTls, { 'tls.crt': 'b3RoZXI=' });
    api.ofCertManager.add(SECRETS.natsTls);
    await expect(install(api, options, ALL, makers('a'))).rejects.toMatchObject({
      code: 'CLI_STATE',
      remedy: expect.stringContaining('then the Secrets bailiff-nats-tls and bailiff-bus-ca'),
    });
    expect([...api.secrets.keys()]).toEqual([SECRETS.natsTls]);
    const { created } = await install(api, options, { ...ALL, certificates: false }, makers('a'));
    expect(created).not.toContain(SECRETS.busCa);
    api.secrets.delete(SECRETS.natsTls);
    api.ofCertManager.clear();
    expect((await install(api, options, ALL, makers('b'))).created).toEqual([SECRETS.natsTls, SECRETS.busCa]);
  });

  it('a Secret that a rotation changed stays', async () => {
    const api = new Api();
    await install(api, options, ALL, makers('a'));
    api.secrets.set('bailiff-bus-cli', { password: 'cm90YXRlZA==' });
    await install(api, options, ALL, makers('b'));
    expect(api.text('bailiff-bus-cli', 'password')).toBe('rotated');
  });

  /** What an operator applies after a rotation: every Secret but that of the state. */
  const rotated = async (api: Api, state: Credentials) => {
    const next = await finish(await prepare(state, NOTHING_MORE, makers('r1')), makers('r2'));
    for (const [name, content] of Object.entries(secrets(next)))
      api.secrets.set(name, secretObject(NAMESPACE, name, content).data);
    return next;
  };
  const LARGER = { ...options, maxFileBytes: 20 * 1024 ** 3 };

  it('a rotation whose state was not stored - the former passwords do not come back', async () => {
    const api = new Api();
    await install(api, options, ALL, makers('a'));
    const next = await rotated(api, api.state());
    const before = structuredClone(api.secrets);
    await expect(install(api, LARGER, ALL, makers('b'))).rejects.toMatchObject({
      code: 'CLI_STATE',
      remedy: expect.stringContaining('store its credentials.json in bailiff-credentials'),
    });
    expect(api.secrets).toEqual(before);
    // Without a change of the configuration, nothing comes back.
    expect((await install(api, options, ALL, makers('b'))).changed).toEqual([]);

    api.secrets.get(SECRETS.state)![STATE_FILE] = Buffer.from(JSON.stringify(next)).toString('base64');
    expect((await install(api, LARGER, ALL, makers('c'))).changed).toEqual([SECRETS.natsConf]);
    expect(api.text(SECRETS.natsConf, 'nats.conf')).toContain(next.users['cli']?.hash);
  });

  it('a run that ends before it has changed the configuration - is repeated by the next one', async () => {
    const api = new Api();
    await install(api, options, ALL, makers('a'));
    const broken = {
      request: <T>(request: Parameters<Api['request']>[0]) =>
        request.verb === 'PATCH' && request.path.endsWith(SECRETS.natsConf)
          ? Promise.reject(new KubeError('KUBE_UNREACHABLE', 'reset'))
          : api.request<T>(request),
    };
    await expect(install(broken, LARGER, ALL, makers('b'))).rejects.toThrow('reset');
    expect((await install(api, LARGER, ALL, makers('c'))).changed).toEqual([SECRETS.natsConf]);
    expect(api.text(SECRETS.natsConf, 'nats.conf')).toContain('max_file_store: 21474836480\n');
  });

  it('two runs at once - both use the state of the first', async () => {
    const api = new Api();
    await Promise.all(['a', 'b'].map((name) => install(api, options, ALL, makers(name))));
    const expected = secrets(api.state());
    for (const [name, content] of Object.entries(expected)) {
      for (const [key, text] of Object.entries(content)) expect(api.text(name, key), `${name} ${key}`).toBe(text);
    }
  });

  it('another number of servers changes their configuration and nothing else', async () => {
    const api = new Api();
    await install(api, options, ALL, makers('a'));
    expect(api.text(SECRETS.natsConf, 'nats.conf')).not.toContain('bailiff-nats-4.');
    const password = api.text('bailiff-bus-cli', 'password');
    const { created, changed } = await install(api, { ...options, replicas: 5 }, ALL, makers('b'));
    expect([created, changed]).toEqual([[], [SECRETS.natsConf]]);
    expect(api.text(SECRETS.natsConf, 'nats.conf')).toContain('bailiff-nats-4.');
    expect(api.text('bailiff-bus-cli', 'password')).toBe(password);
  });

  it.each([
    [1, 3],
    [1, 5],
    [3, 1],
  ])('from %i to %i servers - refused without a change, unless the bus may be empty', async (before, after) => {
    const api = new Api();
    await install(api, { ...options, replicas: before }, ALL, makers('a'));
    const stored = structuredClone(api.secrets);
    const change = (more = {}) => install(api, { ...options, replicas: after }, { ...ALL, ...more }, makers('b'));
    await expect(change()).rejects.toThrow(/would lose every stream/);
    expect(api.secrets).toEqual(stored);
    expect((await change({ emptyBus: true })).changed).toEqual([SECRETS.natsConf]);
  });

  it('from five to three servers - refused without a change, unless the bus may be empty; control: a restart with five', async () => {
    const api = new Api();
    await install(api, { ...options, replicas: 5 }, ALL, makers('a'));
    const stored = structuredClone(api.secrets);
    const change = (replicas: number, more = {}) =>
      install(api, { ...options, replicas }, { ...ALL, ...more }, makers('b'));
    await expect(change(3)).rejects.toThrow(/with 3, some streams would have no leader/);
    expect((await change(5)).changed).toEqual([]);
    expect(api.secrets).toEqual(stored);
    expect((await change(3, { emptyBus: true })).changed).toEqual([SECRETS.natsConf]);
  });

  it('another limit of the store changes their configuration', async () => {
    const api = new Api();
    await install(api, options, ALL, makers('a'));
    expect(api.text(SECRETS.natsConf, 'nats.conf')).toContain('max_file_store: 12884901888\n');
    const { changed } = await install(api, { ...options, maxFileBytes: 5 * 1024 ** 3 }, ALL, makers('b'));
    expect(changed).toEqual([SECRETS.natsConf]);
    expect(api.text(SECRETS.natsConf, 'nats.conf')).toContain('max_file_store: 5368709120\n');
  });

  it.each([
    [{ certificates: false, redis: true }, [SECRETS.natsTls, SECRETS.busCa]],
    [{ certificates: true, redis: false }, [SECRETS.redis]],
  ])('%o - leaves those Secrets to others', async (flags, absent) => {
    const api = new Api();
    await install(api, options, flags, makers('a'));
    for (const name of absent) expect(api.secrets.has(name)).toBe(false);
    expect(api.secrets.has('bailiff-bus-cli')).toBe(true);
  });

  it('Secrets of `credentials init` are not mixed with new ones', async () => {
    const api = new Api();
    api.secrets.set(SECRETS.natsConf, { 'nats.conf': '' });
    await expect(install(api, options, ALL, makers('a'))).rejects.toMatchObject({
      code: 'CLI_STATE',
      remedy: expect.stringContaining('credentials.strategy=existing'),
    });
    expect(api.secrets.size).toBe(1);
  });
});

describe('uninstall', () => {
  it('deletes what install created, the state last, and nothing of others', async () => {
    const api = new Api();
    await install(api, options, ALL, makers('a'));
    api.secrets.set('own', {});
    const removed = await uninstall(api, NAMESPACE);
    expect([...api.secrets.keys()]).toEqual(['own']);
    expect(removed.at(-1)).toBe(SECRETS.state);
    expect(await uninstall(api, NAMESPACE)).toEqual([]);
  });

  it('a Secret that another program created under one of the names stays', async () => {
    const api = new Api();
    api.ofOthers.add(SECRETS.redis);
    api.secrets.set(SECRETS.redis, { password: '' });
    await install(api, options, { certificates: true, redis: false }, makers('a'));
    await uninstall(api, NAMESPACE);
    expect([...api.secrets.keys()]).toEqual([SECRETS.redis]);
  });

  it('without a state, Secrets are not its own', async () => {
    const api = new Api();
    api.secrets.set(SECRETS.natsConf, { 'nats.conf': '' });
    expect(await uninstall(api, NAMESPACE)).toEqual([]);
    expect(api.secrets.size).toBe(1);
  });
});
