// A netkit pair that an older version guards with two programs, without those that find redirections past
// the guard: the next collector attaches them, and reports what passed before. Needs Linux 6.7.
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, unlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { openPinnedMaps } from '@bailiff/bpf';
import { writeCacheRecord } from '@bailiff/lab/node';
import { waitFor } from '@bailiff/service/testing';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { nodeArgs } from '../../tools/children.ts';
import { launch, type RunningProcess } from '../support/process.ts';
import { ATTACKER, noNetkit, TestNode, ZERO_MAC } from './harness/node.ts';
import { FRAMES, RedirectingPod } from './harness/redirecting-pod.ts';

const why = noNetkit();
const FLOOD = 2_000;
/** A collector starts within it in an emulated machine. */
const START_MS = 120_000;

const stateDir = mkdtempSync(path.join(tmpdir(), 'bailiff-state-'));
let node: TestNode;
let pod: RedirectingPod;
beforeAll(async () => {
  if (why !== '') return;
  node = await TestNode.start({ stacks: true });
  await RedirectingPod.listen(node);
  pod = await RedirectingPod.start(node, 'l3');
  const { hostInterface, netns } = node.pods.attacker;
  const attachment = {
    ...{ conf: { cniVersion: '1.0.0', name: 'pods', plugins: [] }, ifName: 'eth0', containerId: 'c1' },
    ...{ podUid: 'uid-1', podNamespace: 'shop', podName: 'web-1', podAnnotations: {}, cgroupParent: '/kubepods/pod1' },
  };
  const sides = [
    { name: hostInterface, mac: ZERO_MAC },
    { name: 'eth0', mac: ZERO_MAC, sandbox: `/run/netns/${netns}` },
  ];
  const ips = [ATTACKER.ipv4, ATTACKER.ipv6].map((address) => ({ address: `${address}/64`, interface: 1 }));
  await writeCacheRecord(stateDir, attachment, { cniVersion: '1.0.0', interfaces: sides, ips });
});
afterAll(async () => {
  await pod?.[Symbol.asyncDispose]();
  await node?.[Symbol.asyncDispose]();
  rmSync(stateDir, { recursive: true });
});

function startCollector(): RunningProcess {
  const flags = {
    ...{ 'node-name': 'node-a', 'nats-url': 'nats://127.0.0.1:1', runtime: 'off', 'metrics-address': '127.0.0.1:0' },
    ...{ 'bpf-dir': node.pinDir, 'state-dir': stateDir, 'cni-results-dir': stateDir },
    ...{ 'cgroup-root': '/proc/nonexistent', 'sweep-interval-ms': '250', 'unknown-grace-ms': '0' },
  };
  const args = Object.entries(flags).flatMap(([name, value]) => [`--${name}`, value]);
  const program = [process.execPath, ...nodeArgs('apps/collector/src/main.ts')];
  return launch('nsenter', [`--net=/run/netns/${node.netns}`, ...program, ...args]);
}

/** What the collector has stored of the interface. */
function stored(): { generation: number; conservationBase: number | null; binding: object | null; unjudged: number } {
  const boot = readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();
  const dir = path.join(stateDir, boot);
  const { ifindex } = node.pods.attacker;
  const name = existsSync(dir) ? readdirSync(dir).find((file) => file.startsWith(`${ifindex}-`)) : undefined;
  if (name === undefined) return { generation: 0, conservationBase: null, binding: null, unjudged: 0 };
  const one = JSON.parse(readFileSync(path.join(dir, name), 'utf8'));
  const { generation, conservationBase, binding, occurrences } = one;
  return { generation, conservationBase, binding, unjudged: occurrences['unjudged/provisional'] ?? 0 };
}

/** Directions of the pins of its links. */
const pinned = (): string[] =>
  readdirSync(path.join(node.pinDir, 'links'))
    .map((name) => new RegExp(`^link-${node.pods.attacker.ifindex}-\\d+-(.*)$`).exec(name)?.[1] ?? '')
    .filter((direction) => direction !== '')
    .sort();

const bypassed = (): number => {
  using open = openPinnedMaps(node.pinDir);
  const { ifindex } = node.pods.attacker;
  const cells = open?.maps.counters.read({ ifindex, generation: stored().generation }) ?? [];
  return cells.reduce((sum, { vector, packets }) => sum + (vector === 'guard-bypass' ? Number(packets) : 0), 0);
};

it('upgrade - a collector attaches the third program to a pair that has two, and reports the frames that passed until then', {
  timeout: 4 * START_MS,
}, async (context) => {
  if (why !== '') context.skip(why);
  await using older = startCollector();
  await waitFor(stored, {
    what: 'a bound interface whose frames are compared',
    timeoutMs: START_MS,
    until: ({ binding, conservationBase }) => binding !== null && conservationBase !== null,
    state: () => [stored(), older.out()],
  });
  await older.kill();
  expect(pinned()).toEqual(['in', 'out', 'redirected']);
  expect([await pod.redirect(), bypassed()], 'the pins are in force without a process').toEqual([0, FRAMES]);

  // An older version leaves none of these.
  for (const name of readdirSync(path.join(node.pinDir, 'links')).filter((one) => one.endsWith('-redirected')))
    unlinkSync(path.join(node.pinDir, 'links', name));
  for (const name of ['programs/note_peer-link', 'programs/spoof_redirected', 'maps/redirections'])
    unlinkSync(path.join(node.pinDir, name));
  let passed = 0;
  const landed = async () => {
    const frames = await pod.redirect();
    passed += frames;
    return frames;
  };
  await waitFor(landed, { what: 'control: they land', until: (frames) => frames === FRAMES });
  const before = bypassed();

  const flood = node.send(pod.frame('10.77.0.98', 'flood'), FLOOD);
  await using next = startCollector();
  await waitFor(pinned, {
    what: 'the third program',
    timeoutMs: START_MS,
    until: (all) => all.join() === 'in,out,redirected',
    state: () => next.out(),
  });
  await flood;
  await waitFor(() => stored().unjudged, {
    what: 'the frames that passed',
    until: (frames) => frames === passed,
    state: () => [passed, stored(), next.out()],
  });
  expect(await pod.landed('flood'), 'forged frames that were not redirected').toBe(0);
  expect([await pod.redirect(), bypassed() - before]).toEqual([0, FRAMES]);
});
