// A program of the pod that sends frames past the programs of a netkit pair (bpf_redirect_peer): they are
// dropped and counted. Without the program that finds them they land, which is the control, and the
// counters of interface and programs differ by their number, although GRO is on. Needs Linux 6.7.
import { mkdirSync, rmdirSync, unlinkSync } from 'node:fs';
import path from 'node:path';
import type { LinkRecord } from '@bailiff/bpf';
import { ETHERTYPE, ethernet, ipv4, PROTOCOL, udp } from '@bailiff/lab/frames';
import { waitFor } from '@bailiff/service/testing';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { Agent } from './harness/guard.ts';
import { ATTACKER, FrameSender, type Guarded, NODE, noNetkit, TestNode, ZERO_MAC } from './harness/node.ts';
import { command, commandIn, foreignObject } from './harness/processes.ts';

const FRAMES = 20;
const FORGED = '10.77.0.99';
const PORT = 4444;
const why = noNetkit();

let node: TestNode;
let inPod: Agent;
let sender: FrameSender;
beforeAll(async () => {
  if (why !== '') return;
  node = await TestNode.start({ stacks: true });
  await node.open();
  await node.agent.call('own.bindUdp', PORT);
});
afterAll(async () => {
  await inPod?.close();
  await node?.[Symbol.asyncDispose]();
});

const ifindexOf = async (netns: string, device: string): Promise<number> =>
  JSON.parse(await command('ip', '-n', netns, '-j', 'link', 'show', device))[0].ifindex;

describe.each([
  ['l2', ATTACKER.mac],
  ['l3', ZERO_MAC],
] as const)('netkit in mode %s', (mode, mac) => {
  let guarded: Guarded;
  let texts = 0;
  beforeAll(async () => {
    if (why !== '') return;
    await node.useNetkit(mode);
    const { netns } = node.pods.attacker;
    // `in0` receives what the pod sends to `out0`. Without IPv6 the pod's kernel sends nothing by itself.
    const inside = [
      `ip link show in0 >/dev/null 2>&1 || ip link add in0 address ${NODE.mac} type veth peer name out0`,
      'sysctl -qw net.ipv6.conf.eth0.disable_ipv6=1 net.ipv6.conf.in0.disable_ipv6=1 net.ipv6.conf.out0.disable_ipv6=1',
      'ip link set in0 up',
      'ip link set out0 up',
    ];
    await commandIn(netns, 'sh', '-ec', inside.join('\n'));
    inPod ??= await Agent.start(netns);
    sender = new FrameSender(netns, ['send', 'out0']);
    guarded = await node.guard(node.pods.attacker);
  });
  afterAll(async () => {
    await sender?.[Symbol.asyncDispose]();
    await guarded?.[Symbol.asyncDispose]();
  });
  beforeEach((context) => {
    if (why !== '') context.skip(why);
  });

  const frame = (source: string, text: string, destination: string) => {
    const parties = { source, destination: NODE.ipv4 };
    const datagram = udp(4000, PORT, Buffer.from(text), parties);
    return ethernet(
      { source: mac, destination, type: ETHERTYPE.ipv4 },
      ipv4({ ...parties, protocol: PROTOCOL.udp }, datagram),
    );
  };
  /** Datagrams that the node's socket received with this text, after all that were sent before. */
  const landed = async (text: string): Promise<number> => {
    const fence = `fence ${mode} ${++texts}`;
    await node.send(frame(ATTACKER.ipv4, fence, mode === 'l2' ? NODE.mac : ZERO_MAC));
    const received = () => node.agent.call<string[]>('own.datagrams');
    return (await waitFor(received, { what: fence, until: (all) => all.includes(fence) })).filter((t) => t === text)
      .length;
  };
  /** A program at `in0` sends forged frames past eth0. @returns how many of them land */
  const redirect = async (): Promise<number> => {
    const { netns } = node.pods.attacker;
    const text = `redirected ${mode} ${++texts}`;
    const words = ['ingress', 'head', 'redirect_peer', await ifindexOf(netns, 'eth0')];
    const attached = await inPod.call<number>(
      'own.attachForeign',
      foreignObject(),
      await ifindexOf(netns, 'in0'),
      ...words,
    );
    // The host side keeps the packet's type, which `in0` derives from the MAC.
    await sender.send(frame(FORGED, text, NODE.mac), FRAMES);
    await waitFor(() => inPod.call<bigint>('own.counted', attached), {
      what: 'every frame in the program',
      until: (count) => count >= BigInt(FRAMES),
    });
    await inPod.call('own.detachForeign');
    return landed(text);
  };
  /** Frames that the interface received and no program judged, as the collector compares them. */
  const unjudged = async (): Promise<number> => {
    const { ifindex, slot } = node.pods.attacker;
    const judged = Number(await node.agent.call<bigint>('object.maps.seen', slot));
    const link = await node.agent.call<LinkRecord>('bpf.getLink', ifindex);
    const dropped = Object.entries(await guarded.counts()).filter(
      ([name]) => name.endsWith(' drop') && !/^(guard-bypass|quarantine-egress|provocation) /.test(name),
    );
    return dropped.reduce((sum, [, frames]) => sum + frames, link.rxPackets ?? 0) - judged;
  };
  const drops = async (vector: string) => (await guarded.counts())[`${vector} drop`] ?? 0;

  it('redirected frames land without the program that finds them, as the difference of the counters; with it they are dropped and counted', async () => {
    expect(await node.agent.call('bpf.isGroOn', node.pods.attacker.hostInterface)).toBe(true);
    const pin = path.join(node.pinDir, 'programs/note_peer-link');
    unlinkSync(pin);
    mkdirSync(pin); // nothing attaches it again
    const passes = async () => (await redirect()) === FRAMES;
    await waitFor(passes, { what: 'the program is detached, which the kernel does later' });
    const base = await unjudged();
    const before = await drops('guard-bypass');
    expect(await redirect()).toBe(FRAMES);
    await waitFor(unjudged, { what: 'the difference', until: (frames) => frames === base + FRAMES });
    rmdirSync(pin);
    expect(await node.agent.call('object.restoreNotes')).toBe(true);
    expect([await redirect(), await drops('guard-bypass')]).toEqual([0, before + FRAMES]);
  });
});
