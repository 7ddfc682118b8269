/**
 * `bailiff` and `kubectl bailiff` against a cluster: the installation by kubeconfig and context, the
 * login by the user's rights, the bus through the API server's port-forward, by TLS.
 */

import { execFile } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { type AddressInfo, createServer } from 'node:net';
import path from 'node:path';
import { promisify } from 'node:util';
import { ensureTopology } from '@bailiff/bus';
import { startNats, type TestNats, testUsers } from '@bailiff/bus/testing';
import type { AccessRule } from '@bailiff/lab/apiserver';
import { temporaryDirectory } from '@bailiff/service/testing';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parse, parseAllDocuments, stringify } from 'yaml';
import { makeAuthority, makeServer } from '../../apps/cli/src/operate/credentials/openssl.ts';
import { runCli } from '../../apps/cli/src/testing.ts';
import { type KubeHarness, podRuns, reportPod, startKube } from '../support/kube.ts';

const NAMESPACE = 'bailiff-system';
const directory = temporaryDirectory();
const file = (name: string) => path.join(directory, name);
const tls = { certFile: file('tls.crt'), keyFile: file('tls.key'), caFile: file('ca.crt') };

/** The role that the chart creates. */
const OPERATOR = parseAllDocuments(readFileSync('k8s/base/operator-role.yaml', 'utf8'))
  .map((document) => document.toJS() as { rules: AccessRule[] })
  .flatMap(({ rules }) => rules)
  .map((rule) => ({ ...rule, namespace: NAMESPACE }));
const without = (resource: string, verb?: string): AccessRule[] =>
  OPERATOR.flatMap((rule) => {
    if (!rule.resources.includes(resource)) return [rule];
    return verb === undefined ? [] : [{ ...rule, verbs: rule.verbs.filter((one) => one !== verb) }];
  });
const USERS: Readonly<Record<string, AccessRule[] | undefined>> = {
  admin: undefined,
  alice: OPERATOR,
  'no-login': without('secrets'),
  'no-forward': without('pods/portforward'),
  'no-create': without('pods/portforward', 'create'),
  'no-service': without('services'),
  stranger: [],
};

let kube: KubeHarness;
let nats: TestNats;
/** Nothing listens in the pod. */
let refuses = false;
/** Set: the pod accepts connections here, and sends nothing. */
let silentPort: number | null = null;
const base64 = (text: string) => Buffer.from(text).toString('base64');

/** What the chart creates, in a namespace. */
function install(server: KubeHarness['server'], namespace: string, ca: string, password: string): void {
  const labels = { 'app.kubernetes.io/part-of': 'bailiff' };
  const { api } = server;
  const at = (name: string) => ({ name, namespace, labels });
  const selector = { 'app.kubernetes.io/component': 'nats' };
  const ports = [{ name: 'nats', port: 4222, targetPort: 'nats' }];
  api.create('namespaces', { metadata: { name: namespace } });
  api.create('services', { metadata: at('bailiff-nats'), spec: { selector, ports } });
  api.create('secrets', { metadata: at('bailiff-bus-cli'), data: { password: base64(`${password}\n`) } });
  api.create('secrets', { metadata: at('bailiff-bus-ca'), data: { 'ca.crt': base64(ca) } });
  const name = 'bailiff-nats-0';
  const container = { name: 'nats', image: 'nats', ports: [{ name: 'nats', containerPort: 4222 }] };
  const metadata = { ...at(name), labels: { ...labels, ...selector } };
  api.create('pods', { metadata, spec: { nodeName: 'node-1', containers: [container] } });
  reportPod(api, { namespace, name }, podRuns());
}

let authority: string;
const harness = () =>
  startKube({
    tokens: Object.entries(USERS).map(([user, allow]) => ({
      user,
      token: `token-${user}`,
      ...(allow ? { allow } : {}),
    })),
    logOfPod: ({ name }) => `{"msg":"log of ${name}"}\n{"msg":"refused","password":"hunter22"}\n`,
    portOfPod: (_pod, port) => ({
      host: '127.0.0.1',
      port: refuses ? 1 : (silentPort ?? (port === 4222 ? nats.port : port)),
    }),
  });

