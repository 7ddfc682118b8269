// Every command of the runbooks runs here, or has a reason why not. A command is what a page shows in a
// code block of a shell, or between backticks if it begins with the name of a program.

import { copyFileSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { podIdentityOf } from '@bailiff/schemas/testing';
import { temporaryDirectory } from '@bailiff/service/testing';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { runCli } from '../../apps/cli/src/testing.ts';
import { launch } from '../support/process.ts';
import { healthyStatus, NODE_A, publishStory, verdictId, WEB, World } from './cli/world.ts';
import { KubectlBench } from './contract/kubectl-bench.ts';
import { commandsOf } from './runbooks/commands.ts';
import { NAMES_ONLY, SKETCHES } from './runbooks/sketches.ts';

const ROOT = path.resolve(import.meta.dirname, '../..');
const PAGES = ['install', 'bus-credentials', 'operations', 'alerts', 'on-call'];
const commands = [
  ...new Set(PAGES.flatMap((page) => commandsOf(readFileSync(path.join(ROOT, `docs/${page}.md`), 'utf8')))),
];
const ran = (program: RegExp) => commands.filter((line) => program.test(line) && SKETCHES[line] === undefined);

/** What the pages write where a reader has a name of their own. */
const NAMES: Readonly<Record<string, string>> = {
  '<node>': NODE_A,
  '<pod>': 'shop/web-0',
  '<verdict>': verdictId(0xbbbb),
  '<ns>': 'shop',
  '<app>': 'correlator',
  '<namespace>': 'shop',
  '<namespace of Prometheus>': 'shop',
  '<name>': 'seen',
  '<key>': 'spoof.namespace.shop.default',
  '<rule>': 'repeated-spoofing',
  '<policy>': 'answer-high',
  '<vector>': 'arp-sender',
  '…': 'test',
};
const named = (line: string) =>
  Object.entries(NAMES).reduce((text, [name, value]) => text.replaceAll(name, value), line);

it('the pages - every command runs here or has a reason why not, and every reason has a command', () => {
  expect(commands.length).toBeGreaterThan(90);
  const tried = [...ran(/^(npx )?bailiff /), ...ran(/^(kubectl|IMAGE=)/)];
  expect(commands.filter((line) => !tried.includes(line) && SKETCHES[line] === undefined)).toEqual([]);
  expect(Object.keys(SKETCHES).filter((line) => !commands.includes(line))).toEqual([]);
});

/** The home of an operator who has followed the pages. */
let directory: string;
beforeAll(() => {
  directory = temporaryDirectory();
});

describe('bailiff', () => {
  let world: World;
  beforeAll(async () => {
    world = await World.start();
    await publishStory(world);
    await world.status(healthyStatus(NODE_A));
    const pods = [podIdentityOf(WEB, { labels: { app: 'web' }, owners: [] })];
    await world.put('bailiff_pods', NODE_A, { nodeName: NODE_A, revision: 1, pods });
    writeFileSync(path.join(directory, 'admin'), 'password-of-admin', { mode: 0o600 });
    const policy = path.join(directory, 'seen.yaml');
    for (const mode of ['audit', 'enforce']) {
      writeFileSync(
        policy,
        readFileSync(path.join(ROOT, 'policies/no-shell.yaml'), 'utf8')
          .replace(/name: no-shell/, 'name: seen')
          .replace(/mode: \w+/, `mode: ${mode}`),
      );
      expect(await world.cli(['policy', 'apply', policy, '--yes', '--reason', 'test'])).toMatchObject({ exitCode: 0 });
      const set = ['config', 'set', NAMES['<key>'] as string, `modes.arp-sender=${mode}`, '--yes', '--reason', 'test'];
      expect(await world.cli(set)).toMatchObject({ exitCode: 0 });
    }
    mkdirSync(path.join(directory, 'home'), { recursive: true });
    const init = [
      'credentials',
      'init',
      '--out',
      path.join(directory, 'bailiff-bus'),
      '--kubernetes',
      path.join(directory, 'secrets.yaml'),
    ];
    expect(await runCli(init)).toMatchObject({ exitCode: 0 });
  });
  afterAll(async () => {
    await world?.[Symbol.asyncDispose]();
  });

  /** Without the flags of the bus, which has another address here. */
  const withoutBus = (words: string[]) =>
    words.filter((word, at) => !/^--nats-/.test(word) && !/^--nats-/.test(words[at - 1] ?? ''));

  /** Words of the command, for this bus and directory. */
  const wordsOf = (line: string): string[] => {
    const here = named(line)
      .replace(/^(npx )?bailiff /, '')
      .replace(/ >.*$/, '')
      .replaceAll('~/bailiff-bus', path.join(directory, 'bailiff-bus'))
      .replaceAll('secrets.yaml', path.join(directory, 'secrets.yaml'))
      .replaceAll('<directory>', path.join(directory, 'bailiff-bus'))
      .replaceAll(/ (cluster-1\/?|DIR)(?= |$)/g, ` ${path.join(directory, 'tree')}`)
      .replaceAll('bus.tar', path.join(directory, 'bus.tar'));
    const words = [...here.matchAll(/'([^']*)'|"([^"]*)"|(\S+)/g)].map(([, a, b, c]) => a ?? b ?? (c as string));
    const isAdmin = /^(bus setup|backup|restore)/.test(here);
    const admin = isAdmin ? ['--nats-user', 'admin', '--nats-password-file', path.join(directory, 'admin')] : [];
    // A script would wait for the answer to a question.
    const yes =
      /^(config (set|rollback|import)|disarm|policy rollback|quarantine release|restore)/.test(here) &&
      !words.includes('--yes') &&
      !words.includes('--dry-run');
    if (here === 'support-bundle') words.push('--out', path.join(directory, 'support.tar.gz'));
    return [
      ...withoutBus(words),
      ...(yes ? ['--yes'] : []),
      ...(yes && !words.includes('--reason') && !here.startsWith('restore') ? ['--reason', 'test'] : []),
      ...admin,
    ];
  };

  /**
   * No service runs, so some commands report that (7); nor a kernel that enforces the policy (3), and
   * something is audited (10). No correlator published what `backtest --live` finds (11).
   */
  const WORKS = [0, 3, 7, 10, 11];
  /** Credentials are there, and so are the streams. */
  const REFUSED: readonly [RegExp, RegExp][] = [
    [/credentials init/, /already|exists/],
    [/restore bus.tar$/, /the bus has \d+ streams/],
    // test/cluster/backup-restore.test.ts has three.
    [/restore bus.tar --replicas 3/, /the bus is a single server/],
    [/keep-bytes 2GiB --shrink/, /./],
  ];

  it.each(NAMES_ONLY)('%s - exists', async (line) => {
    expect(await runCli([...wordsOf(line), '--help'])).toMatchObject({ exitCode: 0 });
  });

  it.each(ran(/^(npx )?bailiff /).filter((line) => !NAMES_ONLY.includes(line)))('%s', async (line) => {
    const end = new AbortController();
    const args = wordsOf(line);
    const follow = args.includes('--follow');
    const bus = [
      '--nats-url',
      world.nats.url,
      ...(args.includes('--nats-password-file') ? [] : ['--nats-password-file', world.passwordFile]),
    ];
    const onBus = !args.join(' ').startsWith('credentials');
    const run = await runCli([...args, ...(onBus ? bus : [])], {
      home: path.join(directory, 'home'),
      signal: end.signal,
      onStdout: () => {
        if (follow) end.abort(new Error('seen'));
      },
    });
    const refused = REFUSED.find(([pattern]) => pattern.test(line));
    if (refused && run.exitCode !== 0) return expect(run.stderr).toMatch(refused[1]);
    expect([run.exitCode, run.stderr]).toEqual([
      expect.toSatisfy((code: number) => (follow ? [0, 130] : WORKS).includes(code)),
      run.stderr,
    ]);
    expect(run.stderr).not.toMatch(/this is a bug|cannot reach/);
  });
});

describe('kubectl', () => {
  let bench: KubectlBench;
  const MADE = 'kubectl create namespace bailiff-system';
  beforeAll(async () => {
    bench = await KubectlBench.start();
    const { api } = bench.server;
    for (const name of ['bailiff-system', 'shop']) api.create('namespaces', { metadata: { name } });
    const bus = path.join(directory, 'home/bailiff-bus');
    const files = ['--out', bus, '--kubernetes', path.join(bus, 'secrets.yaml')];
    expect(await runCli(['credentials', 'init', ...files])).toMatchObject({ exitCode: 0 });
    copyFileSync(path.join(bus, 'secrets.yaml'), path.join(directory, 'secrets.yaml'));
    const text = readFileSync(path.join(bus, 'credentials.json')).toString('base64');
    api.create(
      'secrets',
      { metadata: { name: 'bailiff-credentials' }, data: { 'credentials.json': text } },
      'bailiff-system',
    );
    bench.makeNode(NODE_A);
    await bench.kubectl.ok('taint', 'nodes', '--all', 'bailiff.dev/unguarded=:NoSchedule');
    for (const name of ['web-0', 'seen']) bench.makePod('shop', name, NODE_A);
    for (const name of ['bailiff-ipam-sync-1', 'bailiff-valkey-0']) bench.makePod('bailiff-system', name, NODE_A);
  });
  afterAll(() => bench?.[Symbol.asyncDispose]());

  // What others act on is applied first; a line that deletes more comes later.
  const ORDER = [
    / apply /,
    /^(?!.* delete )/,
    / delete (pod|job) /,
    / delete pvc/,
    /crds/,
    / delete namespace/,
    /overlays/,
  ];
  const place = (line: string) => ORDER.findIndex((one) => one.test(line));
  it.each(ran(/^(kubectl|IMAGE=)/).sort((a, b) => place(a) - place(b)))('%s', async (line) => {
    bench.confirmDeletions();
    const env = {
      ...process.env,
      HOME: path.join(directory, 'home'),
      KUBECONFIG: bench.server.kubeconfigPath('admin'),
      ROOT,
    };
    const own = named(line)
      .replaceAll('k8s/', '$ROOT/k8s/')
      .replace(/^kubectl delete namespace/, '$& --wait=false');
    const { exit, stdout, stderr } = launch('bash', ['-o', 'pipefail', '-c', own], { cwd: directory, env });
    const [code] = await exit;
    if (line === MADE) return expect(stderr()).toContain('AlreadyExists');
    expect([code, stderr()]).toEqual([0, stderr()]);
    if (line.includes('openssl')) expect(stdout()).toMatch(/^notAfter=/);
    if (line.startsWith('IMAGE=')) expect(own).toContain('jsonpath');
  });
});
