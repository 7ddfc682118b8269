// Pods behind a netkit pair, in both modes: attacks, benign traffic, quarantine, other programs on
// the same hooks, and a new process that adopts the guard. Needs Linux 6.7.
import { FOREVER_NS, type PlacedAttachment } from '@bailiff/bpf';
import { ETHERTYPE, ethernet, icmpv6, ipv4, ipv6, macOption, ndBody, PROTOCOL, udp } from '@bailiff/lab/frames';
import { waitFor } from '@bailiff/service/testing';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { FrameSender, NODE, noNetkit, type Opened, RECEIVER, TestNode, ZERO_MAC } from './harness/node.ts';
import { command, commandIn, foreignObject } from './harness/processes.ts';
import { judgeRow, type Row } from './harness/rows.ts';

const FORGED = { ipv4: '10.77.0.99', ipv6: 'fd77::99', mac: '02:00:00:00:77:99' };
const PORT = 4444;
const EXPERIMENTAL = 0x88b5;

/** Exchanges TCP and UDP, the latter also on the port of DNS, and prints the lengths received. */
const EXCHANGE = `
import ctypes, os, socket, sys
node, pod, *addresses = sys.argv[1:]
def open_in(namespace, family, kind):
    fd = os.open('/run/netns/' + namespace, os.O_RDONLY)
    if ctypes.CDLL(None).setns(fd, 0) != 0:
        raise RuntimeError('setns')
    os.close(fd)
    made = socket.socket(family, kind)
    made.settimeout(20)
    return made
for address in addresses:
    family = socket.AF_INET6 if ':' in address else socket.AF_INET
    server = open_in(node, family, socket.SOCK_STREAM)
    server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    server.bind((address, 8080))
    server.listen()
    client = open_in(pod, family, socket.SOCK_STREAM)
    client.connect((address, 8080))
    peer, _ = server.accept()
    peer.settimeout(20)
    for sender, taker in ((client, peer), (peer, client)):
        sender.sendall(b'x' * 30000)
        print(len(taker.recv(30000, socket.MSG_WAITALL)))
    for port in (53, 4000):
        server = open_in(node, family, socket.SOCK_DGRAM)
        server.bind((address, port))
        client = open_in(pod, family, socket.SOCK_DGRAM)
        client.sendto(b'q' * 40, (address, port))
        data, source = server.recvfrom(100)
        server.sendto(data * 2, source)
        print(len(client.recv(100)))
`;

const why = noNetkit();

const SHAPES = [
  ['l2', '02:00:00:00:77:0a', NODE.mac],
  ['l3', ZERO_MAC, ZERO_MAC],
] as const;

const own = { ipv4: '10.77.0.10', ipv6: 'fd77::10' };

/** Frames of a pod with this MAC. */
function frames(mac: string) {
  const frame = (type: number, packet: Buffer, source: string = mac) =>
    ethernet({ source, destination: RECEIVER.mac, type }, packet);
  const frame4 = (source: string, sourceMac?: string) => {
    const parties = { source, destination: RECEIVER.ipv4 };
    return frame(
      ETHERTYPE.ipv4,
      ipv4({ ...parties, protocol: PROTOCOL.udp }, udp(4000, 4001, Buffer.from('x'), parties)),
      sourceMac,
    );
  };
  const frame6 = (source: string) => {
    const parties = { source, destination: RECEIVER.ipv6 };
    return frame(ETHERTYPE.ipv6, ipv6({ ...parties, next: PROTOCOL.udp }, udp(4000, 4001, Buffer.from('x'), parties)));
  };
  const advert = (target: string) => {
    const parties = { source: own.ipv6, destination: RECEIVER.ipv6, hopLimit: 255 };
    const body = icmpv6(136, ndBody(target, macOption(2, mac)), parties);
    return frame(ETHERTYPE.ipv6, ipv6({ ...parties, next: PROTOCOL.icmpv6 }, body));
  };
  return { frame4, frame6, advert };
}

let node: TestNode;
beforeAll(async () => {
  if (why !== '') return;
  node = await TestNode.start({ stacks: true });
  await node.open();
  await node.agent.call('own.bindUdp', PORT);
});
afterAll(() => node?.[Symbol.asyncDispose]());

