// Layouts of CNI plugins, with real stacks and every vector enforced: everyday traffic is neither
// dropped nor counted, and a forged source is. A plugin configures the pod's side after the guard.
import { ETHERTYPE, ethernet, ipv4, ipv6, PROTOCOL, udp } from '@bailiff/lab/frames';
import { waitFor } from '@bailiff/service/testing';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { RunningProcess } from '../support/process.ts';
import { LAYOUTS } from './harness/layouts.ts';
import { ATTACKER, type Guarded, type Pod, RECEIVER, TestNode } from './harness/node.ts';
import { commandIn } from './harness/processes.ts';
import { DNS_ANSWER, ECHO_PORT, PATH_MTU, startServer, WORLD, World } from './harness/world.ts';

/** Addresses of a DNS service, which the node translates to the other host. */
const SERVICE = { ipv4: '10.96.0.10', ipv6: 'fd00:96::10' } as const;
const SERVICES = `table inet services {
  chain prerouting { type nat hook prerouting priority -100
    ip daddr ${SERVICE.ipv4} dnat ip to ${WORLD.ipv4}
    ip6 daddr ${SERVICE.ipv6} dnat ip6 to ${WORLD.ipv6}
  }
}`;

/**
 * All exchanges of a client in one process, as Node takes long to start: prints a line for each.
 * Arguments: echo port, addresses of servers, then addresses of DNS servers.
 */
const CLIENT = `
const net = require('node:net'), dgram = require('node:dgram'), { Resolver } = require('node:dns').promises;
const [, port, servers, resolvers] = process.argv;
const tcp = (address, size) => new Promise((resolve, reject) => {
  let back = 0;
  const socket = net.connect(Number(port), address, () => socket.end(Buffer.alloc(size, 1)));
  socket.on('data', (data) => { back += data.length; }).on('error', reject).on('close', () => resolve(back));
});
const udp = (address, size) => new Promise((resolve) => {
  const socket = dgram.createSocket(address.includes(':') ? 'udp6' : 'udp4', (data) => {
    resolve(data.length);
    socket.close();
  });
  socket.send(Buffer.alloc(size, 1), Number(port), address);
});
const refused = (address) => new Promise((resolve) => net.connect(9, address).on('error', (e) => resolve(e.code)));
const query = (address) => {
  const resolver = new Resolver({ timeout: 20_000 });
  resolver.setServers([address.includes(':') ? '[' + address + ']' : address]);
  return resolver.resolve4('web.shop');
};
(async () => {
  for (const address of servers.split(' '))
    console.log(address, await tcp(address, 1 << 20), await udp(address, 100), await udp(address, 8000), await refused(address));
  for (const address of resolvers.split(' ')) console.log(address, ...await query(address));
})();`;

/** Sends to a closed port, until the ICMP error of the other side arrives. */
const UNREACHABLE = `
const [, addresses] = process.argv;
for (const address of addresses.split(' ')) {
  const socket = require('node:dgram').createSocket(address.includes(':') ? 'udp6' : 'udp4');
  socket.on('error', (error) => { console.log(address, error.code); socket.close(); });
  socket.connect(9, address, () => socket.send('closed?'));
}`;

const ANSWER_S = '20';

