// Everyday traffic of pods, with real stacks on both sides and every vector enforced: nothing is
// dropped, nothing counted.
import { existsSync } from 'node:fs';
import { ipv4, ipv4Bytes, PROTOCOL, udp } from '@bailiff/lab/frames';
import { waitFor } from '@bailiff/service/testing';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { launch, type RunningProcess } from '../support/process.ts';
import { ATTACKER, GSO, type Guarded, NODE, RECEIVER, TestNode } from './harness/node.ts';
import { leftToKernel } from './harness/offload.ts';
import { commandIn, frameHelper, LineProcess } from './harness/processes.ts';
import { sendBySctp } from './harness/sctp.ts';

/** Echoes TCP and UDP on both families; prints the port. */
const SERVER = `
const net = require('node:net'), dgram = require('node:dgram');
const server = net.createServer((socket) => socket.pipe(socket)).listen(0, '::', () => {
  const { port } = server.address();
  const udp = dgram.createSocket('udp6', (data, from) => udp.send(data, from.port, from.address));
  udp.bind(port, '::', () => console.log(port));
});`;

/** Sends \`size\` bytes and prints how many came back. */
const TCP_CLIENT = `
const [, address, port, size] = process.argv;
let back = 0;
const socket = require('node:net').connect(Number(port), address, () => socket.end(Buffer.alloc(Number(size), 1)));
socket.on('data', (data) => { back += data.length; }).on('close', () => console.log(back));`;

const UDP_CLIENT = `
const [, address, port, size] = process.argv;
const socket = require('node:dgram').createSocket(address.includes(':') ? 'udp6' : 'udp4', (data) => {
  console.log(data.length);
  socket.close();
});
socket.send(Buffer.alloc(Number(size), 1), Number(port), address);`;

/** A reply takes a millisecond, but a machine may be blocked for seconds. */
const ANSWER_S = '20';