describe.each(SHAPES)('netkit in mode %s', (mode, mac, nodeMac) => {
  beforeAll(async () => {
    if (why === '') await node.useNetkit(mode);
  });
  beforeEach((context) => {
    if (why !== '') context.skip(why);
  });

  const { frame4, frame6, advert } = frames(mac);
  const rows: Row[] = [
    { name: 'IPv4', vector: 'ipv4-source', attack: frame4(FORGED.ipv4), allow: frame4(own.ipv4) },
    { name: 'IPv6', vector: 'ipv6-source', attack: frame6(FORGED.ipv6), allow: frame6(own.ipv6) },
    { name: 'MAC', vector: 'source-mac', attack: frame4(own.ipv4, FORGED.mac), allow: frame4(own.ipv4) },
    { name: 'neighbour', vector: 'nd-target', attack: advert(FORGED.ipv6), allow: advert(own.ipv6) },
  ];
  it.each(rows)('forged $name - lands unguarded, is dropped and counted', (row) => judgeRow(node, row));

  it('protocol of the packet socket - a frame that names another one is dropped', async () => {
    const { attacker } = node.pods;
    await using ip = new FrameSender(attacker.netns, ['push', 'eth0', String(ETHERTYPE.ipv4)]);
    const packet = (text: string, source: string) => {
      const parties = { source, destination: NODE.ipv4 };
      return ipv4({ ...parties, protocol: PROTOCOL.udp }, udp(4000, PORT, Buffer.from(text), parties));
    };
    const to = (type: number, text: string, source = FORGED.ipv4) =>
      ethernet({ source: mac, destination: nodeMac, type }, packet(text, source));
    const received = (text: string) =>
      waitFor(() => node.agent.call<string[]>('own.datagrams'), { what: text, until: (all) => all.includes(text) });
    await ip.send(to(ETHERTYPE.ipv6, 'control as IPv6'));
    await ip.send(to(EXPERIMENTAL, 'control as another type'));
    await received('control as IPv6');
    await received('control as another type');

    await using guarded = await node.guard(attacker);
    await ip.send(to(ETHERTYPE.ipv6, 'guarded'));
    await ip.send(to(EXPERIMENTAL, 'guarded'));
    await ip.send(to(100, 'guarded'));
    await ip.send(to(ETHERTYPE.ipv4, 'own', own.ipv4));
    expect(await received('own')).not.toContain('guarded');
    expect(await guarded.counts()).toEqual({ 'malformed drop': 3 });
  });

  it('benign - TCP, UDP, DNS and ICMP of both families pass and count nothing', async () => {
    const { attacker } = node.pods;
    await using guarded = await node.guard(attacker);
    for (const address of [NODE.ipv4, NODE.ipv6])
      expect(await commandIn(attacker.netns, 'ping', '-c', '1', '-W', '20', address)).toContain(' 0% packet loss');
    const namespaces = [node.netns, attacker.netns];
    const lengths = await command('python3', '-c', EXCHANGE, ...namespaces, NODE.ipv4, NODE.ipv6);
    expect(lengths.trim().split('\n')).toEqual(['30000', '30000', '80', '80', '30000', '30000', '80', '80']);
    expect(await guarded.counts()).toEqual({});
  });

  it('quarantine - cuts both directions, each counted on this interface', async () => {
    await using guarded = await node.guard(node.pods.attacker);
    await node.agent.call('own.sendUdp', PORT, `::ffff:${own.ipv4}`);
    await node.send(frame4(own.ipv4));
    await node.fence();
    expect(await guarded.counts()).toEqual({});
    await guarded.update({ quarantineUntilNs: FOREVER_NS });
    await node.agent.call('own.sendUdp', PORT, `::ffff:${own.ipv4}`);
    await node.agent.call('own.sendUdp', PORT, own.ipv6);
    node.forgetLanded();
    await node.send(frame4(own.ipv4));
    await node.send(frame6(own.ipv6));
    // Both kernels ask for neighbours that no longer answer: those frames count too.
    await waitFor(() => guarded.counts(), {
      what: 'both directions',
      until: (counts) =>
        (counts['quarantine-ingress drop'] ?? 0) >= 2 &&
        (counts['quarantine-egress drop'] ?? 0) >= 2 &&
        Object.keys(counts).length === 2,
    });
    expect([node.landed(frame4(own.ipv4)), node.landed(frame6(own.ipv6))]).toEqual([0, 0]);
  });
});

