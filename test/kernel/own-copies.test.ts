// Copies of what the node itself sends, which the kernel hands to the node at the ingress of the pod's link: of a
// packet to a group that a program of the node has joined there, and of a broadcast. They are no frames of the pod.
import { waitFor } from '@bailiff/service/testing';
import { expect, it } from 'vitest';
import { LAYOUTS } from './harness/layouts.ts';
import { ATTACKER, TestNode } from './harness/node.ts';
import { commandIn } from './harness/processes.ts';
import { unjudgedOf } from './harness/unjudged.ts';

const TIMES = 5;

/** Joins a group at a link, sends to it and to all, and prints how many copies it gets, as mDNS of a node does. */
const SENDER = `
import socket, struct, sys
link, times = sys.argv[1], int(sys.argv[2])
index = socket.if_nametoindex(link)
def send(family, *to):
    s = socket.socket(family, socket.SOCK_DGRAM)
    s.settimeout(5)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, link.encode())
    if family == socket.AF_INET6:
        s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, socket.inet_pton(family, to[0]) + struct.pack('I', index))
        s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, index)
    elif to[0].startswith('224.'):
        s.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, socket.inet_aton(to[0]) + struct.pack('4si', bytes(4), index))
    s.bind(('', 5353))
    for _ in range(times): s.sendto(b'from the node', to)
    return sum(s.recv(100) == b'from the node' for _ in range(times))
print(send(socket.AF_INET, '224.0.0.251', 5353), send(socket.AF_INET6, 'ff02::fb', 5353, 0, index), send(socket.AF_INET, '255.255.255.255', 5353))
`;
const ALL = `${TIMES} ${TIMES} ${TIMES}\n`;
const rows = LAYOUTS.map((layout) => ({ name: layout.name, layout, mode: 'auto' }));

it.each([...rows, { ...rows[0]!, name: 'clsact', mode: 'clsact' }])(
  '$name - what the node sends to a pod is no violation of the pod',
  async ({ layout, mode }) => {
    await using node = await TestNode.start({ stacks: true, layout });
    await node.open({ mode });
    const { attacker } = node.pods;
    const send = () => commandIn(node.netns, 'python3', '-c', SENDER, attacker.hostInterface, String(TIMES));
    // The kernel needs a moment for the link-local address.
    const control = { what: 'control: the kernel makes such copies', until: (copies: string) => copies === ALL };
    await waitFor(() => send().catch(({ stderr }: { stderr: string }) => stderr), control);
    await using guarded = await node.guard(attacker);
    // What the pod answered to the sender before may still be on its way between the two counters.
    const before = await waitFor(async () => [await unjudgedOf(guarded), await unjudgedOf(guarded)] as const, {
      what: 'counters at rest',
      until: ([one, next]) => one === next,
    }).then(([one]) => one);
    expect(await send()).toBe(ALL);
    expect(await guarded.counts()).toEqual({});
    await waitFor(() => unjudgedOf(guarded), {
      what: 'the counters: neither received nor judged',
      until: (unjudged) => unjudged === before,
    });
  },
);

it('a copy of what a pod sends, forwarded as it is, is a frame of the pod', async () => {
  await using node = await TestNode.start();
  await node.open();
  const { attacker } = node.pods;
  await using guarded = await node.guard(attacker);
  const forward = [
    'ip link add d0 type bridge mcast_snooping 0',
    `ip addr add ${ATTACKER.ipv4}/24 dev d0`,
    'ip link set d0 up',
    'tc qdisc add dev d0 clsact',
    'tc filter add dev d0 ingress protocol all u32 match u32 0 0 action mirred egress redirect dev eth0',
  ];
  await commandIn(attacker.netns, 'sh', '-ec', forward.join('\n'));
  const line = `import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
s.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b'd0')
for _ in range(${TIMES}): s.sendto(b'from the pod', ('255.255.255.255', 9))`;
  await commandIn(attacker.netns, 'python3', '-c', line);
  expect(await guarded.counted({ 'source-mac drop': TIMES })).toEqual({ 'source-mac drop': TIMES });
});

it('a copy with the route of another link of the node is judged', async () => {
  await using node = await TestNode.start({ stacks: true });
  await node.open();
  const { attacker } = node.pods;
  const other = [
    'ip link add d0 type veth peer d1',
    'ip link set d1 up',
    'ip link set d0 up',
    'tc qdisc add dev d0 clsact',
    `tc filter add dev d0 ingress protocol ipv6 u32 match u8 17 0xff at 6 action mirred ingress redirect dev ${attacker.hostInterface}`,
  ];
  await commandIn(node.netns, 'sh', '-ec', other.join('\n'));
  await using guarded = await node.guard(attacker);
  const line = `import socket, struct
index = socket.if_nametoindex('d0')
s = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
group = socket.inet_pton(socket.AF_INET6, 'ff02::fb')
s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, group + struct.pack('I', index))
for _ in range(${TIMES}): s.sendto(b'from the node', ('ff02::fb', 5353, 0, index))`;
  const send = () => commandIn(node.netns, 'python3', '-c', line);
  // The kernel needs a moment for the link-local address.
  await waitFor(
    () =>
      send().then(
        () => true,
        () => false,
      ),
    { what: 'a packet at the other link', until: Boolean },
  );
  await waitFor(() => guarded.counts(), {
    what: 'copies that are judged',
    until: (counts) => Object.values(counts).some((count) => count >= TIMES),
  });
});
