// Frames that a pod marks so that the host side of its veth does not judge them. An ifb device sends a
// redirected frame again with skb->tc_skip_classify, and needs CAP_NET_ADMIN alone. The program at the
// pod's end drops them; guards at the host side alone are the control of each row.
import type { StdioOptions } from 'node:child_process';
import { readdirSync, symlinkSync } from 'node:fs';
import path from 'node:path';
import type { PlacedAttachment } from '@bailiff/bpf';
import { arp, ETHERTYPE, ethernet, icmp, ipv4, ipv6, PROTOCOL, udp, vxlan } from '@bailiff/lab/frames';
import { waitFor } from '@bailiff/service/testing';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { ensureProgram, POD_ENDS } from '../../cni/build.ts';
import { directly, throughIfb } from '../support/ifb.ts';
import { launch } from '../support/process.ts';
import { datagram, FORGED, innerFrame, lsrr, own, packet } from './harness/ipv4.ts';
import { advertise, FORGED_MAC, message, RA, sourceMac } from './harness/nd.ts';
import { ATTACKER, allModes, FrameSender, type Guarded, NODE, RECEIVER, TestNode } from './harness/node.ts';
import { command, commandIn, holdHelper } from './harness/processes.ts';

const TIMES = 3;
/** The kernel allows 64 KiB of them. */
const ALTERNATIVE_NAMES = 450;
/** Network namespaces of another pod, twice as many as the program has descriptors. */
const NAMESPACES = 64;
const to = { destination: RECEIVER.mac, source: ATTACKER.mac };

/** One frame of each kind that a guard drops. */
const KINDS: Record<string, Buffer> = {
  'ipv4-source': packet({ source: FORGED }),
  'ipv6-source': ethernet(
    { ...to, type: ETHERTYPE.ipv6 },
    ipv6({ source: 'fd77::99', destination: RECEIVER.ipv6, next: PROTOCOL.udp }, udp(4000, 9)),
  ),
  'source-mac': ethernet(
    { ...to, source: FORGED_MAC, type: ETHERTYPE.ipv4 },
    ipv4({ ...own, protocol: PROTOCOL.udp }, udp(4000, 9)),
  ),
  'arp-sender': ethernet(
    { ...to, type: ETHERTYPE.arp },
    arp({ operation: 2, senderMac: ATTACKER.mac, sender: NODE.ipv4, target: RECEIVER.ipv4 }),
  ),
  'nd-target': advertise(NODE.ipv6),
  'router-advert': message({ type: RA, body: Buffer.concat([Buffer.alloc(12), sourceMac()]) }),
  redirect: packet({ protocol: PROTOCOL.icmp }, icmp(5)),
  'dhcp-server': packet({}, udp(67, 68)),
  'source-route': packet({ options: lsrr }),
  malformed: packet({ version: 5 }),
  tunnel: packet({ destination: NODE.ipv4 }, udp(4000, 4789, vxlan(innerFrame))),
  ethertype: ethernet({ ...to, type: 0x88b5 }, Buffer.alloc(50)),
};

