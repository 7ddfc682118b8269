// Traffic that service meshes, host ports and gateways redirect or translate, in the pods and on the
// node: nothing of it is dropped or counted. Each proxy reports its connections, so that a rule that
// redirects nothing fails the test. Sidecars and ports by iptables, host ports by the real plugin.
// On netkit it needs Linux 6.7: BAILIFF_VM_FILES=redirection.
import { ETHERTYPE, ethernet, ipv4, PROTOCOL, udp } from '@bailiff/lab/frames';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { cniBinDir } from '../lab/src/cni/plugin.ts';
import { netnsPath } from '../lab/src/names.ts';
import { exec } from '../lab/src/process/exec.ts';
import { launch, type RunningProcess } from '../support/process.ts';
import { LAYOUTS, type Layout, onNetkit } from './harness/layouts.ts';
import { ATTACKER, type Guarded, noNetkit, RECEIVER, TestNode } from './harness/node.ts';
import { command, commandIn } from './harness/processes.ts';
import { ECHO_PORT, startServer, UPLINK, WORLD, World } from './harness/world.ts';

/** User id of sidecars: their own connections are not redirected. */
const SIDECAR = '1337';

/**
 * A proxy of a mesh. Arguments: port, mode. Prints `ready`, then a line for each connection.
 * - out: connects to the destination before the redirection
 * - in: connects to the program on the same port of its own host
 * - transparent: as out, with the address of the client
 */
const PROXY = `
import os, socket, struct, sys, threading
port, mode = int(sys.argv[1]), sys.argv[2]
if mode == 'out':
    os.setgroups([])
    os.setgid(${SIDECAR})
    os.setuid(${SIDECAR})
def listen(family):
    server = socket.socket(family, socket.SOCK_STREAM)
    server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if family == socket.AF_INET6:
        server.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    if mode != 'out':
        transparent(server, family)
    server.bind(('::' if family == socket.AF_INET6 else '0.0.0.0', port))
    server.listen(16)
    return server
def transparent(sock, family):
    if family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, 75, 1)
    else:
        sock.setsockopt(socket.SOL_IP, 19, 1)
def destination(client, family):
    own = client.getsockname()[:2]
    if own[1] != port:
        return own
    if family == socket.AF_INET6:
        to, address = struct.unpack('!2xH4x16s4x', client.getsockopt(socket.IPPROTO_IPV6, 80, 28))
    else:
        to, address = struct.unpack('!2xH4s8x', client.getsockopt(socket.SOL_IP, 80, 16))
    return socket.inet_ntop(family, address), to
def pump(source, sink):
    while data := source.recv(65536):
        sink.sendall(data)
    sink.shutdown(socket.SHUT_WR)
def relay(client, peer, family):
    to = destination(client, family)
    upstream = socket.socket(family, socket.SOCK_STREAM)
    if mode == 'transparent':
        transparent(upstream, family)
        upstream.bind((peer[0], 0))
    if mode == 'in':
        to = ('::1' if family == socket.AF_INET6 else '127.0.0.1', to[1])
    upstream.connect(to)
    print(mode, to[0], to[1], flush=True)
    threading.Thread(target=pump, args=(upstream, client)).start()
    pump(client, upstream)
def serve(server, family):
    while True:
        client, peer = server.accept()
        threading.Thread(target=relay, args=(client, peer, family)).start()
for family in (socket.AF_INET, socket.AF_INET6):
    threading.Thread(target=serve, args=(listen(family), family)).start()
print('ready', flush=True)`;

/** Sends through TCP, then UDP if asked to, and prints the lengths of the echoes. */
const CLIENT = `
const net = require('node:net'), dgram = require('node:dgram');
const tcp = (address, port) => new Promise((resolve, reject) => {
  let back = 0;
  const socket = net.connect(port, address, () => socket.end(Buffer.alloc(100_000, 1)));
  socket.on('data', (data) => { back += data.length; }).on('error', reject).on('close', () => resolve(back));
});
const udp = (address, port) => new Promise((resolve) => {
  const socket = dgram.createSocket(address.includes(':') ? 'udp6' : 'udp4', (data) => { resolve(data.length); socket.close(); });
  socket.send(Buffer.alloc(100, 1), port, address);
});
(async () => {
  const [, port, withUdp, ...addresses] = process.argv;
  for (const address of addresses)
    console.log(address, await tcp(address, Number(port)), ...(withUdp === 'udp' ? [await udp(address, Number(port))] : []));
})();`;

