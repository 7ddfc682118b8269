// Packets that a device of the pod joined into one frame before they left the pod. Joined by list,
// each keeps its headers, of which only the first could be checked.
import path from 'node:path';
import { PROTOCOL, udp } from '@bailiff/lab/frames';
import { waitFor } from '@bailiff/service/testing';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { own, packet } from './harness/ipv4.ts';
import { FrameSender, TestNode } from './harness/node.ts';
import { command, commandIn } from './harness/processes.ts';

const COUNT = 5;
/** Longer than it takes to send the packets. */
const JOIN_NS = 200_000_000;
const TSO = ['', '-ecn', '-mangleid', '6', '-accecn'].map((kind) =>
  kind === '6' ? 'tx-tcp6-segmentation' : `tx-tcp${kind}-segmentation`,
);

/** Of one flow. The node numbers them again and fills in checksums, so they land with these payloads. */
const payloads = Array.from({ length: COUNT }, (_, i) => Buffer.alloc(64, i + 1));
const packets = payloads.map((payload) => packet({ protocol: PROTOCOL.udp }, udp(4000, 9, payload, own)));

describe('joined packets', () => {
  let node: TestNode;
  let sender: FrameSender;
  const features = (device: string, ...wanted: string[]) =>
    commandIn(
      node.pods.attacker.netns,
      'python3',
      path.join(import.meta.dirname, 'harness/features.py'),
      device,
      ...wanted,
    );

  beforeAll(async () => {
    node = await TestNode.start();
    await node.open();
    const { attacker, receiver } = node.pods;
    // What enters at v0 is joined at v1 and leaves by eth0.
    const inPod = [
      'ip link add v0 type veth peer name v1',
      'ip link set v0 up',
      'ip link set v1 up',
      'tc qdisc add dev v1 clsact',
      'tc filter add dev v1 ingress protocol all u32 match u32 0 0 action mirred egress redirect dev eth0',
    ];
    await commandIn(attacker.netns, 'sh', '-ec', inPod.join('\n'));
    // A veth joins packets of a sender that does not segment TCP.
    await features('v0', ...TSO.map((name) => `${name}=off`));
    const wait = `echo ${JOIN_NS} > /sys/class/net/v1/gro_flush_timeout`;
    await command('ip', 'netns', 'exec', attacker.netns, 'sh', '-ec', wait);
    // The node cuts them again on the way to the receiver.
    await commandIn(node.netns, 'ip', 'link', 'set', receiver.hostInterface, 'gso_max_segs', '1');
    sender = new FrameSender(attacker.netns, ['send', 'v0']);
  });
  afterAll(async () => {
    await sender?.[Symbol.asyncDispose]();
    await node?.[Symbol.asyncDispose]();
  });

  const send = async () => {
    node.forgetLanded();
    await Promise.all(packets.map((one) => sender.send(one)));
  };
  const landed = () => payloads.reduce((sum, one) => sum + node.landedEnding(one), 0);
  const untilLanded = () => waitFor(() => landed(), { what: 'all packets', until: (count) => count === COUNT });
  it('by list - they land unguarded, and are malformed', async () => {
    await features('v1', 'rx-gro=on', 'rx-gro-list=on', 'rx-udp-gro-forwarding=off');
    await send();
    await untilLanded();

    await using guarded = await node.guard(node.pods.attacker);
    await send();
    await guarded.counted({ 'malformed drop': COUNT });
    expect(landed()).toBe(0);
  });

  it('otherwise - they all have the headers that were checked, and land', async () => {
    await features('v1', 'rx-gro=on', 'rx-gro-list=off', 'rx-udp-gro-forwarding=on');
    await using guarded = await node.guard(node.pods.attacker);
    await send();
    await untilLanded();
    expect(await guarded.counts()).toEqual({});
  });
});