describe('legitimate traffic', () => {
  let node: TestNode;
  let server: RunningProcess;
  let port: string;
  let sending: Guarded;
  let answering: Guarded;

  beforeAll(async () => {
    node = await TestNode.start({ stacks: true });
    await node.open();
    const netns = `/run/netns/${node.pods.receiver.netns}`;
    server = launch('nsenter', [`--net=${netns}`, process.execPath, '-e', SERVER]);
    await server.printed('\n');
    port = server.stdout().trim();
  });
  afterAll(async () => {
    await server?.kill();
    await node?.[Symbol.asyncDispose]();
  });
  beforeEach(async () => {
    sending = await node.guard(node.pods.attacker);
    answering = await node.guard(node.pods.receiver);
  });
  afterEach(async () => {
    const counts = [await sending.counts(), await answering.counts()];
    await sending[Symbol.asyncDispose]();
    await answering[Symbol.asyncDispose]();
    expect(counts, 'nothing is counted').toEqual([{}, {}]);
  });

  const inPod = (...args: string[]) => commandIn(node.pods.attacker.netns, ...(args as [string]));
  const client = (script: string, address: string, size: number) =>
    inPod(process.execPath, '-e', script, address, port, String(size));
  const addresses = [
    ['IPv4', RECEIVER.ipv4],
    ['IPv6', RECEIVER.ipv6],
  ] as const;

  it.each(addresses)('tcp - a megabyte there and back over %s', async (_, address) => {
    expect((await client(TCP_CLIENT, address, 1 << 20)).trim()).toBe(String(1 << 20));
  });

  it.for(addresses)('tcp - frames of more than 64 kB over %s', async ([, address], context) => {
    const { attacker, receiver } = node.pods;
    const grow = (device: string, size: number) =>
      ['gso', 'gro', 'gso_ipv4', 'gro_ipv4'].map((of) => `ip link set ${device} ${of}_max_size ${size}`);
    const all = async (size: number) => {
      for (const { netns, hostInterface } of [attacker, receiver]) {
        await commandIn(netns, 'sh', '-ec', grow('eth0', size).join('\n'));
        await commandIn(node.netns, 'sh', '-ec', grow(hostInterface, size).join('\n'));
      }
      await commandIn(node.netns, 'sh', '-ec', grow('br0', size).join('\n'));
    };
    node.forgetLanded();
    const refusal = await all(185_000).catch((error: Error) => error.message);
    if (refusal) context.skip(`optional: no frames of this size on this machine: ${refusal}`);
    expect((await client(TCP_CLIENT, address, 1 << 25)).trim()).toBe(String(1 << 25));
    await all(65_536);
    // The sniffer reads no more of a frame.
    await waitFor(() => node.allLanded().some((hex) => hex.length === 2 * 65_536), { what: 'a frame of that size' });
  });

  it('vxlan - a megabyte through a tunnel between two pods, which the node cuts into segments', async (context) => {
    const { attacker, receiver } = node.pods;
    const hostSide = (...args: string[]) =>
      commandIn(node.netns, 'ip', 'link', 'set', receiver.hostInterface, 'gso_max_size', ...args);
    const tunnel = (address: string, local: string, remote: string) => [
      `ip link add vx0 type vxlan id 5 dstport 40001 local ${local} remote ${remote}`,
      `ip addr add ${address}/24 dev vx0`,
      'ip link set vx0 up',
    ];
    const [near, far] = ['10.99.0.1', '10.99.0.2'] as const;
    const setUp = (netns: string, commands: string[]) => commandIn(netns, 'sh', '-ec', commands.join('\n'));
    const isRefused = await setUp(attacker.netns, tunnel(near, ATTACKER.ipv4, RECEIVER.ipv4)).then(
      () => false,
      (error: Error) => error.message.includes('Unknown device type'),
    );
    if (isRefused) context.skip('optional: no vxlan on this machine');
    await setUp(receiver.netns, tunnel(far, RECEIVER.ipv4, ATTACKER.ipv4));
    await hostSide('1500');
    expect((await client(TCP_CLIENT, far, 1 << 20)).trim()).toBe(String(1 << 20));
    await hostSide('65536');
    for (const { netns } of [attacker, receiver]) await commandIn(netns, 'ip', 'link', 'del', 'vx0');
  });

  it.each(addresses)('udp - a datagram there and back over %s', async (_, address) => {
    expect((await client(UDP_CLIENT, address, 100)).trim()).toBe('100');
  });

  it.each(addresses)('udp - fragments there and back over %s', async (_, address) => {
    expect((await client(UDP_CLIENT, address, 8000)).trim()).toBe('8000');
  });

  it.each([...addresses, ['IPv4', NODE.ipv4] as const, ['IPv6', NODE.ipv6] as const])(
    'icmp - ping over %s to %s',
    async (_, address) => {
      expect(await inPod('ping', '-c', '2', '-i', '0.01', '-W', ANSWER_S, address)).toContain('2 received');
    },
  );

  it('icmp - a large ping in fragments over both families', async () => {
    for (const address of [RECEIVER.ipv4, RECEIVER.ipv6])
      expect(await inPod('ping', '-c', '1', '-s', '4000', '-W', ANSWER_S, address)).toContain('1 received');
  });

  it('icmp - link-local to link-local', async () => {
    expect(await inPod('ping', '-c', '1', '-W', ANSWER_S, `${RECEIVER.linkLocal}%eth0`)).toContain('1 received');
  });

  it.for(addresses)('sctp - there and back over %s', async ([, address], context) => {
    const received = await sendBySctp(node, address, 1000);
    if (received === null) context.skip('optional: this kernel has no SCTP');
    expect(received).toEqual([1000, 1000]);
  });

  it('vpn - packets that a pod forwards from a tunnel interface pass, with checksums left to the kernel', async (context) => {
    if (!existsSync('/dev/net/tun')) context.skip('optional: this kernel has no tunnel interfaces');
    const { netns } = node.pods.attacker;
    const behind = { source: '10.88.0.9', destination: RECEIVER.ipv4 };
    await node.agent.call('object.maps.addresses.replace', sending.key, [{ cidr: '10.88.0.0/24', neighbour: false }]);
    await sending.update({ hasMore: true });
    const answers: string[] = [];
    const tun = new LineProcess('nsenter', [`--net=/run/netns/${netns}`, frameHelper(), 'tun', 'vpn0'], (line) =>
      answers.push(line),
    );
    const answer = (count: number) =>
      waitFor(() => answers.length, { what: 'the next line of frames tun', until: (length) => length === count });
    try {
      await answer(1);
      await inPod(
        'sh',
        '-ec',
        'sysctl -qw net.ipv4.ip_forward=1\nip addr add 10.88.0.1/24 dev vpn0\nip link set vpn0 up',
      );
      const datagram = (size: number) => udp(4000, 9, Buffer.alloc(size, 7), behind);
      const packet = (size: number) => ipv4({ ...behind, protocol: PROTOCOL.udp }, datagram(size));
      const one = leftToKernel(packet(100), 20, 6);
      node.forgetLanded();
      tun.write(`1 0 0 0 20 6 ${one.sent.toString('hex')}`);
      tun.write(`1 100 ${GSO.udp} 28 20 6 ${leftToKernel(packet(2000), 20, 6).sent.toString('hex')}`);
      await answer(3);
      expect(answers.slice(1)).toEqual(['ok', 'ok']);
      const ends = [behind.source, behind.destination].map((address) => ipv4Bytes(address).toString('hex')).join('');
      const lengths = () => node.allLanded().flatMap((hex) => (hex.includes(ends) ? [hex.length / 2] : []));
      await waitFor(lengths, { what: 'both results', until: (list) => list.length === 2 });
      expect(lengths().sort((a, b) => a - b)).toEqual([42 + 100, 42 + 2000]);
    } finally {
      await tun.close();
    }
  });

  it('arp and nd - neighbours are resolved again', async () => {
    await inPod('ip', 'neigh', 'flush', 'all');
    for (const address of [RECEIVER.ipv4, RECEIVER.ipv6])
      expect(await inPod('ping', '-c', '1', '-W', ANSWER_S, address)).toContain('1 received');
    const neighbours = await inPod('ip', 'neigh', 'show', 'dev', 'eth0');
    expect(neighbours).toContain(`${RECEIVER.ipv4} lladdr ${RECEIVER.mac}`);
    expect(neighbours).toContain(`${RECEIVER.ipv6} lladdr ${RECEIVER.mac}`);
  });

  it('errors - a closed port sends an error over both families', async () => {
    for (const address of [RECEIVER.ipv4, RECEIVER.ipv6]) {
      const script = `require('node:net').connect(9, '${address}').on('error', (error) => console.log(error.code))`;
      expect((await inPod(process.execPath, '-e', script)).trim()).toBe('ECONNREFUSED');
    }
  });

  it('dad, mld and router solicitation - pass from :: and the link-local address when an interface comes up', async () => {
    node.forgetLanded();
    const settings = ['accept_dad=1', 'dad_transmits=1', 'router_solicitations=1', 'router_solicitation_delay=0'];
    const setup = [
      ...settings.map((setting) => `sysctl -qw net.ipv6.conf.eth0.${setting}`),
      'ip link set eth0 down',
      'ip link set eth0 up',
      `ip addr add ${ATTACKER.ipv6}/64 dev eth0`,
      `ip route replace default via ${NODE.ipv4}`,
    ];
    await inPod('sh', '-ec', setup.join('\n'));
    await waitFor(() => inPod('ip', '-6', 'addr', 'show', 'dev', 'eth0'), {
      what: 'addresses are no longer tentative',
      until: (text) =>
        text.includes(ATTACKER.ipv6) && text.includes(ATTACKER.linkLocal) && !/tentative|dadfailed/.test(text),
    });
    const unspecified = '0'.repeat(32);
    const of = (pattern: RegExp) => node.allLanded().filter((hex) => pattern.test(hex));
    // Ethernet, IPv6 with hop limit 255, ::, solicited-node group, NS
    const solicitations = new RegExp(`^.{24}86dd6.{11}3aff${unspecified}ff02.{28}8700`);
    await waitFor(() => of(solicitations).length, { what: 'DAD lands', until: (count) => count >= 2 });
    // hop-by-hop with router alert, then MLDv2
    const reports = /^.{24}86dd6.{11}0001.{64}3a00050200000100.{0,2}8f00/;
    await waitFor(() => of(reports).length, { what: 'MLD lands', until: (count) => count >= 1 });
    const routers = /^.{24}86dd6.{11}3aff.{64}8500/;
    await waitFor(() => of(routers).length, { what: 'a router solicitation lands', until: (count) => count >= 1 });
    expect(await inPod('ping', '-c', '1', '-W', ANSWER_S, RECEIVER.ipv6)).toContain('1 received');
  });

  it.each(addresses)(
    'checksums - completed by the pod, and before they leave the node, over %s',
    async (_, address) => {
      await node.fillChecksums(node.pods.receiver);
      for (const { netns } of [node.pods.attacker, node.pods.receiver])
        await commandIn(netns, frameHelper(), 'fill', 'eth0');
      expect((await client(TCP_CLIENT, address, 1 << 20)).trim()).toBe(String(1 << 20));
      expect((await client(UDP_CLIENT, address, 100)).trim()).toBe('100');
    },
  );

  it("gratuitous arp - the kernel's announcement after a MAC change lands", async () => {
    node.forgetLanded();
    const setup = `sysctl -qw net.ipv4.conf.eth0.arp_notify=1\nip link set eth0 address ${ATTACKER.mac}`;
    await inPod('sh', '-ec', setup);
    const own = ATTACKER.ipv4
      .split('.')
      .map((part) => Number(part).toString(16).padStart(2, '0'))
      .join('');
    const announcement = new RegExp(`^f{12}.{12}08060001080006040001.{12}${own}.{12}${own}`);
    await waitFor(() => node.allLanded().filter((hex) => announcement.test(hex)), {
      what: 'announcement',
      until: (list) => list.length > 0,
    });
  });
});