describe.each(LAYOUTS)('$name', (layout) => {
  let node: TestNode;
  let world: World;
  const servers: RunningProcess[] = [];
  const guarded: Guarded[] = [];

  beforeAll(async () => {
    node = await TestNode.start({ stacks: true, layout });
    world = await World.start(node);
    await node.open();
    await commandIn(node.netns, 'nft', SERVICES);
    servers.push(...(await Promise.all([node.pods.receiver.netns, world.netns].map(startServer))));
  });
  afterAll(async () => {
    for (const server of servers) await server.kill();
    for (const one of guarded) await one[Symbol.asyncDispose]();
    await world?.[Symbol.asyncDispose]();
    await node?.[Symbol.asyncDispose]();
  });

  const inPod = (file: string, ...args: string[]) => commandIn(node.pods.attacker.netns, file, ...args);
  const counts = () => Promise.all(guarded.map((one) => one.counts()));

  /** Frames with foreign sources, to the next hop; the payloads mark them, as routers change the rest. */
  function forgeries(pod: Pod): { frames: Buffer[]; landed(): number[] } {
    const marks = [Buffer.from('forged over IPv4'), Buffer.from('forged over IPv6')] as const;
    const ends4 = { source: '10.77.0.99', destination: RECEIVER.ipv4 };
    const ends6 = { source: 'fd77::99', destination: RECEIVER.ipv6 };
    const destination = layout.name.startsWith('bridge') ? RECEIVER.mac : pod.hostMac;
    const ends = { source: ATTACKER.mac, destination };
    const frames = [
      ethernet(
        { ...ends, type: ETHERTYPE.ipv4 },
        ipv4({ ...ends4, protocol: PROTOCOL.udp }, udp(1, 9, marks[0], ends4)),
      ),
      ethernet({ ...ends, type: ETHERTYPE.ipv6 }, ipv6({ ...ends6, next: PROTOCOL.udp }, udp(1, 9, marks[1], ends6))),
    ];
    const landed = () =>
      marks.map((mark) => node.allLanded().filter((hex) => hex.includes(mark.toString('hex'))).length);
    return { frames, landed };
  }

  it('everyday traffic passes, a forged source does not', async () => {
    const { frames, landed } = forgeries(node.pods.attacker);
    for (const frame of frames) await node.send(frame);
    await waitFor(landed, { what: 'control: both land unguarded', until: ([a, b]) => a === 1 && b === 1 });

    for (const pod of [node.pods.attacker, node.pods.receiver]) {
      guarded.push(await node.guard(pod));
      const setup = ['ip link set eth0 down', 'ip addr flush dev eth0', 'ip link set eth0 up'];
      const lines = [...setup, ...layout.pod(pod.identity, pod.hostMac)];
      await commandIn(pod.netns, 'sh', '-ec', lines.join('\n'));
    }
    const servers = [RECEIVER.ipv4, RECEIVER.ipv6, WORLD.ipv4, WORLD.ipv6];
    const script = ['-e', CLIENT, String(ECHO_PORT), servers.join(' '), Object.values(SERVICE).join(' ')];
    expect((await inPod(process.execPath, ...script)).trim().split('\n')).toEqual([
      ...servers.map((address) => `${address} ${1 << 20} 100 8000 ECONNREFUSED`),
      ...Object.values(SERVICE).map((address) => `${address} ${DNS_ANSWER}`),
    ]);
    // Control: the packets above needed the node's errors about their size.
    for (const address of [WORLD.ipv4, WORLD.ipv6])
      expect(await inPod('ip', 'route', 'get', address)).toContain(`mtu ${PATH_MTU}`);
    for (const address of servers)
      for (const size of ['56', '4000'])
        expect(await inPod('ping', '-c', '1', '-s', size, '-W', ANSWER_S, address)).toContain('1 received');
    // Both sides resolve their neighbours again, and the pod reports its closed port.
    for (const netns of [node.netns, node.pods.attacker.netns]) await commandIn(netns, 'ip', 'neigh', 'flush', 'all');
    const own = `${ATTACKER.ipv4} ${ATTACKER.ipv6}`;
    const errors = await commandIn(world.netns, process.execPath, '-e', UNREACHABLE, own);
    expect(errors.match(/ECONNREFUSED/g)).toHaveLength(2);
    expect(await counts(), 'nothing is counted').toEqual([{}, {}]);

    node.forgetLanded();
    for (const frame of frames) await node.send(frame);
    await guarded[0]!.counted({ 'ipv4-source drop': 1, 'ipv6-source drop': 1 });
    expect(await inPod('ping', '-c', '1', '-W', ANSWER_S, RECEIVER.ipv4)).toContain('1 received');
    expect(landed()).toEqual([0, 0]);
  });
});
