/**
 * `bailiff` as a program: the real command in a process of its own, on pipes; and doctor against
 * real servers.
 */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { readConfig } from '@bailiff/bus';
import { startNats } from '@bailiff/bus/testing';
import { startApiServer } from '@bailiff/lab/apiserver';
import { podIdentityOf, sampleRuntimeStatus } from '@bailiff/schemas/testing';
import { temporaryDirectory, waitFor } from '@bailiff/service/testing';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { runCli } from '../../apps/cli/src/testing.ts';
import { startRedis } from '../support/redis.ts';
import { startCli } from './cli/process.ts';
import { healthyStatus, NODE_A, NODE_B, publishStory, WEB, World } from './cli/world.ts';

let world: World;
let services: AsyncDisposable;
beforeAll(async () => {
  world = await World.start();
  await publishStory(world);
  services = await world.services();
});
afterAll(async () => {
  await services?.[Symbol.asyncDispose]();
  await world?.[Symbol.asyncDispose]();
});

const start = (args: string[]) => startCli(world, args);

describe('cli process', () => {
  it('pipe - plain text without colour, exit 0, and the process exits by itself', async () => {
    const { code, stdout, stderr } = await start(['explain', 'shop/web-0']).ended;
    expect([code, stderr]).toEqual([0, 'no collector of node-a has ever reported\n']);
    expect(stdout).toMatch(/VERDICT {2}aaaa5f1d3c {2}high by repeated-spoofing/);
    expect(stdout).not.toContain('\u001b');
  });

  it.each(['SIGINT', 'SIGTERM'] as const)(
    'learn ended by %s - its temporary policy is removed, and nothing is left',
    async (signal) => {
      await using own = await World.start();
      const runtime = sampleRuntimeStatus();
      await own.status(healthyStatus(NODE_A, { runtime }));
      const pods = [podIdentityOf(WEB, { labels: { app: 'web' }, owners: [] })];
      await own.put('bailiff_pods', NODE_A, { nodeName: NODE_A, revision: 1, pods });
      const cli = await own.as('cli');
      const stored = () => readConfig(cli, 'runtime.namespace.shop.learn-web-0');
      const { child, ended } = start([
        'policy',
        'learn',
        '--pod',
        'shop/web-0',
        '--for',
        '1h',
        '--install',
        ...own.bus,
      ]);
      await waitFor(async () => (await stored()) !== null, {
        what: 'the temporary policy',
        state: stored,
      });
      child.kill(signal);
      const { code, stderr } = await ended;
      expect([code, stderr]).toEqual([
        2,
        expect.stringMatching(/is deleted\nbailiff: no operation of shop\/web-0 was audited/),
      ]);
      expect(await stored()).toBeNull();
    },
  );

  it.each(['SIGINT', 'SIGTERM'] as const)('follow - ends in order at %s', async (signal) => {
    const { child, output, ended } = start(['events', '--follow']);
    await waitFor(() => output().includes('before-guard'), {
      what: 'the first rows',
      state: output,
    });
    child.kill(signal);
    expect(await ended).toMatchObject({ code: 0, signal: null });
  });

  it('wrong use - exit 2, and the message quotes the wrong argument', async () => {
    const { code, stdout, stderr } = await start(['events', '--sinc', '1h']).ended;
    expect([code, stdout]).toEqual([2, '']);
    expect(stderr).toMatch(/unknown option '--sinc'\n\(Did you mean --since\?\)/);
  });
});

describe('cli and a lab', () => {
  it('every command uses the only running lab, with a note, and none of two', async () => {
    const labs = temporaryDirectory();
    const up = (id: string) => {
      const stat = readFileSync('/proc/self/stat', 'utf8');
      const startTicks = stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19];
      const cli = { user: 'cli', passwordFile: world.passwordFile };
      const info = { natsUrl: world.nats.url, redisUrl: '', kubeconfig: '', credentials: { cli } };
      mkdirSync(path.join(labs, id));
      const state = { id, pid: process.pid, startTicks, phase: 'ready', info };
      writeFileSync(path.join(labs, id, 'state.json'), JSON.stringify(state));
    };
    const env = { BAILIFF_LABS_DIR: labs };
    const commands = [
      ['status'],
      ['events'],
      ['explain', 'shop/web-0'],
      ['config', 'list'],
      ['doctor', '--only', 'bus'],
    ];
    up('one');
    for (const args of commands) {
      const { exitCode, stderr, stdout } = await runCli(args, { env });
      // The story has no node status.
      const judges = args[0] === 'status' || args[0] === 'doctor';
      expect([args, exitCode]).toEqual([args, judges ? 7 : 0]);
      expect(stdout + stderr).toMatch(/lab one/);
    }
    up('two');
    for (const args of commands.slice(0, 4)) {
      const { exitCode, stderr } = await runCli(args, { env });
      expect([exitCode, stderr]).toEqual([6, expect.stringMatching(/--lab one or --lab two/)]);
    }
    expect((await runCli(['events', '--lab', 'two'], { env })).exitCode).toBe(0);
    expect((await runCli(['--lab', 'two', 'events'], { env })).exitCode).toBe(0);
  });
});

describe('cli terminal', () => {
  it('colour - on a terminal, and not with NO_COLOR or on a dumb one', async () => {
    const on = await world.cli(['events'], { terminal: 100 });
    expect(on.stdout).toContain('\u001b[31mdrop\u001b[0m');
    for (const env of [{ NO_COLOR: '1' }, { TERM: 'dumb' }] as Record<string, string>[]) {
      expect((await world.cli(['events'], { terminal: 100, env })).stdout).not.toContain('\u001b');
    }
  });

  it.each([80, 100, 132])('width - no output is wider than %d columns', async (terminal) => {
    const looks = [
      ['events'],
      ['verdicts'],
      ['responses'],
      ['explain', 'shop/web-0'],
      ['status'],
      ['quarantine', 'list'],
      ['config', 'list'],
    ];
    for (const args of looks) {
      const { stdout } = await world.cli(args, { terminal, env: { NO_COLOR: '1' } });
      for (const line of stdout.split('\n'))
        expect([args[0], line, [...line].length <= terminal]).toEqual([args[0], line, true]);
    }
  });
});

