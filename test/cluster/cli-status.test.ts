/**
 * What `status` and `doctor` say is true: both judge the same facts, on a real bus, and `ok` is said
 * of neither audit mode, nor dead letters, nor a certificate that ends.
 */
import { execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { deadLetter, ensureTopology, violationSubject, writeConfig } from '@bailiff/bus';
import { startNats } from '@bailiff/bus/testing';
import { initialSpoofPolicy, SPOOF_CLUSTER_KEY } from '@bailiff/policy';
import type { NodeStatus, RuntimeStatus } from '@bailiff/schemas';
import { samplePodIdentity, sampleRuntimeStatus, sampleViolation } from '@bailiff/schemas/testing';
import { temporaryDirectory, waitFor } from '@bailiff/service/testing';
import { afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { makeAuthority } from '../../apps/cli/src/operate/credentials/openssl.ts';
import { runCli } from '../../apps/cli/src/testing.ts';
import { startThree } from '../support/bus.ts';
import { healthyStatus, NODE_A, NODE_B, WEB, World } from './cli/world.ts';

let world: World;
let services: AsyncDisposable;
beforeEach(async () => {
  world = await World.start();
  for (const node of [NODE_A, NODE_B]) await world.status(healthyStatus(node));
  services = await world.services();
});
afterEach(async () => {
  await services?.[Symbol.asyncDispose]();
  await world?.[Symbol.asyncDispose]();
});

it('a service whose status has times that no clock has - both commands show all other facts', async () => {
  const times = { updatedAt: '-271821-04-20T00:00:00.000Z', startedAt: '+275760-09-13T00:00:00.000Z' };
  const status = {
    service: 'correlator',
    instance: 'far',
    version: '1',
    configRevision: 0,
    configRefused: [],
    ...times,
  };
  await world.put('bailiff_services', 'correlator.far', status);
  const outcomes = await Promise.all([
    world.cli(['status']),
    world.cli(['status', '--json']),
    world.cli(['doctor', '--only', 'bus']),
  ]);
  expect(outcomes.map(({ stderr }) => stderr)).toEqual(['', '', '']);
  expect(outcomes[0]?.stdout).toContain(NODE_A);
  const shown = JSON.parse(outcomes[1]?.stdout ?? '').instances.find(
    (one: { instance: string }) => one.instance === 'far',
  );
  expect(shown.startedAt).toBe(times.startedAt);
});

it('doctor --canary away from the pod - sends nothing, and says where it has to run', async () => {
  const { namespace, name } = WEB;
  const { exitCode, stderr } = await world.cli(['doctor', '--canary', `${namespace}/${name}`]);
  expect([exitCode, stderr]).toEqual([
    2,
    expect.stringMatching(/no address of .*10\.1\.0\.11.*\n.*run it in that pod/),
  ]);
});

it.each([
  ['ahead', 864_000_000],
  ['behind', -864_000_000],
])(
  'the clock of the command is ten days %s - a quarantine and a disarm that are in force are shown, and a new disarm lasts as long as it says',
  async (_, skewMs) => {
    const nowMs = () => Date.now() + skewMs;
    const until = new Date(Date.now() + 3_600_000).toISOString();
    const pod = healthyStatus(NODE_A).interfaces[0] as NodeStatus['interfaces'][number];
    const { podUid, podNamespace, podName } = pod;
    const entry = { podUid, podNamespace, podName, verdictId: 'a'.repeat(32), until, reason: 'why' };
    await world.put('bailiff_quarantine', NODE_A, { nodeName: NODE_A, revision: 1, entries: [entry] });
    const listed = async () => (await world.cli(['quarantine', 'list'], { nowMs })).stdout;
    expect(await listed()).toMatch(new RegExp(`${podNamespace}/${podName} +${NODE_A} +not applied `));
    await world.status(healthyStatus(NODE_A, { interfaces: [{ ...pod, quarantinedUntil: until }] }));
    expect(await listed()).toMatch(new RegExp(`${podNamespace}/${podName} +${NODE_A} +in force .* (59|60)m|1h `));
    await world.cli(['disarm', '--namespace', 'shop', '--for', '10m', '--reason', 'incident', '--yes'], { nowMs });
    for (const io of [{ nowMs }, {}])
      expect((await world.cli(['disarm'], io)).stdout).toMatch(/DISARMED: namespace shop for (9|10)m/);
  },
);

it.each([
  ['ahead', 864_000_000],
  ['behind', -864_000_000],
])(
  'the clock of the command is ten days %s - --since and --until count from the time of the bus',
  async (_, skewMs) => {
    const nowMs = () => Date.now() + skewMs;
    const { pod } = await world.verdict({ rule: 'repeated-spoofing' });
    const name = `${pod?.namespace}/${pod?.name}`;
    const run = (...argv: string[]) => world.cli(argv, { nowMs });
    for (const argv of [['verdicts'], ['explain', name], ['why', name], ['timeline', name], ['top', 'rules']])
      expect((await run(...argv, '--since', '5m')).stdout, argv.join(' ')).toContain('repeated-spoofing');
    expect((await run('top', 'rules', '--since', '5m')).stdout).toMatch(/^repeated-spoofing +1 +[0-9]+s ago$/m);
    // Control: it is newer than the end of this range.
    const { stderr } = await run('verdicts', '--since', '1h', '--until', '10m');
    expect(stderr).toMatch(/^no matching verdicts since 1h; the newest of any kind is [0-9]+s old$/m);
  },
);

it.each([
  ['ahead', 3_600_000],
  ['behind', -3_600_000],
])(
  'the clocks of a node and of a relay are an hour %s - what they report is shown in bus time, and ends with its cause',
  async (_, aheadMs) => {
    const at = (fromNowMs: number) => new Date(Date.now() + aheadMs + fromNowMs).toISOString();
    const own = { updatedAt: at(0), startedAt: at(-7_200_000) };
    const relay = (failing: object) => {
      const output = {
        name: 'soc',
        pending: 3,
        lagMs: 0,
        delivered: 1,
        refused: 0,
        lost: 0,
        deliveredAt: '',
        ...failing,
      };
      const status = { service: 'siem-relay', instance: 'r', version: '0.1.0', configRevision: 0, configRefused: [] };
      return world.put('bailiff_services', 'siem-relay.r', { ...status, ...own, updatedAt: at(0), outputs: [output] });
    };
    // Its disarm has ended by the clock of the bus, and is in force there for another ten minutes.
    await world.status(healthyStatus(NODE_B, { ...own, disarmedUntil: at(600_000) }));
    await relay({ failing: { code: 'OUTPUT_CONNECT', reason: 'refused', since: at(-300_000) } });
    const { exitCode, stdout } = await world.cli(['status']);
    expect(exitCode).toBe(10);
    expect(stdout).toMatch(/node-b\.example: is disarmed for (9|10)m/);
    expect(stdout).toMatch(/siem-relay soc: deliveries fail for 5m, 3 events waiting: OUTPUT_CONNECT/);
    const difference = aheadMs > 0 ? 'ahead of the bus' : 'behind the bus';
    for (const one of ['node-b\\.example', 'siem-relay'])
      expect(stdout).toMatch(new RegExp(`${one}: its clock is (59|60)m ${difference}`));
    await world.status(healthyStatus(NODE_B));
    await relay({});
    const after = (await world.cli(['status'])).stdout;
    expect(after).not.toMatch(/node-b\.example: |deliveries fail/);
  },
);

/** Both commands: exit code, output, and JSON. */
async function look() {
  const [status, doctor] = await Promise.all([world.cli(['status']), world.cli(['doctor', '--only', 'bus'])]);
  const json = JSON.parse((await world.cli(['status', '--json'])).stdout);
  expect([json.ok, json.exitCode]).toEqual([status.exitCode === 0, status.exitCode]);
  return { codes: [status.exitCode, doctor.exitCode], status: status.stdout, doctor: doctor.stdout, json };
}

it.each([
  ['ahead', 600_000],
  ['behind', -600_000],
])('the clock of the command is %s - nodes that report are ok, and a silent one is silent', async (_, skewMs) => {
  const nowMs = () => Date.now() + skewMs;
  const now = await world.cli(['status'], { nowMs });
  expect([now.exitCode, now.stdout]).toEqual([0, expect.stringMatching(/^node-a +ok .* [0-9]s /m)]);
  await waitFor(async () => (await world.cli(['status', '--stale-after', '1s'], { nowMs })).exitCode === 7, {
    what: 'the nodes to be silent',
  });
});

it('a pod of a node without a collector, and of one whose frames are not stored - why and explain say that violations may be missing; control: of a node that reports', async () => {
  const silent = 'node-c';
  const placed = (nodeName: string, name: string) =>
    world.put('bailiff_pods', nodeName, {
      nodeName,
      revision: 1,
      pods: [samplePodIdentity({ uid: `uid-of-${name}`, namespace: 'shop', name })],
    });
  await placed(silent, 'quiet');
  await placed(NODE_A, 'honest');
  const why = async (pod: string) => (await world.cli(['why', pod])).stderr.replaceAll(/\s+/g, ' ');
  expect(await why('shop/quiet')).toContain('since 1d; no collector of node-c has ever reported');
  expect(await why('shop/honest')).toMatch(/since 1d check the name/);
  const { pod } = await world.verdict({ nodeName: NODE_A });
  const name = `${pod?.namespace}/${pod?.name}`;
  expect(await why(name)).toBe('');
  const status = healthyStatus(NODE_A);
  await world.status({ ...status, bus: { ...status.bus, unackedFrames: 1, unackedForMs: 90_000 } });
  for (const command of ['why', 'explain'])
    expect((await world.cli([command, name])).stderr).toContain(
      `violations of ${NODE_A} have not reached the bus for 90s`,
    );
});

it('why - a newest verdict without a response hides no quarantine of an earlier one; control: after its end', async () => {
  const earlier = await world.verdict({ rule: 'repeated-spoofing' });
  const response = { action: 'quarantine', apiVerb: '', reason: '' } as const;
  await world.response(earlier, { ...response, phase: 'succeeded' });
  const { pod } = await world.verdict({
    ...earlier,
    verdictId: 'b'.repeat(32),
    rule: 'audited-spoofing',
    level: 'low',
  });
  const why = async () => (await world.cli(['why', `${pod?.namespace}/${pod?.name}`])).stdout.replaceAll(/\s+/g, ' ');
  expect(await why()).toMatch(/Rule audited-spoofing .* Nothing was done: .* Before that, quarantine was done/);
  await world.response(earlier, { ...response, phase: 'undone' });
  expect(await why()).not.toContain('quarantine was done');
});

it('explain - evidence of a verdict about a namespace is that of its pods on all nodes; control: of a verdict about a pod, and of another namespace', async () => {
  const [pod, other] = [WEB, { ...WEB, namespace: 'other' }];
  const violations = [sampleViolation({ pod }), sampleViolation({ pod: other })];
  const frames = [await world.frame(NODE_A, violations), await world.frame(NODE_B, violations)];
  const piece = { vector: 'ipv4-source', packets: 1, process: null };
  const evidence = frames.flatMap((streamSequence) => [0, 1].map((index) => ({ ...piece, streamSequence, index })));
  const kept = async (groupBy: 'namespace' | 'pod', verdictId: string) => {
    await world.verdict({
      nodeName: NODE_A,
      pod: { ...pod, ownerKind: '', ownerName: '', ownerUid: '' },
      groupBy,
      verdictId,
      evidence,
    });
    const { verdicts, violations: one } = JSON.parse((await world.cli(['explain', verdictId, '--json'])).stdout);
    return (one ?? verdicts[0].violations).map(({ type }: { type: string }) => type !== 'gone');
  };
  expect(await kept('namespace', 'c'.repeat(32))).toEqual([true, false, true, false]);
  expect(await kept('pod', 'd'.repeat(32))).toEqual([true, true, false, false]);
});

it('collectors log in by token, and no bus-auth is known - a warning, and with a silent node a failure, until one reports; control: by password', async () => {
  const byToken = (node: string) => {
    const status = healthyStatus(node);
    return world.status({ ...status, bus: { ...status.bus, byToken: true } });
  };
  expect((await look()).status).not.toContain('bus-auth');
  await byToken(NODE_A);
  await byToken(NODE_B);
  const warned = await look();
  expect(warned.codes).toEqual([0, 0]);
  for (const text of [warned.status, warned.doctor])
    expect(text.replaceAll(/\s+/g, ' ')).toMatch(
      /bus-auth:? .*no instance has reported for an hour, and collectors log in/,
    );
  await waitFor(async () => (await world.cli(['status', '--stale-after', '1s'])).exitCode === 7, {
    what: 'a node to be silent',
  });
  const silent = await world.cli(['status', '--stale-after', '1s']);
  expect(silent.stdout.replaceAll(/\s+/g, ' ')).toMatch(/bus-auth.* logs bus-auth/);
  const now = new Date().toISOString();
  const instance = { service: 'bus-auth', instance: 'one', version: '0.1.0', configRevision: 0, configRefused: [] };
  const nodeConnections = { watched: true, ended: [] };
  await world.put('bailiff_services', 'bus-auth.one', { ...instance, nodeConnections, updatedAt: now, startedAt: now });
  expect((await look()).status).toContain('bus-auth: 1 running');
  expect((await look()).status).not.toContain('no instance has reported');
});

describe('not enforced', () => {
  it('the honest case - every vector is enforced, and both say ok', async () => {
    const { codes, status, doctor, json } = await look();
    expect([codes, status, doctor]).toEqual([
      [0, 0],
      expect.stringMatching(/^node-a +ok +2\/2/m),
      expect.stringMatching(/✓ enforcement/),
    ]);
    expect(json).toMatchObject({ ok: true, problems: expect.any(Array), enforcement: { weakened: [] } });
  });

  it('audit for the cluster - neither says ok; both name scope, mode and the way back', async () => {
    const admin = await world.as('admin');
    await writeConfig(admin, SPOOF_CLUSTER_KEY, initialSpoofPolicy('audit'), {
      by: 'me',
      why: 'trial',
      expectedRevision: 0,
    });
    const { codes, status, doctor, json } = await look();
    expect(codes).toEqual([10, 10]);
    expect(status).not.toMatch(/^node-a +ok/m);
    expect(status).toMatch(/^node-a +not enforced +2\/2/m);
    expect(status).toMatch(
      /! cluster: ipv4-source, ipv6-source, source-mac and \d+ more are in audit: such packets are counted, and pass\n +→ bailiff doctor --would-drop/,
    );
    expect(status).toMatch(/4 of 4 interfaces guarded, 4 of them not fully enforced/);
    expect(doctor).toMatch(/! enforcement: cluster: ipv4-source.* in audit/);
    expect(json.enforcement.weakened).toMatchObject([{ key: SPOOF_CLUSTER_KEY, mode: 'audit' }]);
    expect(json.nodes[0]).toMatchObject({ health: 'not-enforced', notEnforced: 2 });
  });

  it('one vector of a namespace, and a policy - only the pods of that namespace count', async () => {
    const yes = ['--yes', '--reason', 'test'];
    await world.cli(['config', 'set', 'spoof.namespace.shop.default', 'modes.ipv4-source=off', ...yes]);
    const { codes, status } = await look();
    expect(codes).toEqual([10, 10]);
    expect(status).toMatch(/! namespace shop: ipv4-source is off: such packets pass uncounted/);
    await world.cli(['config', 'delete', 'spoof.namespace.shop.default', ...yes]);
    expect((await look()).codes).toEqual([0, 0]);
  });

  it('a disarm - is the first problem, and no success', async () => {
    await world.cli(['disarm', '--all', '--for', '10m', '--reason', 'incident', '--yes']);
    const { codes, status } = await look();
    expect([codes, status]).toEqual([
      [10, 10],
      expect.stringMatching(/^! DISARMED: the whole cluster for 10m .*: incident$/m),
    ]);
  });
});

describe('nodes that cannot enforce runtime policies', () => {
  const runtime = sampleRuntimeStatus();
  const lacks = 'the kernel runs no BPF-LSM programs (EPERM)';

  it.each([
    ['its kernel runs no BPF-LSM programs', { state: 'unavailable', reason: lacks }, /not in force: LSM unavailable/],
    ['its kernel lacks a hook', { missingHooks: ['lsm/userns_create'] }, /lacks hooks of runtime policies/],
  ] as const)(
    '%s - both commands say that a policy in enforce is not enforced; control: without a policy, and with all hooks, both say ok',
    async (_, part, text) => {
      const able = { ...runtime, ...part } as RuntimeStatus;
      for (const node of [NODE_A, NODE_B]) await world.status(healthyStatus(node, { runtime: able }));
      expect((await look()).codes).toEqual([0, 0]);
      const rule = { name: 'shell', action: 'block', execute: { paths: ['/bin/sh'] } };
      await world.put('bailiff_config', 'runtime.cluster._.no-shell', { revision: 1, mode: 'enforce', rules: [rule] });
      const { codes, status, doctor, json } = await look();
      expect(codes).toEqual([10, 10]);
      expect(status).toMatch(/^node-a +partial/m);
      for (const shown of [status, doctor]) expect(shown).toMatch(text);
      for (const shown of [status, doctor]) expect(shown).toMatch(/what is denied (there )?by no-shell/);
      expect(json).toMatchObject({ ok: false, enforcement: { policies: { enforce: ['no-shell'] } } });
      for (const node of [NODE_A, NODE_B]) await world.status(healthyStatus(node, { runtime }));
      expect((await look()).codes).toEqual([0, 0]);
    },
  );
});

describe('doctor and status agree', () => {
  it('nodes - silent ones, and one that refuses a policy', async () => {
    const configRefused = [{ key: 'runtime.cluster._.a', reason: 'too many rules' }];
    await world.status(healthyStatus(NODE_A, { configRefused }));
    const { codes, status, doctor } = await look();
    expect(codes).toEqual([6, 6]);
    for (const text of [status, doctor])
      expect(text).toMatch(/node-a: refuses runtime\.cluster\._\.a, .*too many rules/);
    const silent = await waitFor(
      async () => {
        const shown = await world.cli(['status', '--stale-after', '1s']);
        return /✗ .*node-b\.example: silent for \ds/.test(shown.stdout) && shown;
      },
      { what: 'the nodes to be silent' },
    );
    expect(silent.exitCode).toBe(7);
  });

  it('dead letters - are named by node, reason and number', async () => {
    const bus = await world.as('correlator');
    const subject = violationSubject(NODE_A, 'spoof');
    for (let sequence = 1; sequence <= 7; sequence += 1) {
      const letter = { stream: 'VIOLATIONS', reason: 'foreign-pod', detail: 'd', data: Buffer.from('x') };
      await deadLetter(bus, { ...letter, sequence, subject });
    }
    const { codes, status, doctor, json } = await look();
    expect(codes).toEqual([0, 0]);
    const line = /! .*node-a: 7 messages of VIOLATIONS could not be processed in the last hour: foreign-pod/;
    expect([status, doctor]).toEqual([expect.stringMatching(line), expect.stringMatching(line)]);
    expect(json.deadLetters.counts).toMatchObject([{ node: NODE_A, reason: 'foreign-pod', count: 7 }]);
  });
});

describe('certificates', () => {
  const directory = temporaryDirectory();
  const file = (name: string) => path.join(directory, name);
  const x509Time = (ms: number) => `${new Date(ms).toISOString().replace(/\D/g, '').slice(0, 14)}Z`;
  const tls = { certFile: file('tls.crt'), keyFile: file('tls.key'), caFile: file('ca.crt') };
  beforeAll(async () => {
    const authority = await makeAuthority();
    writeFileSync(tls.caFile, authority.certificate);
    writeFileSync(file('ca.key'), authority.key, { mode: 0o600 });
    writeFileSync(file('password'), 'password-of-cli', { mode: 0o600 });
  });

  /** A server certificate for a year that ends in so many days. */
  function install(days: number): void {
    const words = ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'];
    const [from, to] = [days - 365, days].map((day) => x509Time(Date.now() + day * 86_400_000));
    const life = ['-not_before', from as string, '-not_after', to as string];
    const names = ['-subj', '/CN=nats', '-addext', 'subjectAltName=IP:127.0.0.1,DNS:localhost'];
    const by = ['-addext', 'basicConstraints=critical,CA:FALSE', '-CA', tls.caFile, '-CAkey', file('ca.key')];
    execFileSync('openssl', [...words, ...life, ...names, ...by, '-keyout', tls.keyFile, '-out', tls.certFile], {
      stdio: 'pipe',
    });
  }

  it('a server whose certificate ends in 365, 29 and 2 days - nothing, a warning, a failure; after a renewal nothing again', async () => {
    install(365);
    await using nats = await startNats({ tls });
    const admin = await nats.connect('admin', { tls: { caFile: tls.caFile } });
    await ensureTopology(admin);
    const who = ['--nats-url', nats.url, '--nats-password-file', file('password'), '--nats-ca-file', tls.caFile];
    const both = () =>
      Promise.all([['status'], ['doctor', '--only', 'bus']].map((words) => runCli([...words, ...who])));
    const renewed = async (days: number) => {
      install(days);
      await nats.reload({});
      return (await both()).map(({ stdout }) => stdout);
    };
    const [, doctor] = await both();
    expect(doctor?.stdout).toMatch(/✓ certificates: server certificate for 36[45]d.*, certificate authority for \d+d/);
    for (const text of await renewed(29)) expect(text).toMatch(/! .*bus: its server certificate ends in 28d 23h/);
    for (const text of await renewed(2)) expect(text).toMatch(/✗ .*bus: its server certificate ends in 1d 23h/);
    for (const text of await renewed(365)) expect(text).not.toMatch(/certificate ends/);
  });
});

it('one of three servers is lost - status and doctor wait for the election of a leader', async () => {
  await using servers = await startThree();
  const { first, second, third } = servers;
  const bus = ['--nats-url', first.url, '--nats-password-file', world.passwordFile, '--timeout', '10s'];
  const both = () => Promise.all([['status'], ['doctor', '--only', 'bus']].map((words) => runCli([...words, ...bus])));
  // Whichever of them leads.
  for (const server of [second, third]) {
    await server.kill();
    for (const { stdout, stderr } of await both()) {
      expect(stdout).toMatch(/no node has ever reported/);
      expect(stdout + stderr).not.toMatch(/no response within|unavailable|has no [A-Z]/);
    }
    await server.restart();
    await waitFor(async () => (await both()).every(({ stdout }) => !stdout.includes('has not followed')), {
      what: 'the server to follow',
      timeoutMs: 60_000,
    });
  }
}, 240_000);

it('two of three servers are lost - the last one answers, and status says that it stores nothing, until one is back', async () => {
  await using servers = await startThree();
  const { first, second, third } = servers;
  const bus = ['--nats-url', first.url, '--nats-password-file', world.passwordFile, '--timeout', '2s'];
  const saysNoLeader = async () => {
    const [status, doctor] = await Promise.all([
      runCli(['status', ...bus]),
      runCli(['doctor', '--only', 'bus', ...bus]),
    ]);
    return [status.stdout, doctor.stdout].map((text) =>
      /\d+ streams \(.*\) have no leader and store nothing/.test(text),
    );
  };
  expect(await saysNoLeader()).toEqual([false, false]);
  await Promise.all([second.kill(), third.kill()]);
  const until = (expected: boolean) =>
    waitFor(async () => (await saysNoLeader()).every((one) => one === expected), {
      what: `a status ${expected ? 'without' : 'with'} leaders`,
      timeoutMs: 90_000,
      state: async () => (await runCli(['status', ...bus])).stdout,
    });
  await until(true);
  await second.restart();
  await until(false);
}, 240_000);