beforeAll(async () => {
  const made = await makeAuthority();
  authority = made.certificate;
  const server = await makeServer(made, [`bailiff-nats.${NAMESPACE}.svc`, 'bailiff-nats.tenant.svc', 'localhost']);
  writeFileSync(tls.caFile, authority);
  writeFileSync(tls.certFile, server.certificate);
  writeFileSync(tls.keyFile, server.key, { mode: 0o600 });
  nats = await startNats({ tls, users: testUsers(['node-a']) });
  await ensureTopology(await nats.connect('admin', { tls: { caFile: tls.caFile } }));
  kube = await harness();
  install(kube.server, NAMESPACE, authority, 'password-of-cli');
  install(kube.server, 'elsewhere', authority, 'password-of-cli');
});
afterAll(async () => {
  await kube?.[Symbol.asyncDispose]();
  await nats?.stop();
});

const as = (user: string, ...args: string[]) =>
  runCli([...args, '--timeout', '10s'], {
    asPlugin: true,
    env: { KUBECONFIG: kube.server.kubeconfigPath(user) },
  });

describe('kubectl bailiff', () => {
  it.each(['admin', 'alice'])('%s - reads the bus of the cluster, with nothing configured', async (user) => {
    const { exitCode, stdout, stderr } = await as(user, 'config', 'list', '--json');
    expect([exitCode, stdout, stderr]).toEqual([0, expect.any(String), '']);
    // A command that makes a second handshake, for the end of the certificate.
    const status = await as(user, 'status', '--json');
    expect(JSON.parse(status.stdout)).toMatchObject({ certificates: [{ what: 'server certificate' }, {}] });
  });

  it('doctor - the machine of the user is no node, unless asked for', async () => {
    const machineIn = async (...args: string[]) => {
      const { stdout } = await as('alice', 'doctor', '--json', ...args);
      return JSON.parse(stdout).groups[0].findings[0].name;
    };
    expect([await machineIn(), await machineIn('--only', 'machine')]).toEqual(['machine', 'privileges']);
  });

  it('--nats-user admin - a cluster administrator backs up the bus without a password file', async () => {
    const { api } = kube.server;
    const data = { password: Buffer.from('password-of-admin\n').toString('base64') };
    api.create('secrets', { metadata: { namespace: NAMESPACE, name: 'bailiff-bus-admin' }, data });
    const backUp = (user: string, archive: string) => as(user, 'backup', file(archive), '--nats-user', 'admin');
    expect(await backUp('admin', 'bus.tar')).toMatchObject({ exitCode: 0, stderr: '' });
    expect(await runCli(['restore', file('bus.tar'), '--dry-run'])).toMatchObject({ exitCode: 0 });
    // The control: the Role of operators does not include the Secret.
    const refused = await backUp('alice', 'alice.tar');
    expect([refused.exitCode, refused.stderr]).toEqual([4, expect.stringContaining('bailiff-bus-admin')]);
  });

  it('nothing listens on this machine for it, and nothing is stored', async () => {
    const home = mkdtempSync(file('home-'));
    const listeners = () => process.getActiveResourcesInfo().filter((kind) => kind === 'TCPServerWrap').length;
    const before = listeners();
    let during = -1;
    const { exitCode } = await runCli(['config', 'list', '--json'], {
      home,
      asPlugin: true,
      env: { KUBECONFIG: kube.server.kubeconfigPath('alice') },
      onStdout: () => {
        during = listeners();
      },
    });
    expect([exitCode, during, readdirSync(home)]).toEqual([0, before, []]);
  });

  it('a namespace whose bus has another name in its certificate - is refused before the login', async () => {
    const { exitCode, stdout, stderr } = await as('admin', 'config', 'list', '-n', 'elsewhere');
    expect([exitCode, stdout, stderr]).toEqual([
      7,
      '',
      expect.stringMatching(/bailiff-nats\.elsewhere\.svc.* not in the cert/),
    ]);
  });

  it('what a tenant names like Bailiff in its own namespace - is not used, and gets no login', async () => {
    await using other = await harness();
    install(other.server, 'tenant', authority, 'password-of-cli');
    const login = file('login');
    writeFileSync(login, 'password-of-cli', { mode: 0o600 });
    const list = (...args: string[]) =>
      runCli(['config', 'list', ...args], { env: { KUBECONFIG: other.server.kubeconfigPath('admin') } });
    for (const args of [[], ['--nats-password-file', login]]) {
      expect(await list('--kubeconfig', other.server.kubeconfigPath('admin'), ...args)).toMatchObject({
        exitCode: 7,
        stderr: expect.stringMatching(/namespace bailiff-system has no Service/),
      });
    }
    // The control: the copy works as Bailiff does, for those who name it.
    expect(await list('--bailiff-namespace', 'tenant')).toMatchObject({ exitCode: 0 });
  });

  it('during a rotation, the older of two passwords works too; a wrong one is named', async () => {
    const secret = { namespace: NAMESPACE, name: 'bailiff-bus-cli' };
    const store = (text: string) =>
      kube.server.api.patch('secrets', secret, 'application/merge-patch+json', { data: { password: base64(text) } });
    store('next-password\npassword-of-cli\n');
    expect(await as('alice', 'config', 'list')).toMatchObject({ exitCode: 0 });
    store('next-password\n');
    expect(await as('alice', 'config', 'list')).toMatchObject({
      exitCode: 4,
      stderr: expect.stringMatching(/Authorization Violation/),
    });
    store('password-of-cli\n');
  });

  it('--context - selects another cluster of one kubeconfig; an unknown one is named', async () => {
    await using other = await startKube({ tokens: [{ user: 'admin', token: 'other' }] });
    const kubeconfig = file('two.kubeconfig');
    const [first, second] = [kube, other].map(({ server }) =>
      parse(readFileSync(server.kubeconfigPath('admin'), 'utf8')),
    );
    const named = (name: string, { clusters, users }: typeof first) => ({
      clusters: [{ ...clusters[0], name }],
      users: [{ ...users[0], name }],
      contexts: [{ name, context: { cluster: name, user: name } }],
    });
    const [one, two] = [named('one', first), named('two', second)];
    const both = (key: 'clusters' | 'users' | 'contexts') => [...one[key], ...two[key]];
    const config = { apiVersion: 'v1', kind: 'Config', 'current-context': 'two' };
    writeFileSync(
      kubeconfig,
      stringify({ ...config, clusters: both('clusters'), users: both('users'), contexts: both('contexts') }),
    );
    const run = (...args: string[]) => runCli(['config', 'list', ...args], { env: { KUBECONFIG: kubeconfig } });
    expect(await run('--context', 'one')).toMatchObject({ exitCode: 0, stderr: '' });
    // The control: the current context has no Bailiff. Without a flag, the choice is said.
    expect(await run('--context', 'two')).toMatchObject({
      exitCode: 7,
      stderr: expect.stringMatching(/namespace bailiff-system has no Service bailiff-nats/),
    });
    expect(await run('--context', 'three')).toMatchObject({ exitCode: 6, stderr: expect.stringMatching(/three/) });
  });

  it('no ready server, and a pod that refuses the connection - are errors with the reason', async () => {
    const pod = { namespace: NAMESPACE, name: 'bailiff-nats-0' };
    reportPod(kube.server.api, pod, podRuns(false));
    expect(await as('alice', 'config', 'list')).toMatchObject({
      exitCode: 7,
      stderr: expect.stringMatching(
        /no server of the bus is ready[\s\S]*get pods -l app.kubernetes.io\/component=nats/,
      ),
    });
    reportPod(kube.server.api, pod, podRuns());
    refuses = true;
    expect(await as('alice', 'config', 'list')).toMatchObject({
      exitCode: 7,
      stderr: expect.stringMatching(/port-forward to port 4222 of pod bailiff-system\/bailiff-nats-0: .*ECONNREFUSED/),
    });
    refuses = false;
    expect(await as('alice', 'config', 'list')).toMatchObject({ exitCode: 0 });
  });

  it('a pod that is silent, and an API server that is - end the command after --timeout', async () => {
    const silent = createServer(() => undefined).listen(0, '127.0.0.1');
    await once(silent, 'listening');
    silentPort = (silent.address() as AddressInfo).port;
    const list = () =>
      runCli(['config', 'list', '--timeout', '500ms'], {
        asPlugin: true,
        env: { KUBECONFIG: kube.server.kubeconfigPath('alice') },
      });
    const startMs = performance.now();
    expect(await list()).toMatchObject({ exitCode: 7, stderr: expect.stringMatching(/timeout|within|respond/i) });
    silentPort = null;
    silent.close();
    const held = kube.server.faults.inject({ resource: 'services', hold: true });
    expect(await list()).toMatchObject({ exitCode: 7, stderr: expect.stringMatching(/no response within 500 ms/) });
    held.release();
    expect(performance.now() - startMs).toBeLessThan(10_000);
  });

  it.each([
    ['no-login', /secrets "bailiff-bus-cli" is forbidden: User "no-login" cannot get/],
    ['no-forward', /pods "bailiff-nats-0" is forbidden: User "no-forward" cannot get resource "pods\/portforward"/],
    ['no-create', /cannot create resource "pods\/portforward"/],
    ['no-service', /services "bailiff-nats" is forbidden/],
    ['stranger', /services "bailiff-nats" is forbidden/],
  ])('%s - exits with 4, and says which right is missing', async (user, message) => {
    const { exitCode, stdout, stderr } = await as(user, 'config', 'list');
    expect([exitCode, stdout, stderr]).toEqual([4, '', expect.stringMatching(message)]);
    expect(stderr).toContain(`kubectl -n ${NAMESPACE} create rolebinding <name> --role bailiff-operator`);
  });
});

