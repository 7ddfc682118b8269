/**
 * Every command ends: with a bus that hangs at any point, with a stopped server, and at one signal.
 *
 * The table is complete: a command without a row fails the test.
 */
import { generateKeyPairSync, randomUUID } from 'node:crypto';
import { mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { startNats } from '@bailiff/bus/testing';
import { podIdentityOf, sampleRuntimeStatus } from '@bailiff/schemas/testing';
import { waitFor } from '@bailiff/service/testing';
import type { Command } from 'commander';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { makeProgram } from '../../apps/cli/src/run.ts';
import { type CliRun, captureCli, runCli } from '../../apps/cli/src/testing.ts';
import { freeze } from '../support/bus.ts';
import { FreezingProxy } from '../support/freezing-proxy.ts';
import { startCli } from './cli/process.ts';
import { healthyStatus, NODE_A, publishStory, verdictId, WEB, World } from './cli/world.ts';

/** The server's greeting is longer, and what it sends before its first response shorter. */
const LOGIN_BYTES = 600;
const YES = ['--yes', '--reason', 'test'];
const SPOOF = 'spoof.namespace.shop.default';

/** Arguments of each command that uses the bus, and its exit code with a bus that answers. */
const ON_THE_BUS: Readonly<Record<string, readonly [exitCode: number, ...args: string[]]>> = {
  // No service runs.
  status: [7],
  doctor: [7, '--only', 'bus'],
  'policy status': [7, 'seen', '--wait', '1s'],
  // Nothing happened that it could learn from.
  'policy learn': [2, '--pod', 'shop/web-0', '--for', '1s', '--install'],
  // No correlator published what the rules find.
  backtest: [11, '--since', 'all', '--live'],
  events: [0, '--since', 'all'],
  verdicts: [0, '--since', 'all'],
  responses: [0, '--since', 'all'],
  'responses approve': [0, verdictId(0xbbbb), ...YES],
  // It is approved by then.
  'responses deny': [2, verdictId(0xbbbb), ...YES],
  explain: [0, 'shop/web-0'],
  // The verdicts of the story were not judged from its frames.
  'evidence export': [10, verdictId(0xaaaa), '--out', 'DIRECTORY/UNIQUE.evidence'],
  'config list': [0],
  'config get': [0, SPOOF],
  'config history': [0, SPOOF],
  'config effective': [0, 'shop/web-0'],
  'config set': [0, SPOOF, 'modes.arp-sender=enforce', ...YES],
  'config rollback': [0, SPOOF, ...YES],
  'config delete': [0, 'spoof.namespace.other.default', ...YES],
  'config release': [0, SPOOF, ...YES],
  'config sign': [0, SPOOF, '--sign', 'DIRECTORY/anna.key', ...YES],
  'config export': [0, 'DIRECTORY/export'],
  'config import': [0, 'DIRECTORY/tree', ...YES],
  'policy apply': [0, 'policies/no-shell.yaml', ...YES],
  'policy diff': [0, 'policies/no-shell.yaml'],
  'policy simulate': [0, 'policies/no-shell.yaml'],
  'policy list': [0],
  'policy show': [0, 'seen'],
  'rules export': [0],
  'policy history': [0, 'seen'],
  'policy delete': [0, 'seen', ...YES],
  'policy rollback': [0, 'seen', ...YES],
  'policy promote': [0, 'audited', '--dry-run'],
  'policy explain': [0, 'shop/web-0'],
  timeline: [0, 'shop/web-0'],
  why: [0, 'shop/web-0'],
  top: [0, 'rules', '--since', 'all'],
  version: [0],
  // A bus that hangs is in the file; a second run finds the file.
  'support-bundle': [0, '--out', 'DIRECTORY/bundle-UNIQUE.tar.gz'],
  replay: [0, '--since', 'all', '--speed', 'max'],
  'quarantine list': [0],
  'quarantine release': [0, 'shop/cart-1', ...YES],
  disarm: [0, '--namespace', 'other', '--for', '1m', ...YES],
  'bus setup': [0, '--nats-user', 'admin', '--nats-password-file', 'DIRECTORY/admin.password'],
  backup: [0, 'DIRECTORY/UNIQUE.tar', '--nats-user', 'admin', '--nats-password-file', 'DIRECTORY/admin.password'],
  // Its streams exist.
  restore: [2, 'DIRECTORY/bus.tar', '--nats-user', 'admin', '--nats-password-file', 'DIRECTORY/admin.password'],
  'responder rbac': [0],
  'schemas export': [0, '--dir', 'DIRECTORY/schemas'],
};
/** Commands without a bus or an end of their own, and why they end. */
const WITHOUT: Readonly<Record<string, string>> = {
  'config validate': 'reads a file',
  'config signer': 'reads a file',
  'config sign-resource': 'reads a file',
  'policy test': 'reads files',
  'rules test': 'reads files',
  'rules import': 'reads a file',
  'evidence verify': 'reads a file',
  'evidence log': 'runs until a signal: evidence.test.ts',
  'evidence copy-log': 'asks the evidence-log: below, and evidence-log.test.ts',
  witness: 'has no bus: witness.test.ts',
  'credentials init': 'runs openssl',
  'credentials rotate': 'runs openssl',
  'credentials render': 'reads files',
  'credentials show': 'reads files',
  'credentials install': 'asks the API server: below',
  'credentials uninstall': 'asks the API server: below',
  console: 'runs until a signal: console.test.ts takes its bus away',
  'console serve': 'runs until a signal: console-visitors.test.ts',
  completion: 'prints a text',
  __complete: 'prints a text',
  logs: 'asks the API server: below, and cli-kubectl.test.ts',
  lab: 'hands over the terminal to another program',
};

function leaves(command: Command, at: string[] = []): string[] {
  const words = command.commands.flatMap((one) => leaves(one, [...at, one.name()]));
  return words.length > 0 && !('_actionHandler' in command && command['_actionHandler'])
    ? words
    : [...words, at.join(' ')];
}

let world: World;
let natsPort: number;
beforeAll(async () => {
  world = await World.start();
  await publishStory(world);
  const runtime = sampleRuntimeStatus();
  await world.status(healthyStatus(NODE_A, { runtime }));
  const pods = [podIdentityOf(WEB, { labels: { app: 'web' }, owners: [] })];
  await world.put('bailiff_pods', NODE_A, { nodeName: NODE_A, revision: 1, pods });
  writeFileSync(path.join(world.directory, 'admin.password'), 'password-of-admin', { mode: 0o600 });
  const pem = generateKeyPairSync('ed25519').privateKey.export({ type: 'pkcs8', format: 'pem' });
  writeFileSync(path.join(world.directory, 'anna.key'), pem, { mode: 0o600 });
  mkdirSync(path.join(world.directory, 'tree'));
  const admin = ['--nats-user', 'admin', '--nats-password-file', path.join(world.directory, 'admin.password')];
  const backup = ['backup', path.join(world.directory, 'bus.tar'), '--nats-url', world.nats.url, ...admin];
  expect(await runCli(backup)).toMatchObject({ exitCode: 0 });
  for (const mode of ['audit', 'enforce']) {
    for (const key of [SPOOF, 'spoof.namespace.other.default']) {
      expect((await world.cli(['config', 'set', key, `modes.arp-sender=${mode}`, ...YES])).exitCode).toBe(0);
    }
    const seen = path.join(world.directory, 'seen.yaml');
    writeFileSync(seen, POLICY.replace('MODE', mode));
    const applied = await world.cli(['policy', 'apply', seen, ...YES]);
    expect([applied.exitCode, applied.stderr]).toEqual([0, expect.anything()]);
  }
  const audited = path.join(world.directory, 'audited.yaml');
  writeFileSync(audited, POLICY.replace('seen', 'audited').replace('MODE', 'audit'));
  expect(await world.cli(['policy', 'apply', audited, ...YES])).toMatchObject({ exitCode: 0 });
  natsPort = Number(new URL(world.nats.url).port);
});
afterAll(() => world?.[Symbol.asyncDispose]());

const POLICY = `apiVersion: bailiff.dev/v1alpha1
kind: RuntimePolicy
metadata: { name: seen }
spec:
  mode: MODE
  selector: { namespaces: [shop] }
  rules: [{ name: shell, action: block, execute: { paths: [/bin/sh] } }]
`;

const KUBECONFIG = `apiVersion: v1
kind: Config
current-context: c
contexts: [{ name: c, context: { cluster: c, user: u } }]
users: [{ name: u, user: { token: t } }]
clusters: [{ name: c, cluster: { server: "https://127.0.0.1:PORT", insecure-skip-tls-verify: true } }]
`;

const argsOf = (command: string, port: number, timeout: string): string[] => [
  ...command.split(' '),
  ...['--nats-url', `nats://127.0.0.1:${port}`, '--nats-password-file', world.passwordFile, '--timeout', timeout],
  ...(ON_THE_BUS[command] ?? [])
    .slice(1)
    .map((word) => String(word).replace('DIRECTORY', world.directory).replace('UNIQUE', randomUUID())),
];

const isSuccess = (code: number) => code === 0;

/** Runs `work` for all, some at a time. */
async function each<T>(all: readonly T[], atOnce: number, work: (one: T) => Promise<void>): Promise<void> {
  const left = [...all];
  await Promise.all(
    Array.from({ length: atOnce }, async () => {
      for (let one = left.shift(); one !== undefined; one = left.shift()) await work(one);
    }),
  );
}

/** A run against a bus that hangs after some bytes. */
async function hung(command: string, afterBytes: number, timeout: string, signal?: AbortSignal) {
  await using proxy = await FreezingProxy.start(natsPort, afterBytes);
  const startMs = performance.now();
  const run: CliRun = await runCli(argsOf(command, proxy.port, timeout), {
    home: world.directory,
    ...(signal ? { signal } : {}),
  });
  const tookMs = performance.now() - startMs;
  await waitFor(() => proxy.open === 0, { what: `no connection of ${command}`, state: () => proxy.open });
  return { ...run, tookMs, frozen: proxy.frozen };
}

describe('every command', () => {
  it('has a row', () => {
    const all = leaves(makeProgram(captureCli().io));
    expect(Object.keys({ ...ON_THE_BUS, ...WITHOUT }).sort()).toEqual(all.sort());
  });

  const TIMEOUT_MS = 500;
  /** The login, and a reader, which gives up after three timeouts; the rest is for a loaded machine. */
  const LIMIT_MS = 5 * TIMEOUT_MS + 7_500;

  it('a bus that hangs before the login, or anywhere after it - ends in time, with an error, without a connection', async () => {
    const cases: { command: string; part: number; bytes: number }[] = [];
    for (const [command, [works]] of Object.entries(ON_THE_BUS)) {
      await using proxy = await FreezingProxy.start(natsPort);
      const { exitCode, stderr } = await runCli(argsOf(command, proxy.port, '20s'), { home: world.directory });
      // The control: the same command, with a bus that goes on.
      expect([command, exitCode, stderr]).toEqual([command, works, stderr]);
      for (const part of [0, 0.3, 0.6, 0.9]) cases.push({ command, part, bytes: Math.floor(proxy.received * part) });
    }
    await each(cases, 24, async ({ command, part, bytes }) => {
      const { exitCode, tookMs, frozen, stdout, stderr } = await hung(command, bytes, `${TIMEOUT_MS}ms`);
      const inTime = tookMs < LIMIT_MS ? 'in time' : `after ${Math.round(tookMs)} ms`;
      expect([command, part, inTime, stderr]).toEqual([command, part, 'in time', expect.not.stringContaining('bug')]);
      // At the end, only the removal of a consumer may be left.
      if (part < 0.9 && frozen)
        expect([command, part, exitCode]).toEqual([command, part, expect.not.toSatisfy(isSuccess)]);
      if (part === 0)
        expect([command, exitCode, stdout + stderr]).toEqual([command, 7, expect.stringMatching(/cannot reach/)]);
    });
  });

  it('one signal - ends it, while a bus hangs for much longer', async () => {
    await each(Object.keys(ON_THE_BUS), 24, async (command) => {
      const end = new AbortController();
      await using proxy = await FreezingProxy.start(natsPort, LOGIN_BYTES);
      const running = runCli(argsOf(command, proxy.port, '10m'), { home: world.directory, signal: end.signal });
      await Promise.race([
        waitFor(() => proxy.frozen, { what: `${command} to wait`, state: () => proxy.received }),
        running.then((run) => expect.fail(`${command} did not wait: ${JSON.stringify(run)}`)),
      ]);
      const startMs = performance.now();
      end.abort(new Error('interrupted'));
      const { exitCode, stderr } = await running;
      const inTime = performance.now() - startMs < 10_000;
      expect([command, exitCode, inTime, stderr]).toEqual([command, 130, true, stderr]);
      await waitFor(() => proxy.open === 0, { what: `no connection of ${command}`, state: () => proxy.open });
    });
  });
});

describe('the process', () => {
  const TIMEOUT = ['--timeout', '500ms'];

  it('a stopped server - it exits by itself; when the server goes on, it works', async () => {
    await using nats = await startNats();
    const admin = ['--nats-url', nats.url, '--nats-user', 'admin'];
    const who = [...admin, '--nats-password-file', path.join(world.directory, 'admin.password')];
    await freeze(nats.pid);
    try {
      const [once, waiting] = await Promise.all([
        startCli(world, ['bus', 'setup', ...who, ...TIMEOUT]).ended,
        startCli(world, ['bus', 'setup', ...who, ...TIMEOUT, '--wait', '2s']).ended,
      ]);
      expect(once).toMatchObject({ code: 7, signal: null, stderr: expect.stringMatching(/cannot reach .*timeout/) });
      expect(waiting).toMatchObject({ code: 7, signal: null, stderr: expect.stringMatching(/waiting for the bus/) });
    } finally {
      process.kill(nats.pid, 'SIGCONT');
    }
    expect(await startCli(world, ['bus', 'setup', ...who]).ended).toMatchObject({ code: 0 });
  });

  it('status --watch - says that a server stopped, and goes on with it', async () => {
    await using nats = await startNats();
    const admin = ['--nats-url', nats.url, '--nats-user', 'admin'];
    const who = [...admin, '--nats-password-file', path.join(world.directory, 'admin.password')];
    expect(await startCli(world, ['bus', 'setup', ...who]).ended).toMatchObject({ code: 0 });
    const { child, output, errors, ended } = startCli(world, ['status', '--watch', ...who, ...TIMEOUT]);
    const readings = () => output().split('on the bus:').length - 1;
    const reads = (more: number) => {
      const before = readings();
      return waitFor(() => readings() >= before + more, { what: 'a status', state: output });
    };
    await reads(1);
    await freeze(nats.pid);
    try {
      await waitFor(() => errors().includes('read again until Ctrl-C'), { what: 'the error', state: errors });
    } finally {
      process.kill(nats.pid, 'SIGCONT');
    }
    await reads(2);
    child.kill('SIGINT');
    expect(await ended).toMatchObject({ code: 130, signal: null });
  });

  it.each(['SIGINT', 'SIGTERM'] as const)('one %s - ends it, while a server is stopped', async (signal) => {
    await using proxy = await FreezingProxy.start(natsPort, 0);
    const where = ['--nats-url', `nats://127.0.0.1:${proxy.port}`, '--timeout', '10m'];
    const { child, ended } = startCli(world, ['status', ...where]);
    await waitFor(() => proxy.open > 0, { what: 'the connection', state: () => proxy.open });
    child.kill(signal);
    expect(await ended).toMatchObject({ code: 130, signal: null, stdout: '', stderr: '' });
  });

  it('an API server and a Redis that accept and stay silent - end as well', async () => {
    await using proxy = await FreezingProxy.start(natsPort, 0);
    const kubeconfig = path.join(world.directory, 'kubeconfig');
    writeFileSync(kubeconfig, KUBECONFIG.replace('PORT', String(proxy.port)));
    const parts = ['--only', 'redis,kubernetes', '--redis-url', `redis://127.0.0.1:${proxy.port}`];
    const doctor = await runCli(['doctor', ...parts, '--kubeconfig', kubeconfig]);
    expect([doctor.exitCode, doctor.stdout]).toEqual([7, expect.stringMatching(/✗ reachable[\s\S]*✗ API server/)]);
    await waitFor(() => proxy.open === 0, { what: 'no connection', state: () => proxy.open });
  });

  it.each([
    // An installation waits for its API server.
    ['credentials install', '--kubeconfig', 'KUBECONFIG'],
    ['logs', 'correlator', '--kubeconfig', 'KUBECONFIG'],
    ['evidence copy-log', 'http://127.0.0.1:PORT', '--dir', 'DIRECTORY/copied'],
  ])('one signal - ends %s, while a server without a bus accepts and stays silent', async (command, ...args) => {
    await using proxy = await FreezingProxy.start(natsPort, 0);
    const kubeconfig = path.join(world.directory, `kubeconfig-${proxy.port}`);
    writeFileSync(kubeconfig, KUBECONFIG.replace('PORT', String(proxy.port)));
    const values = { KUBECONFIG: kubeconfig, PORT: String(proxy.port), DIRECTORY: world.directory };
    const words = args.map((word) =>
      Object.entries(values).reduce((text, [name, value]) => text.replace(name, value), word),
    );
    const { child, ended } = startCli(world, [...command.split(' '), ...words]);
    await waitFor(() => proxy.open > 0, { what: 'the connection', state: () => proxy.open });
    child.kill('SIGTERM');
    expect(await ended).toMatchObject({ code: 130, signal: null });
    await waitFor(() => proxy.open === 0, { what: 'no connection', state: () => proxy.open });
  });
});