// These load the programs again, which is slow under emulation, so they run in one mode.
describe('netkit in mode l3', () => {
  // Without IPv6 the pod's kernel sends nothing by itself, so the programs count only the test's.
  beforeAll(async () => {
    if (why === '') await commandIn(node.pods.attacker.netns, 'sysctl', '-qw', 'net.ipv6.conf.eth0.disable_ipv6=1');
  });
  beforeEach((context) => {
    if (why !== '') context.skip(why);
  });
  const { frame4 } = frames(ZERO_MAC);
  const places = async (): Promise<string[]> => {
    const placed = await node.agent.call<PlacedAttachment[]>('object.verify');
    return placed.map(({ direction, place }) => `${direction} ${place}`).sort();
  };

  it('other programs - keep working before and after the guard, which returns to the head', async () => {
    const { attacker } = node.pods;
    const { ifindex } = attacker;
    await using guarded = await node.guard(attacker);
    const watched = [{ ifindex, kind: 'netkit' }];
    await node.agent.call('own.placesChanged', watched);
    expect(await node.agent.call('own.placesChanged', watched)).toEqual([]);
    const attach = (position: string, hook: string): Promise<number> =>
      node.agent.call('own.attachForeign', foreignObject(), ifindex, hook, position);
    const after = await attach('tail', 'netkit-peer');
    const before = await attach('head', 'netkit-peer');
    const toPod = await attach('head', 'netkit-primary');
    expect(await node.agent.call('own.placesChanged', watched)).toEqual([ifindex]);
    expect(await places()).toEqual(['in behind', 'out head', 'redirected head']);
    await node.send(frame4(FORGED.ipv4));
    await node.send(frame4(own.ipv4));
    await node.fence();
    const counted = (index: number) => node.agent.call<bigint>('own.counted', index);
    const [all, passed] = [await counted(before), await counted(after)];
    expect(all - passed, 'the dropped packet does not reach the program after the guard').toBe(1n);

    for (const direction of ['in', 'out'])
      await node.agent.call('object.reattach', { ...guarded.key, direction, mode: 'tcx' });
    expect(await places()).toEqual(['in head', 'out head', 'redirected head']);
    node.forgetLanded();
    await node.send(frame4(FORGED.ipv4));
    await node.send(frame4(own.ipv4));
    await node.fence();
    expect(node.landed(frame4(FORGED.ipv4))).toBe(0);
    expect((await counted(before)) - all, 'only what passed reaches the other programs').toBe(
      (await counted(after)) - passed,
    );
    expect(await counted(after)).toBeGreaterThan(passed);
    expect(await guarded.counts()).toEqual({ 'ipv4-source drop': 2 });
    await commandIn(attacker.netns, 'ping', '-c', '1', '-W', '20', NODE.ipv4);
    expect(await counted(toPod)).toBeGreaterThan(0n);
  });

  it('a new process - the guard outlives the old one, and counting goes on', async () => {
    const guarded = await node.guard(node.pods.attacker);
    const attack = async () => {
      node.forgetLanded();
      await node.send(frame4(FORGED.ipv4));
      await node.send(frame4(own.ipv4));
      await node.fence();
      return [node.landed(frame4(FORGED.ipv4)), node.landed(frame4(own.ipv4))];
    };
    await node.restartAgent();
    expect(await attack(), 'without a process').toEqual([0, 1]);
    const opened: Opened = await node.open();
    expect(opened).toMatchObject({ reused: true, updatedLinks: 3 });
    expect(await places()).toEqual(['in head', 'out head', 'redirected head']);
    expect(await attack(), 'adopted').toEqual([0, 1]);
    expect(await guarded.counts()).toEqual({ 'ipv4-source drop': 2 });
    await node.reset();
    expect(await attack(), 'detached').toEqual([1, 1]);
  });
});
