/**
 * A host outside the node, for traffic that the node routes: `eth0` there, `up0` in the node, with a
 * smaller path MTU behind it. Also starts servers in namespaces.
 */
import { launch, type RunningProcess } from '../../support/process.ts';
import type { TestNode } from './node.ts';
import { command, commandIn } from './processes.ts';

/** Of the other host, and of the node on the way to it. */
export const WORLD = { ipv4: '192.0.2.2', ipv6: 'fd00:192::2' } as const;
export const UPLINK = { ipv4: '192.0.2.1', ipv6: 'fd00:192::1' } as const;
/** The node reports it to senders of larger packets. */
export const PATH_MTU = 1400;
const DEFAULT = `default via ${WORLD.ipv4} dev up0 mtu lock ${PATH_MTU}`;
/** TCP and UDP echo. */
export const ECHO_PORT = 7000;
/** Answer of the DNS servers for every name. */
export const DNS_ANSWER = '10.96.0.53';

/** Echoes TCP and UDP on both families, and answers DNS queries for A records. */
const SERVER = `
const net = require('node:net'), dgram = require('node:dgram');
const [, port, answer] = process.argv;
const echo = dgram.createSocket('udp6', (data, from) => echo.send(data, from.port, from.address));
const dns = dgram.createSocket('udp6', (query, from) => {
  const question = query.subarray(12, query.indexOf(0, 12) + 5);
  const head = Buffer.from([...query.subarray(0, 2), 0x81, 0x80, 0, 1, 0, 1, 0, 0, 0, 0]);
  const record = Buffer.from([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 5, 0, 4, ...answer.split('.').map(Number)]);
  dns.send(Buffer.concat([head, question, record]), from.port, from.address);
});
net.createServer((socket) => socket.pipe(socket)).listen(Number(port), '::', () =>
  echo.bind(Number(port), '::', () => dns.bind(53, '::', () => console.log('ready'))));`;

export async function startServer(netns: string): Promise<RunningProcess> {
  const script = ['-e', SERVER, String(ECHO_PORT), DNS_ANSWER];
  const server = launch('nsenter', [`--net=/run/netns/${netns}`, process.execPath, ...script]);
  await server.printed('ready');
  return server;
}

export class World implements AsyncDisposable {
  readonly netns: string;

  private constructor(netns: string) {
    this.netns = netns;
  }

  static async start(node: TestNode): Promise<World> {
    const world = new World(`${node.netns}w`);
    await command('ip', 'netns', 'add', world.netns);
    try {
      await world.#connect(node);
    } catch (error) {
      await world[Symbol.asyncDispose]();
      throw error;
    }
    return world;
  }

  async #connect(node: TestNode): Promise<void> {
    const pods = [node.pods.attacker, node.pods.receiver];
    const inNode = [
      'sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1',
      `ip link add up0 type veth peer name eth0 netns ${this.netns}`,
      'ip link set up0 up',
      `ip addr add ${UPLINK.ipv4} dev up0`,
      `ip addr add ${UPLINK.ipv6} dev up0 nodad`,
      `ip route add ${WORLD.ipv4} dev up0 mtu lock ${PATH_MTU}`,
      `ip -6 route add ${WORLD.ipv6} dev up0 mtu lock ${PATH_MTU}`,
      `ip route add ${DEFAULT}`,
      `ip -6 route add default via ${WORLD.ipv6} dev up0 mtu lock ${PATH_MTU}`,
      ...pods.flatMap(({ identity }) => node.layout.uplink?.(identity, DEFAULT) ?? []),
    ];
    await commandIn(node.netns, 'sh', '-ec', inNode.join('\n'));
    const inWorld = [
      'ip link set lo up',
      'ip link set eth0 up',
      `ip addr add ${WORLD.ipv4}/24 dev eth0`,
      `ip addr add ${WORLD.ipv6}/64 dev eth0 nodad`,
      `ip route add default via ${UPLINK.ipv4}`,
      `ip -6 route add default via ${UPLINK.ipv6}`,
    ];
    await commandIn(this.netns, 'sh', '-ec', inWorld.join('\n'));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await command('ip', 'netns', 'delete', this.netns);
  }
}