describe('cli doctor', () => {
  it('bus - what exists, and what is missing on a bus without topology', async () => {
    const none = await world.cli(['doctor', '--only', 'bus']);
    expect([none.exitCode, none.stdout]).toEqual([7, expect.stringMatching(/✗ nodes: cluster: no node has ever/)]);
    for (const node of [NODE_A, NODE_B]) await world.status(healthyStatus(node));
    const good = await world.cli(['doctor', '--only', 'bus']);
    expect([good.exitCode, good.stdout]).toEqual([
      0,
      expect.stringMatching(
        /! nodes: bus: has no list of [\s\S]*✓ streams and buckets: all \d+\n[\s\S]*✓ horizon[\s\S]*✓ schemas/,
      ),
    ]);
    await using bare = await startNats();
    const bad = await world.cli(['doctor', '--only', 'bus', '--nats-url', bare.url]);
    expect([bad.exitCode, bad.stdout]).toEqual([
      7,
      expect.stringMatching(/✗ streams and buckets: cli sees none: .*\n +→ /),
    ]);
    await bare.stop();
    const gone = await world.cli(['doctor', '--only', 'bus', '--nats-url', bare.url, '--json']);
    expect(JSON.parse(gone.stdout)).toMatchObject({
      ok: false,
      exitCode: 7,
      groups: [{ findings: [{ name: 'reachable', state: 'fail' }] }],
    });
    const unprinted = await runCli(['doctor', '--only', 'bus']);
    expect([unprinted.exitCode, unprinted.stdout]).toEqual([
      2,
      expect.stringMatching(/✗ not checked: no bus is selected/),
    ]);
  });

  it('Redis - checked with a request', async () => {
    await using redis = await startRedis();
    const good = await runCli(['doctor', '--only', 'redis', '--redis-url', redis.url]);
    expect([good.exitCode, good.stdout]).toEqual([0, expect.stringMatching(/✓ reachable\n {2}✓ server: \d/)]);
    expect(good.stdout).toMatch(/✓ accepts jobs/);
    await redis.configure('maxmemory', '1');
    const full = await runCli(['doctor', '--only', 'redis', '--redis-url', redis.url]);
    expect([full.exitCode, full.stdout]).toEqual([7, expect.stringMatching(/✗ accepts jobs: OOM .*\n +→ it is full/)]);
    await redis.configure('maxmemory', '0');
    await redis.becomeReplica();
    const replica = await runCli(['doctor', '--only', 'redis', '--redis-url', redis.url]);
    expect([replica.exitCode, replica.stdout]).toEqual([
      7,
      expect.stringMatching(/✓ reachable[\s\S]*✗ accepts jobs: READONLY .*\n +→ this is a replica/),
    ]);
    const bad = await runCli(['doctor', '--only', 'redis', '--redis-url', 'redis://127.0.0.1:1']);
    expect([bad.exitCode, bad.stdout]).toEqual([7, expect.stringMatching(/✗ reachable: .*ECONNREFUSED/)]);
  });

  it('Kubernetes - version and rights of an identity', async () => {
    const certDir = temporaryDirectory();
    const api = await startApiServer({ certDir });
    try {
      const good = await runCli(['doctor', '--only', 'kubernetes', '--kubeconfig', api.kubeconfigPath()]);
      expect([good.exitCode, good.stdout]).toEqual([0, expect.stringMatching(/✓ API server: v1\.[\s\S]*✓ rights/)]);
    } finally {
      await api.close();
    }
    const bad = await runCli(['doctor', '--only', 'kubernetes', '--kubeconfig', '/proc/nonexistent']);
    expect(bad.exitCode).toBe(6);
    expect(bad.stdout).toMatch(/✗ API server: .*nonexistent/);
  });

  it('machine - checks by trying; each finding has a remedy', async () => {
    const { groups } = JSON.parse((await runCli(['doctor', '--only', 'machine', '--json'])).stdout);
    const names = groups[0].findings.map(({ name }: { name: string }) => name);
    expect(names).toEqual(expect.arrayContaining(['privileges', 'kernel features', 'BTF', 'bpffs', 'cgroup v2']));
    for (const { state, remedy } of groups[0].findings) if (state === 'fail') expect(remedy).not.toBe('');
  });

  it('would drop - audited packets, exactly, by pod and vector', async () => {
    const { exitCode, stdout } = await world.cli(['doctor', '--would-drop', '--since', '1h']);
    expect(exitCode).toBe(0);
    expect(stdout).toMatch(/^Enforcing would have dropped 41 packets of 2 pods since 1h:\n/);
    expect(stdout).toMatch(/payments\/vpn-0 +tunnel-other +40 /);
    expect(stdout).not.toMatch(/shop\/web-0/);
    expect(stdout).toMatch(/bailiff config set spoof\.cluster\._\.default modes\.tunnel-other=enforce/);
    const json = JSON.parse((await world.cli(['doctor', '--would-drop', '--json'])).stdout);
    expect(json).toMatchObject({
      packets: 41,
      groups: [{ vector: 'tunnel-other', packets: 40 }, { vector: 'unknown-interface' }],
    });
    expect((await world.cli(['doctor', '--would-drop', '--since', '2099-01-01'])).stdout).toMatch(
      /no packet was audited/,
    );
  });
});