const CALICO = LAYOUTS.find(({ name }) => name === 'Calico') as Layout;
const NETKITS = (['l2', 'l3'] as const).map((mode) => onNetkit(CALICO, mode));
const BOTH = ['iptables', 'ip6tables'];
const rules = (...words: string[]): string[] => words.flatMap((rule) => BOTH.map((tables) => `${tables} ${rule}`));
/** Marked packets are delivered to a socket of this namespace, whatever their destination. */
const LOCAL = ['ip', 'ip -6'].flatMap((ip) => [
  `${ip} rule add fwmark 1 lookup 100`,
  `${ip} route add local default dev lo table 100`,
]);

describe.each([CALICO, ...NETKITS])('redirected traffic, $name', (layout) => {
  const lacks = layout.netkit === undefined ? '' : noNetkit();
  let node: TestNode;
  let world: World;
  const servers: RunningProcess[] = [];
  let proxies: RunningProcess[] = [];
  const guarded: Guarded[] = [];

  beforeEach((context) => {
    if (lacks !== '') context.skip(lacks);
  });
  beforeAll(async () => {
    if (lacks !== '') return;
    node = await TestNode.start({ stacks: true, layout });
    world = await World.start(node);
    await node.open();
    for (const pod of [node.pods.attacker, node.pods.receiver]) guarded.push(await node.guard(pod));
    const hosts = [node.pods.receiver.netns, world.netns, node.netns];
    servers.push(...(await Promise.all(hosts.map(startServer))));
  });
  afterEach(async () => {
    if (lacks !== '') return;
    for (const proxy of proxies) await proxy.kill();
    proxies = [];
    for (const netns of [node.netns, node.pods.attacker.netns, node.pods.receiver.netns])
      await commandIn(
        netns,
        'sh',
        '-c',
        'nft flush ruleset; for f in -4 -6; do ip $f rule del fwmark 1; done 2>/dev/null; true',
      );
    const counts = await Promise.all(guarded.map((one) => one.counts()));
    expect(counts, 'nothing is counted').toEqual([{}, {}]);
  });
  afterAll(async () => {
    if (lacks !== '') return;
    const { attacker } = node.pods;
    const ends = { source: '10.77.0.99', destination: RECEIVER.ipv4 };
    const packet = ipv4({ ...ends, protocol: PROTOCOL.udp }, udp(1, 2, undefined, ends));
    const { hostMac, identity } = attacker;
    await node.send(ethernet({ source: identity.mac, destination: hostMac, type: ETHERTYPE.ipv4 }, packet));
    await guarded[0]?.counted({ 'ipv4-source drop': 1 });
    for (const server of servers) await server.kill();
    for (const one of guarded) await one[Symbol.asyncDispose]();
    await world?.[Symbol.asyncDispose]();
    await node?.[Symbol.asyncDispose]();
  });

  const run = (netns: string, lines: readonly string[]) => commandIn(netns, 'sh', '-ec', lines.join('\n'));
  const startProxy = async (netns: string, port: number, mode: string) => {
    const proxy = launch('nsenter', [`--net=/run/netns/${netns}`, 'python3', '-c', PROXY, String(port), mode]);
    proxies.push(proxy);
    await proxy.printed('ready');
    return () => proxy.stdout().trim().split('\n').slice(1);
  };
  /** Exchanges with servers. @returns for each its address and the lengths of the echoes */
  const exchange = async (netns: string, addresses: readonly string[], port = ECHO_PORT, protocols = 'tcp') =>
    (await commandIn(netns, process.execPath, '-e', CLIENT, String(port), protocols, ...addresses)).trim().split('\n');
  const echoed = (addresses: readonly string[], sizes = '100000') => addresses.map((address) => `${address} ${sizes}`);
  const PODS = [RECEIVER.ipv4, RECEIVER.ipv6];
  const ALL = [...PODS, WORLD.ipv4, WORLD.ipv6];
  const PORT = String(ECHO_PORT);

  it('sidecar - REDIRECT in both pods', async () => {
    const { attacker, receiver } = node.pods;
    const outbound = await startProxy(attacker.netns, 15001, 'out');
    const inbound = await startProxy(receiver.netns, 15006, 'in');
    const others = `-m owner ! --uid-owner ${SIDECAR}`;
    await run(attacker.netns, rules(`-t nat -A OUTPUT -p tcp ${others} -j REDIRECT --to-ports 15001`));
    await run(receiver.netns, rules('-t nat -A PREROUTING -p tcp -j REDIRECT --to-ports 15006'));
    expect(await exchange(attacker.netns, ALL)).toEqual(echoed(ALL));
    expect(outbound()).toEqual(ALL.map((address) => `out ${address} ${PORT}`));
    expect(inbound()).toEqual([`in 127.0.0.1 ${PORT}`, `in ::1 ${PORT}`]);
  });

  it('sidecar - TPROXY in the receiving pod', async () => {
    const { attacker, receiver } = node.pods;
    const inbound = await startProxy(receiver.netns, 15006, 'in');
    const tproxy = '-t mangle -A PREROUTING -i eth0 -p tcp -j TPROXY --on-port 15006 --tproxy-mark 1';
    await run(receiver.netns, [...LOCAL, ...rules(tproxy)]);
    expect(await exchange(attacker.netns, PODS)).toEqual(echoed(PODS));
    expect(inbound()).toEqual([`in 127.0.0.1 ${PORT}`, `in ::1 ${PORT}`]);
  });

  it('ambient - a proxy of the node takes the flows of a pod, and keeps its address', async () => {
    const { attacker, receiver } = node.pods;
    const taken = await startProxy(node.netns, 15001, 'transparent');
    const back = `-i ${receiver.hostInterface} -p tcp -m socket --transparent -j MARK --set-mark 1`;
    const there = `-i ${attacker.hostInterface} -p tcp -j TPROXY --on-port 15001 --tproxy-mark 1`;
    const chains = [back, '-i up0 -p tcp -m socket --transparent -j MARK --set-mark 1', there];
    await run(node.netns, [...LOCAL, ...rules(...chains.map((rule) => `-t mangle -A PREROUTING ${rule}`))]);
    expect(await exchange(attacker.netns, ALL)).toEqual(echoed(ALL));
    expect(taken()).toEqual(ALL.map((address) => `transparent ${address} ${PORT}`));
  });

  it('host network - pods and programs of the node reach each other', async () => {
    const both = '100000 100';
    expect(await exchange(node.netns, PODS, ECHO_PORT, 'udp')).toEqual(echoed(PODS, both));
    const own = [UPLINK.ipv4, UPLINK.ipv6];
    expect(await exchange(node.pods.attacker.netns, own, ECHO_PORT, 'udp')).toEqual(echoed(own, both));
  });

  it('host port - from outside, from another pod and from the pod itself', async () => {
    const { attacker, receiver } = node.pods;
    const mappings = ['tcp', 'udp'].map((protocol) => ({ hostPort: 8080, containerPort: ECHO_PORT, protocol }));
    const call = (action: 'ADD' | 'DEL') => {
      const ips = [{ address: `${RECEIVER.ipv4}/32` }, { address: `${RECEIVER.ipv6}/128` }];
      const conf = { cniVersion: '1.0.0', name: 'pods', type: 'portmap', snat: true };
      const input = JSON.stringify({
        ...conf,
        runtimeConfig: { portMappings: mappings },
        prevResult: { cniVersion: '1.0.0', ips },
      });
      const env = { PATH: process.env['PATH'] ?? '', CNI_COMMAND: action, CNI_CONTAINERID: 'c1', CNI_IFNAME: 'eth0' };
      const plugin = `${cniBinDir(['portmap'])}/portmap`;
      const place = { CNI_NETNS: netnsPath(receiver.netns), CNI_PATH: cniBinDir(['portmap']) };
      return exec('nsenter', [`--net=${netnsPath(node.netns)}`, plugin], { input, env: { ...env, ...place } });
    };
    await call('ADD');
    const own = [UPLINK.ipv4, UPLINK.ipv6];
    for (const netns of [world.netns, attacker.netns, receiver.netns])
      expect(await exchange(netns, own, 8080, 'udp')).toEqual(echoed(own, '100000 100'));
    await call('DEL');
  });

  it('egress gateway - the node translates the sources of a pod', async () => {
    const routes = ['ip route del default', 'ip -6 route del default'];
    await run(world.netns, routes);
    // Control: the other host can answer the node alone.
    await expect(command('ip', '-n', world.netns, 'route', 'get', ATTACKER.ipv4)).rejects.toThrow(/unreachable/);
    await run(node.netns, rules('-t nat -A POSTROUTING -o up0 -j MASQUERADE'));
    const outside = [WORLD.ipv4, WORLD.ipv6];
    expect(await exchange(node.pods.attacker.netns, outside, ECHO_PORT, 'udp')).toEqual(echoed(outside, '100000 100'));
  });
});
