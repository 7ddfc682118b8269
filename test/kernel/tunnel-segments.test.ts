// Large frames of tunnels in the pod, which the node cuts into segments after the check. The kernel writes the length of
// each segment where the metadata say that the packet in the tunnel begins. A tun device lets the pod choose that.
import { ETHERTYPE, ethernet, type Ipv4Fields, ipv4, PROTOCOL, TCP_FLAGS, tcp } from '@bailiff/lab/frames';
import { waitFor } from '@bailiff/service/testing';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ATTACKER, FrameSender, GSO, RECEIVER, TestNode } from './harness/node.ts';
import { commandIn, frameHelper } from './harness/processes.ts';

const TUNNEL_PORT = 1200;
const JUDGED_PORT = 9;
const SEGMENTS = 3;
const TIMES = 4;
const PAYLOAD = TUNNEL_PORT - 40;
const ENDS = { source: ATTACKER.ipv4, destination: RECEIVER.ipv4 } as const;
const packet = (bytes: Buffer, fields: Partial<Ipv4Fields> = {}) =>
  ethernet(
    { source: ATTACKER.mac, destination: RECEIVER.mac, type: ETHERTYPE.ipv4 },
    ipv4({ ...ENDS, protocol: PROTOCOL.udp, ...fields }, bytes),
  );
const large = (length: number) => {
  const head = tcp({ source: 1, destination: 2, flags: TCP_FLAGS.ack }, Buffer.alloc(length, 0x61));
  return ipv4({ ...ENDS, protocol: PROTOCOL.tcp, id: 0 }, head);
};

/** The inner header is the UDP header: its total length is the destination port. */
function overlaid(options: number): Buffer {
  const inner = large(SEGMENTS * PAYLOAD);
  inner.writeUInt16BE(JUDGED_PORT, 2);
  inner.writeUInt16BE(inner.length, 4);
  return packet(inner, { options: Buffer.alloc(options, 1) });
}
/** The inner header follows a UDP header and one of 8 bytes, as that of a tunnel without Ethernet does. */
function honest(): Buffer {
  const inner = large(SEGMENTS * PAYLOAD);
  const head = Buffer.alloc(16);
  head.writeUInt16BE(40_000, 0);
  head.writeUInt16BE(JUDGED_PORT, 2);
  head.writeUInt16BE(16 + inner.length, 4);
  return packet(Buffer.concat([head, inner]));
}

/** What landed, by port of the receiver. */
function landedByPort(node: TestNode): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const hex of node.allLanded()) {
    const bytes = Buffer.from(hex, 'hex');
    const port = bytes.readUInt16BE(14 + (bytes[14]! & 15) * 4 + 2);
    if (port < 40_000) counts[port] = (counts[port] ?? 0) + node.landed(bytes);
  }
  return counts;
}

describe('segments of tunnels', () => {
  let node: TestNode;
  let tap: FrameSender | undefined;
  beforeAll(async () => {
    node = await TestNode.start();
    await node.open();
    await node.agent.call('object.maps.tunnelPorts.replace', [{ port: TUNNEL_PORT, kind: 'vxlan' }]);
    const { attacker, receiver } = node.pods;
    // As at a network card without segmentation of tunnels.
    await commandIn(node.netns, 'ip', 'link', 'set', receiver.hostInterface, 'gso_max_size', '1500');
    tap = await openTap(attacker.netns);
  });
  afterAll(async () => {
    await tap?.[Symbol.asyncDispose]();
    await node?.[Symbol.asyncDispose]();
  });

  /** Undefined if the kernel has no such metadata. */
  async function openTap(netns: string): Promise<FrameSender | undefined> {
    const probe = commandIn(netns, 'sh', '-c', `${frameHelper()} tap probe0 </dev/null`);
    const code = await probe.then(
      () => 0,
      (error: { code: number }) => error.code,
    );
    if (code === 3) return undefined;
    expect(code).toBe(0);
    const sender = new FrameSender(netns, ['tap', 'tap0']);
    const isUp = () =>
      commandIn(netns, 'ip', 'link', 'set', 'tap0', 'up').then(
        () => true,
        () => false,
      );
    await waitFor(isUp, { what: 'the tap device', until: (up) => up });
    const all = 'protocol all u32 match u32 0 0 action mirred egress redirect dev eth0';
    await commandIn(netns, 'sh', '-ec', `tc qdisc add dev tap0 clsact; tc filter add dev tap0 ingress ${all}`);
    return sender;
  }

  /** @param at where the inner packet begins */
  async function send(frame: Buffer, at: number): Promise<Record<string, number>> {
    node.forgetLanded();
    const gso = { size: PAYLOAD, type: GSO.tcpv4, head: at + 40 };
    await tap!.send(frame, TIMES, { gso, checksum: { start: at + 20, offset: 16 } });
    await node.fence();
    return landedByPort(node);
  }

  it.for([8, 40])('a length over the port of UDP, behind %i bytes of options', async (options, context) => {
    if (tap === undefined) context.skip('optional: no metadata of tunnels for tun devices (Linux 6.17)');
    const at = 34 + options;
    const forged = { [TUNNEL_PORT]: TIMES * SEGMENTS };
    expect(await send(overlaid(options), at), 'control: lands at another port than the one in the frame').toEqual(
      forged,
    );
    await using guarded = await node.guard(node.pods.attacker);
    expect(await send(overlaid(options), at)).toEqual({});
    const allowed = { [JUDGED_PORT]: TIMES * SEGMENTS };
    expect(await send(honest(), 50), 'a tunnel whose packet begins behind what is checked').toEqual(allowed);
    expect(await guarded.counts()).toEqual({ 'malformed drop': TIMES * SEGMENTS });
  });
});
