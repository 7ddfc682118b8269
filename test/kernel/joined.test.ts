// Packets that a device of the pod joined into one frame before they left the pod. Joined by list,
// each keeps its headers, of which only the first could be checked.
import path from 'node:path';
import { waitFor } from '@bailiff/service/testing';
import { beforeAll, describe, expect, it } from 'vitest';
import { ATTACKER } from './harness/node.ts';
import { commandIn } from './harness/processes.ts';
import { useNode } from './harness/use-node.ts';

const COUNT = 5;
const BYTES = 64;
const payloads = Array.from({ length: COUNT }, (_, i) => Buffer.alloc(BYTES, i + 1));
const FEATURES = path.join(import.meta.dirname, 'harness/features.py');
/** A veth joins packets of a sender that does not segment TCP. It cuts the datagrams before it sends them. */
const NO_SEGMENTATION = ['tcp', 'tcp-ecn', 'tcp-mangleid', 'tcp-accecn', 'tcp6', 'udp'].map(
  (kind) => `tx-${kind}-segmentation=off`,
);

/** Sends the payloads as one call (UDP_SEGMENT), so that they arrive together. */
const SEND = `
import socket, sys
source, size, payload = sys.argv[1], int(sys.argv[2]), bytes.fromhex(sys.argv[3])
sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
sender.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b'v0')
sender.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
sender.setsockopt(socket.IPPROTO_UDP, 103, size)
sender.bind((source, 4000))
sender.sendto(payload, ('255.255.255.255', 9))
`;

describe('joined packets', () => {
  const node = useNode();
  const inPod = (...args: [string, ...string[]]) => commandIn(node.pods.attacker.netns, ...args);
  const features = (device: string, ...wanted: string[]) => inPod('python3', FEATURES, device, ...wanted);

  beforeAll(async () => {
    // What enters at v0 is joined at v1 and leaves by eth0.
    const commands = [
      `ip link add v0 address ${ATTACKER.mac} type veth peer name v1`,
      `ip addr add ${ATTACKER.ipv4}/32 dev v0`,
      'ip link set v0 up',
      'ip link set v1 up',
      'tc qdisc add dev v1 clsact',
      'tc filter add dev v1 ingress protocol all u32 match u32 0 0 action mirred egress redirect dev eth0',
    ];
    await inPod('sh', '-ec', commands.join('\n'));
    await features('v0', ...NO_SEGMENTATION);
    // The node cuts them again on the way to the receiver.
    await commandIn(node.netns, 'ip', 'link', 'set', node.pods.receiver.hostInterface, 'gso_max_segs', '1');
  });

  const send = async () => {
    node.forgetLanded();
    await inPod('python3', '-c', SEND, ATTACKER.ipv4, String(BYTES), Buffer.concat(payloads).toString('hex'));
  };
  const landed = () => payloads.reduce((sum, one) => sum + node.landedWith(one), 0);
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