describe('guard bypass', () => {
  let node: TestNode;
  /** Why this kernel cannot run these tests; empty: it can. */
  let lacks = '';
  const inPod = (...lines: string[]) => commandIn(node.pods.attacker.netns, 'sh', '-ec', lines.join('\n'));
  beforeAll(async () => {
    node = await TestNode.start();
    const { podEnd } = await node.open();
    if (!podEnd.available) lacks = `the feature guard-bypass: ${podEnd.hint}`;
    await inPod('ip link add ifb9 type ifb', 'ip link del ifb9').catch((error: Error) => {
      lacks = `ifb: ${error.message}`;
    });
    await node.agent.call('object.maps.nodeAddresses.replace', [{ address: NODE.ipv4, thisNode: true }]);
    await node.agent.call('object.maps.tunnelPorts.replace', [{ port: 4789, kind: 'vxlan' }]);
  });
  beforeEach((context) => {
    if (lacks !== '') context.skip(`optional: this kernel lacks ${lacks}`);
  });
  afterEach(() => inPod('tc qdisc del dev eth0 clsact 2>/dev/null || true', 'ip link del ifb9 2>/dev/null || true'));
  afterAll(() => node?.[Symbol.asyncDispose]());

  /** Sends through an ifb device and returns how many frames landed. Ordinary frames land afterwards. */
  async function landThroughIfb(frames: readonly Buffer[]): Promise<number> {
    node.forgetLanded();
    await inPod(...throughIfb('eth0'));
    for (const frame of frames) await node.send(frame, TIMES);
    // A device that is deleted drops what it has queued.
    await waitFor(() => commandIn(node.pods.attacker.netns, 'ip', '-s', '-j', 'link', 'show', 'ifb9'), {
      what: 'ifb to send',
      until: (text) => {
        const [{ stats64 }] = JSON.parse(text) as [{ stats64: { tx: { packets: number } } }];
        return stats64.tx.packets >= frames.length * TIMES;
      },
    });
    await inPod(...directly('eth0'));
    await node.fence();
    return frames.reduce((sum, frame) => sum + node.landed(frame), 0);
  }

  const bypassed = (counts: Awaited<ReturnType<Guarded['counts']>>) => counts['guard-bypass drop'] ?? 0;

  it.each(Object.entries(KINDS))('%s', async (vector, frame) => {
    await using guarded = await node.guard(node.pods.attacker);
    await node.send(frame, TIMES);
    await node.fence();
    expect([node.landed(frame), await guarded.counts()], 'sent directly').toEqual([0, { [`${vector} drop`]: TIMES }]);
    expect(await landThroughIfb([frame]), 'control: it lands beside the guard at the host side').toBe(TIMES);
    expect(await guarded.counts(), 'and is not counted').toEqual({ [`${vector} drop`]: TIMES });

    await node.guardPodEnds();
    expect(await landThroughIfb([frame])).toBe(0);
    expect(await guarded.counts()).toEqual({ [`${vector} drop`]: TIMES, 'guard-bypass drop': TIMES });
  });

  it('a frame of the pod under its own identity is dropped too, because nothing judges it, and passes directly', async () => {
    const plain = datagram(ATTACKER.ipv4);
    await using guarded = await node.guard(node.pods.attacker);
    await node.guardPodEnds();
    expect(await landThroughIfb([plain])).toBe(0);
    expect(await guarded.counts()).toEqual({ 'guard-bypass drop': TIMES });
    await node.send(plain, TIMES);
    await node.fence();
    expect(node.landed(plain)).toBe(TIMES);
    const [sample] = await guarded.samples();
    expect(sample).toMatchObject({
      vector: 'guard-bypass',
      action: 'drop',
      egress: false,
      ifindex: node.pods.attacker.ifindex,
      claimedAddress: ATTACKER.ipv4,
      destinationAddress: RECEIVER.ipv4,
    });
    expect(sample!.head).toEqual(plain.subarray(0, 64));
  });

  it('mode audit - it is counted and lands; break-glass likewise', async () => {
    const modes = allModes('enforce', { 'guard-bypass': 'audit' });
    await using guarded = await node.guard(node.pods.attacker, { modes });
    await node.guardPodEnds();
    expect(await landThroughIfb([KINDS['ipv4-source']!])).toBe(TIMES);
    expect(await guarded.counts()).toEqual({ 'guard-bypass audit': TIMES });
    await guarded.update({ modes: allModes('enforce'), auditUntilNs: 2n ** 63n });
    expect(await landThroughIfb([KINDS['ipv4-source']!])).toBe(TIMES);
    expect(await guarded.counts()).toEqual({ 'guard-bypass audit': 2 * TIMES });
  });

  it('quarantine and unknown interfaces - what is dropped at the host side is dropped here, in any mode', async () => {
    const modes = allModes('enforce', { 'guard-bypass': 'off' });
    const plain = datagram(ATTACKER.ipv4);
    await using guarded = await node.guard(node.pods.attacker, { modes });
    await node.guardPodEnds();
    expect(await landThroughIfb([plain]), 'control: off').toBe(TIMES);
    await guarded.update({ modes, quarantineUntilNs: 2n ** 64n - 1n });
    await inPod(...throughIfb('eth0'));
    await node.send(plain, TIMES);
    await guarded.counted({ 'quarantine-ingress drop': TIMES });
    await guarded.update({ modes, state: 'unknown' });
    const settings = await node.agent.call<object>('object.maps.settings');
    await node.agent.call('object.maps.setSettings', { ...settings, unknownMode: 'enforce' });
    await node.send(plain, TIMES);
    await guarded.counted({ 'quarantine-ingress drop': TIMES, 'unknown-interface drop': TIMES });
    await node.agent.call('object.maps.setSettings', settings);
  });

  it('without a record - as at the host side: unknownMode decides, and the loss is counted', async () => {
    const guarded = await node.guard(node.pods.attacker);
    await node.guardPodEnds();
    const lost = async () => Number((await node.agent.call<Record<string, bigint>>('object.maps.losses'))['no-iface']);
    await node.agent.call('object.maps.ifaces.delete', node.pods.attacker.ifindex);
    const before = await lost();
    expect(await landThroughIfb([KINDS['ipv4-source']!])).toBe(TIMES);
    expect(await lost()).toBeGreaterThanOrEqual(before + TIMES);
    await guarded[Symbol.asyncDispose]();
  });

  it('renamed interface, and one that was moved to another namespace', async () => {
    const { netns } = node.pods.attacker;
    await using guarded = await node.guard(node.pods.attacker);
    await node.guardPodEnds();
    const frame = KINDS['ipv4-source']!;
    const nested = `${netns}x`;
    await node.closeSender();
    node.forgetLanded();
    await command('ip', 'netns', 'add', nested);
    try {
      // Its kernel sends nothing itself.
      await commandIn(nested, 'sysctl', '-qw', ...['all', 'default'].map((of) => `net.ipv6.conf.${of}.disable_ipv6=1`));
      await inPod('ip link set eth0 down', 'ip link set eth0 name other0', `ip link set other0 netns ${nested}`);
      await commandIn(nested, 'sh', '-ec', ['ip link set other0 up', ...throughIfb('other0')].join('\n'));
      await using sender = new FrameSender(nested, ['send', 'other0']);
      await sender.send(frame, TIMES);
      await guarded.counted({ 'guard-bypass drop': TIMES });
      expect(node.landed(frame)).toBe(0);
    } finally {
      const back = ['ip link del ifb9', 'tc qdisc del dev other0 clsact', 'ip link set other0 down'];
      await commandIn(nested, 'sh', '-ec', [...back, 'ip link set other0 name eth0'].join('\n'));
      await commandIn(nested, 'ip', 'link', 'set', 'eth0', 'netns', netns);
      await inPod(`ip link set eth0 address ${ATTACKER.mac} up`);
      await command('ip', 'netns', 'del', nested);
      node.openSender();
    }
  });

  it('the pod cannot detach it: qdiscs and filters of its own end are others', async () => {
    await using guarded = await node.guard(node.pods.attacker);
    await node.guardPodEnds();
    await inPod('tc qdisc add dev eth0 clsact', 'tc qdisc del dev eth0 clsact', 'tc qdisc del dev eth0 root || true');
    expect(await landThroughIfb([KINDS['ipv4-source']!])).toBe(0);
    expect(bypassed(await guarded.counts())).toBe(TIMES);
  });

  it('a killed process leaves it, the next one replaces its program, and detachAll removes it', async () => {
    const guarded = await node.guard(node.pods.attacker);
    await node.guardPodEnds();
    const end = async () =>
      (await node.agent.call<PlacedAttachment[]>('object.verify')).find(({ direction }) => direction === 'pod-end');
    expect(await end()).toMatchObject({ ...guarded.key, mode: 'tcx', place: 'head' });
    await node.restartAgent();
    expect(await landThroughIfb([KINDS['ipv4-source']!])).toBe(0);
    expect(await node.open()).toMatchObject({ reused: true, updatedLinks: 3 });
    expect(await landThroughIfb([KINDS['ipv4-source']!])).toBe(0);
    expect(bypassed(await guarded.counts())).toBe(2 * TIMES);

    const rows = () => readdirSync(path.join(node.pinDir, 'links')).filter((name) => name.endsWith('pod-end'));
    expect(rows()).toHaveLength(1);
    await node.agent.call('object.detach', guarded.key);
    expect(rows()).toHaveLength(0);
    expect(await landThroughIfb([KINDS['ipv4-source']!]), 'control: it is detached').toBe(TIMES);
    await guarded[Symbol.asyncDispose]();
  });

  it('bailiff-pod-ends - an end that it cannot reach is named, and exit code 1', async () => {
    await using guarded = await node.guard(node.pods.attacker);
    const once = (...args: string[]) =>
      commandIn(node.netns, ensureProgram(POD_ENDS), '--pins', node.pinDir, '--once', ...args).then(
        () => ({ code: 0, stderr: '' }),
        ({ code, stderr }: { code: number; stderr: string }) => ({ code, stderr }),
      );
    // The namespace has no process, and without the directory no name.
    await node.closeSender();
    expect(await once('--netns-dir', '/nowhere')).toEqual({
      code: 1,
      stderr: `bailiff-pod-ends: interface ${guarded.key.ifindex}: no process and no file names the network namespace of its other end\n`,
    });
    node.openSender();
    expect(await once('--netns-dir', '/nowhere'), 'by a process').toEqual({ code: 0, stderr: '' });
    expect(await once()).toEqual({ code: 0, stderr: '' });
  });

  it('bailiff-pod-ends - an end with the longest list of alternative names is reached', async () => {
    await using guarded = await node.guard(node.pods.attacker);
    const names = Array.from({ length: ALTERNATIVE_NAMES }, (_, i) => `${i}`.padStart(120, 'x'));
    const each = (verb: string) => {
      const lines = names.map((name) => `link property ${verb} dev eth0 altname ${name}`);
      return inPod("ip -batch - <<'END'", ...lines, 'END');
    };
    await each('add');
    try {
      const args = ['--pins', node.pinDir, '--once'];
      await commandIn(node.netns, ensureProgram(POD_ENDS), ...args);
      expect(await landThroughIfb([KINDS['ipv4-source']!])).toBe(0);
      expect(bypassed(await guarded.counts())).toBe(TIMES);
    } finally {
      await each('del');
    }
  });

  it('bailiff-pod-ends - a pod that exchanges its end for another link meanwhile is tried again', async () => {
    const { netns } = node.pods.attacker;
    const nested = `${netns}x`;
    await using guarded = await node.guard(node.pods.attacker);
    const [index] = (await inPod('ip -o link show eth0')).split(':');
    await node.closeSender();
    await command('ip', 'netns', 'add', nested);
    try {
      // Its first call opens the program, its second attaches it.
      const args = [holdHelper(), '2', ensureProgram(POD_ENDS), '--pins', node.pinDir, '--once'];
      const stdio: StdioOptions = ['pipe', 'pipe', 'pipe'];
      await using once = launch('nsenter', [`--net=/run/netns/${node.netns}`, ...args], { stdio });
      await once.printed('held');
      await inPod(`ip link set eth0 netns ${nested}`, `ip link add other0 index ${index} type bridge`);
      once.child.stdin!.end();
      expect([(await once.exit)[0], once.stderr()]).toEqual([
        1,
        `bailiff-pod-ends: interface ${guarded.key.ifindex}: its other end was moved while the program was attached\n`,
      ]);
    } finally {
      await inPod('ip link del other0');
      await commandIn(nested, 'ip', 'link', 'set', 'eth0', 'netns', netns);
      await inPod(`ip link set eth0 address ${ATTACKER.mac} up`);
      await command('ip', 'netns', 'del', nested);
      node.openSender();
    }
    expect(await landThroughIfb([KINDS['ipv4-source']!]), 'control: without the program they land').toBe(TIMES);
    await node.guardPodEnds();
    expect(await landThroughIfb([KINDS['ipv4-source']!])).toBe(0);
    expect(await guarded.counts()).toEqual({ 'guard-bypass drop': TIMES });
  });

  it('bailiff-pod-ends - a pod that exchanges its end for another link, and takes it back, is tried again', async () => {
    const { netns } = node.pods.attacker;
    const nested = `${netns}x`;
    await using guarded = await node.guard(node.pods.attacker);
    const [index] = (await inPod('ip -o link show eth0')).split(':');
    await node.closeSender();
    await command('ip', 'netns', 'add', nested);
    /** Calls of bpf() that are held, and how it ended. */
    const tryOnce = async (exchanges: boolean) => {
      const args = [holdHelper(), '2', ensureProgram(POD_ENDS), '--pins', node.pinDir, '--once'];
      const stdio: StdioOptions = ['pipe', 'pipe', 'pipe'];
      await using once = launch('nsenter', [`--net=/run/netns/${node.netns}`, ...args], { stdio });
      const held = (times: number) =>
        waitFor(() => once.out().split('held').length > times, { what: `call ${times + 1}` });
      await held(1);
      if (exchanges) await inPod(`ip link set eth0 netns ${nested}`, `ip link add other0 index ${index} type bridge`);
      once.child.stdin!.write('\n');
      // The program is attached, and not pinned.
      await held(2);
      if (exchanges) await inPod('ip link del other0');
      if (exchanges) await commandIn(nested, 'ip', 'link', 'set', 'eth0', 'netns', netns);
      once.child.stdin!.end();
      const [code] = await once.exit;
      return [code, once.stderr(), once.out().split('held').length - 1];
    };
    try {
      expect(await tryOnce(true)).toEqual([
        1,
        `bailiff-pod-ends: interface ${guarded.key.ifindex}: its other end was moved while the program was attached\n`,
        // It never pins the other link, so it leaves no such pin if it is killed.
        2,
      ]);
      expect(await tryOnce(false), 'control: the pod does nothing, and the link is pinned').toEqual([0, '', 4]);
    } finally {
      await inPod('ip link del other0 2>/dev/null || true', `ip link set eth0 address ${ATTACKER.mac} up`);
      await command('ip', 'netns', 'del', nested);
      node.openSender();
    }
    expect(await landThroughIfb([KINDS['ipv4-source']!])).toBe(0);
    expect(await guarded.counts()).toEqual({ 'guard-bypass drop': TIMES });
  });

  it('bailiff-pod-ends - a pin that holds no link at the end is replaced', async () => {
    await using guarded = await node.guard(node.pods.attacker);
    const links = path.join(node.pinDir, 'links');
    const name = `link-${guarded.key.ifindex}-${guarded.key.generation}-pod-end`;
    // Its third call pins the link.
    const args = [holdHelper(), '3', ensureProgram(POD_ENDS), '--pins', node.pinDir, '--once'];
    const stdio: StdioOptions = ['pipe', 'pipe', 'pipe'];
    await using once = launch('nsenter', [`--net=/run/netns/${node.netns}`, ...args], { stdio });
    await once.printed('held');
    symlinkSync(path.join(links, name.replace('pod-end', 'in')), path.join(links, name));
    once.child.stdin!.end();
    expect([(await once.exit)[0], once.stderr()]).toEqual([0, '']);
    expect(await landThroughIfb([KINDS['ipv4-source']!])).toBe(0);
    expect(await guarded.counts()).toEqual({ 'guard-bypass drop': TIMES });
  });

  it('bailiff-pod-ends - namespaces that other pods create do not keep it from an end', async () => {
    await using _guarded = await node.guard(node.pods.attacker);
    // Older processes are listed first, as those of a pod before the ones of a later pod.
    await node.closeSender();
    const create = `for i in $(seq ${NAMESPACES}); do unshare --net sh -c 'echo created; exec sleep 600' & done; wait`;
    await using others = launch('unshare', ['--pid', '--fork', '--kill-child', 'sh', '-c', create]);
    await waitFor(() => others.out().split('created').length - 1, {
      what: 'the namespaces',
      until: (count) => count === NAMESPACES,
      timeoutMs: 30_000,
    });
    node.openSender();
    const args = ['--pins', node.pinDir, '--once', '--netns-dir', '/nowhere'];
    await commandIn(node.netns, 'prlimit', `--nofile=${NAMESPACES / 2}`, ensureProgram(POD_ENDS), ...args);
  });

  it('clsact - the frames land, and the missing feature is named with a remedy', async () => {
    await node.reset();
    const { podEnd } = await node.open({ mode: 'clsact' });
    expect(podEnd).toMatchObject({
      feature: 'guard-bypass',
      available: false,
      hint: expect.stringMatching(/6\.6.*ifb/),
    });
    const guarded = await node.guard(node.pods.attacker);
    await node.guardPodEnds();
    const programs = readdirSync(path.join(node.pinDir, 'programs'));
    expect(programs).toEqual(expect.arrayContaining(['spoof_egress', 'spoof_ingress']));
    expect(programs, 'a kernel with netkit has others').not.toContain('spoof_pod_end');
    expect(await landThroughIfb([KINDS['ipv4-source']!])).toBe(TIMES);
    expect(await guarded.counts()).toEqual({});
    await guarded[Symbol.asyncDispose]();
  });
});