it('port-forward - carries megabytes both ways, through a reader that pauses', async () => {
  const echo = createServer((socket) => socket.pipe(socket)).listen(0, '127.0.0.1');
  await once(echo, 'listening');
  const { port } = echo.address() as AddressInfo;
  const client = kube.client({ user: 'admin' });
  const stream = await client.portForward({ namespace: NAMESPACE, pod: 'bailiff-nats-0', port, timeoutMs: 10_000 });
  const sent = randomBytes(8 * 1024 * 1024);
  stream.write(sent);
  const received: Buffer[] = [];
  let size = 0;
  for await (const chunk of stream as AsyncIterable<Buffer>) {
    received.push(chunk);
    size += chunk.length;
    if (size === sent.length) break;
    if (received.length % 32 === 0) await new Promise((resolve) => setImmediate(resolve));
  }
  expect(Buffer.concat(received).equals(sent)).toBe(true);
  echo.close();
});

describe('operations', () => {
  it('logs - of every container, with its pod; a part that does not exist is named', async () => {
    const line = 'bailiff-nats-0 nats: {"msg":"log of bailiff-nats-0"}';
    const { exitCode, stdout, stderr } = await as('alice', 'logs');
    expect([exitCode, stdout.split('\n')[0], stderr]).toEqual([0, line, '']);
    expect((await as('alice', 'logs', 'nats', '--since', '10m')).stdout).toContain(line);
    expect((await as('alice', 'logs', 'oracle')).stderr).toMatch(/no pods of oracle/);
    expect(await as('stranger', 'logs')).toMatchObject({ exitCode: 4, stderr: expect.stringMatching(/is forbidden/) });
  });

  it('logs - a node that is down, or slower than --timeout, does not hide the other logs', async () => {
    const labels = { 'app.kubernetes.io/part-of': 'bailiff' };
    const lost = { namespace: NAMESPACE, name: 'bailiff-lost' };
    const spec = {
      nodeName: 'node-2',
      initContainers: [{ name: 'init', image: 'i' }],
      containers: [{ name: 'main', image: 'i' }],
    };
    kube.server.api.create('pods', { metadata: { ...lost, labels }, spec });
    const log = { resource: 'pods', subresource: 'log', name: lost.name };
    const message = 'Get "https://10.0.0.9:10250/containerLogs": dial tcp 10.0.0.9:10250: connect: connection refused';
    kube.server.faults.inject({ ...log, status: 500, message });
    const held = kube.server.faults.inject({ ...log, hold: true });
    const run = () =>
      runCli(['logs', '--timeout', '1s'], { asPlugin: true, env: { KUBECONFIG: kube.server.kubeconfigPath('alice') } });
    const { exitCode, stdout, stderr } = await run();
    held.release();
    expect([exitCode, stdout]).toEqual([7, expect.stringContaining('log of bailiff-nats-0')]);
    expect(stderr).toMatch(
      /bailiff-lost init: .*connection refused\nbailiff-lost main: .*no response within 1000 ms\n/,
    );
    // The control: the same pod without faults.
    expect(await run()).toMatchObject({ exitCode: 0, stdout: expect.stringContaining('bailiff-lost init: {') });
    kube.server.api.delete('pods', lost, { gracePeriodSeconds: 0 });
  });

  it('support-bundle - one file of its owner, with everything but secrets; never over another file', async () => {
    const bundle = file('bundle.tar.gz');
    const { exitCode, stdout } = await as('alice', 'support-bundle', '--out', bundle);
    expect([exitCode, stdout]).toEqual([0, `${bundle}\n`]);
    expect(statSync(bundle).mode & 0o777).toBe(0o600);
    const { stdout: names } = await promisify(execFile)('tar', ['tzf', bundle]);
    const parts = ['pods.json', 'logs/bailiff-nats-0-nats.log', 'status.json', 'config.json', 'version.json'];
    expect(names.trim().split('\n')).toEqual(parts);
    const { stdout: all } = await promisify(execFile)('tar', ['xzOf', bundle]);
    expect(all).toContain('log of bailiff-nats-0');
    // The control is in the log itself.
    expect(all).not.toMatch(/hunter22|password-of-cli/);
    expect(await as('alice', 'support-bundle', '--out', bundle)).toMatchObject({ exitCode: 2 });
  });

  it('support-bundle - the bus cannot be reached: it has the logs, and why there is no status', async () => {
    const bundle = file('without-bus.tar.gz');
    refuses = true;
    const { exitCode, stdout, stderr } = await as('alice', 'support-bundle', '--out', bundle);
    refuses = false;
    expect([exitCode, stdout]).toEqual([7, `${bundle}\n`]);
    expect(stderr).toMatch(/status\.json cannot be read: .*bailiff-nats-0/);
    const { stdout: all } = await promisify(execFile)('tar', ['xzOf', bundle]);
    expect(all).toContain('log of bailiff-nats-0');
    expect(all).toMatch(/"error": ".*bailiff-nats-0/);
  });

  it('version - client and cluster', async () => {
    const { stdout } = await as('alice', 'version', '-o', 'json');
    expect(JSON.parse(stdout)).toMatchObject({ client: '1.2.3', cluster: [{ part: 'nats-server' }], skew: [] });
    expect(await runCli(['version', '--client', '-o', 'name'])).toMatchObject({ exitCode: 0 });
  });

  it('status --wait - ends when everything works, or after its time', async () => {
    const startMs = performance.now();
    // No service runs.
    expect(await as('alice', 'status', '--wait', '1s')).toMatchObject({ exitCode: 7 });
    expect(performance.now() - startMs).toBeGreaterThan(1_000);
  });
});

describe('the package', () => {
  const at = (name: string) => path.join(directory, 'package', name);
  /** A user's environment, with the clock of a run at a later date. */
  const { PATH = '', LD_PRELOAD } = process.env;
  const user = { PATH, HOME: directory, ...(LD_PRELOAD === undefined ? {} : { LD_PRELOAD }) };
  const run = (program: string, args: readonly string[], env: Record<string, string> = {}, cwd = directory) =>
    promisify(execFile)(program, args, { cwd, env: { ...user, ...env } });

  beforeAll(async () => {
    const tool = ['--import', 'tsx', 'tools/package/main.ts', '--out', at('out'), '--url', 'https://files.example'];
    await run(process.execPath, tool, {}, process.cwd());
    mkdirSync(at('empty'));
    // Without a network and a cache: whatever the package needs is in it.
    const install = ['install', '--offline', '--no-audit', '--no-fund', '--cache', at('cache')];
    await run('npm', [...install, path.join(at('out'), 'bailiff-cli-0.1.0.tgz')], {}, at('empty'));
  }, 120_000);

  it('installs into an empty folder, and runs', async () => {
    const bin = at('empty/node_modules/.bin');
    expect(readdirSync(at('empty/node_modules')).sort()).toEqual(['.bin', '.package-lock.json', '@bailiff']);
    expect((await run(path.join(bin, 'bailiff'), ['--version'])).stdout).toBe('0.1.0\n');
    expect((await run(path.join(bin, 'kubectl-bailiff'), ['--help'])).stdout).toMatch(/^Usage: kubectl bailiff /);
  });

  it("kubectl finds it, and it reads the bus of kubectl's cluster", async () => {
    // A run by npm has the plugin of this repository in its path, and kubectl counts a second one as an error.
    const others = (process.env['PATH'] ?? '').split(':').filter((one) => !one.endsWith('node_modules/.bin'));
    const env = {
      PATH: [at('empty/node_modules/.bin'), ...others].join(':'),
      KUBECONFIG: kube.server.kubeconfigPath('alice'),
    };
    expect((await run('kubectl', ['plugin', 'list', '--name-only'], env)).stdout).toContain('kubectl-bailiff\n');
    const { stdout, stderr } = await run('kubectl', ['bailiff', 'config', 'list', '--json'], env);
    expect([stdout, stderr]).toEqual([expect.stringMatching(/^[[{]/), '']);
  });

  it('the krew manifest names the archive, its checksum and a program in it', async () => {
    const manifest = parse(readFileSync(at('out/bailiff.yaml'), 'utf8'));
    const archive = readFileSync(at('out/bailiff-cli-0.1.0.tgz'));
    const [{ uri, sha256, bin }] = manifest.spec.platforms;
    expect({ uri, sha256 }).toEqual({
      uri: 'https://files.example/bailiff-cli-0.1.0.tgz',
      sha256: createHash('sha256').update(archive).digest('hex'),
    });
    const { stdout } = await run('tar', ['tzf', at('out/bailiff-cli-0.1.0.tgz')]);
    expect(stdout.split('\n')).toContain(`package/${bin}`);
    expect(manifest.spec.version).toBe('v0.1.0');
  });
});
