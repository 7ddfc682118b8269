// A node whose firewall has helpers for FTP and TFTP (nft `ct helper`): the next flow of a session passes
// it and is translated to the client. A neighbour of the client forges that flow under the address of the
// server. Unguarded it lands at the client; a guarded pod sends none of it. A session opens no flow to an
// address that its own pod does not have.
import { ETHERTYPE, ethernet, ipv4, PROTOCOL, TCP_FLAGS, tcp, udp } from '@bailiff/lab/frames';
import { waitFor } from '@bailiff/service/testing';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { launch, type RunningProcess } from '../support/process.ts';
import { ATTACKER, NODE, type Pod, RECEIVER, TestNode } from './harness/node.ts';
import { commandIn } from './harness/processes.ts';
import { UPLINK, WORLD, World } from './harness/world.ts';

/** nf_conntrack_helper is gone from Linux 6.0: only a rule assigns a helper. */
const FIREWALL = `
sysctl -qw net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.br0.rp_filter=0 net.ipv4.conf.up0.rp_filter=0
nft -f - <<'END'
table ip node {
  ct helper ftp { type "ftp" protocol tcp; }
  ct helper tftp { type "tftp" protocol udp; }
  chain helpers {
    type filter hook prerouting priority 0;
    tcp dport 21 ct helper set "ftp"
    udp dport 69 ct helper set "tftp"
  }
  chain out { type nat hook postrouting priority 100; oifname "up0" masquerade; }
}
END`;
/** Answers each command. */
const SERVER = `
import socket, threading
def serve(client):
    while client.recv(100):
        client.sendall(b'200\\r\\n')
server = socket.create_server(('0.0.0.0', 21))
print('ready', flush=True)
while True:
    threading.Thread(target=serve, args=(server.accept()[0],), daemon=True).start()`;
/** Announces an address and a port, and keeps the session. The helper reads no first command. */
const CLIENT = `
import socket, sys
client = socket.create_connection(('${WORLD.ipv4}', 21))
for command in ('USER pod', 'PORT ' + sys.argv[1]):
    client.sendall((command + '\\r\\n').encode())
    client.recv(100)
print('announced', flush=True)
sys.stdin.read()`;

const marker = Buffer.from('into the session of another pod');

describe('helpers of connection tracking', () => {
  let node: TestNode;
  let world: World;
  let server: RunningProcess;
  const sessions: RunningProcess[] = [];
  let lacks = '';
  beforeAll(async () => {
    node = await TestNode.start({ stacks: true });
    world = await World.start(node);
    await node.open();
    await commandIn(node.netns, 'sh', '-ec', FIREWALL).catch((error: Error) => {
      lacks = error.message;
    });
    server = launch('nsenter', [`--net=/run/netns/${world.netns}`, 'python3', '-c', SERVER]);
    await server.printed('ready');
  });
  beforeEach((context) => {
    if (lacks !== '') context.skip(`optional: this kernel lacks helpers for nft: ${lacks}`);
  });
  afterEach(async () => {
    for (const one of sessions.splice(0)) await one.kill();
  });
  afterAll(async () => {
    await server?.kill();
    await world?.[Symbol.asyncDispose]();
    await node?.[Symbol.asyncDispose]();
  });

  const expected = () => commandIn(node.netns, 'cat', '/proc/net/nf_conntrack_expect');
  /** The port of the node at which a flow from the server is expected. */
  async function portOf(helper: string): Promise<number> {
    const line = new RegExp(`src=${WORLD.ipv4} dst=${UPLINK.ipv4} sport=\\d+ dport=(\\d+) .*\\b${helper}\\b`);
    const text = await waitFor(expected, { what: `a flow of ${helper}`, until: (lines) => line.test(lines) });
    return Number(line.exec(text)?.[1]);
  }
  async function openSession(pod: Pod, address: string, port: number): Promise<void> {
    const words = [...address.split('.'), port >> 8, port & 255].join(',');
    const args = [`--net=/run/netns/${pod.netns}`, 'python3', '-c', CLIENT, words];
    const client = launch('nsenter', args, { stdio: ['pipe', 'pipe', 'pipe'] });
    sessions.push(client);
    await client.printed('announced');
  }
  const ends = { source: WORLD.ipv4, destination: UPLINK.ipv4 };
  const fromServer = (protocol: number, segment: Buffer): Buffer =>
    ethernet(
      { source: ATTACKER.mac, destination: NODE.mac, type: ETHERTYPE.ipv4 },
      ipv4({ ...ends, protocol }, segment),
    );

  const FLOWS = {
    tftp: {
      open: async () => {
        const request = "printf '\\0\\1file\\0octet\\0' > /dev/udp/$0/69";
        await commandIn(node.pods.receiver.netns, 'bash', '-ec', request, WORLD.ipv4);
      },
      forged: (port: number) => fromServer(PROTOCOL.udp, udp(4000, port, marker)),
    },
    ftp: {
      open: () => openSession(node.pods.receiver, RECEIVER.ipv4, 5001),
      forged: (port: number) =>
        fromServer(PROTOCOL.tcp, tcp({ source: 20, destination: port, flags: TCP_FLAGS.syn }, marker, ends)),
    },
  };

  it.each(['tftp', 'ftp'] as const)('%s - the expected flow, forged by a neighbour of the client', async (name) => {
    const { open, forged } = FLOWS[name];
    node.forgetLanded();
    await open();
    await node.send(forged(await portOf(name)));
    await waitFor(() => node.landedWith(marker), {
      what: 'control: it lands unguarded',
      until: (count) => count === 1,
    });

    await using guarded = await node.guard(node.pods.attacker);
    await using receiver = await node.guard(node.pods.receiver);
    await open();
    const port = await portOf(name);
    await node.send(forged(port));
    await node.fence();
    expect(node.landedWith(marker)).toBe(1);
    expect(await guarded.counts()).toEqual({ 'ipv4-source drop': 1 });
    if (name === 'tftp') {
      await commandIn(world.netns, 'bash', '-ec', `printf '${marker}' > /dev/udp/$0/$1`, UPLINK.ipv4, String(port));
      await waitFor(() => node.landedWith(marker), { what: 'the server itself', until: (count) => count === 2 });
    }
    expect(await receiver.counts()).toEqual({});
  });

  it('ftp - a session that names the address of a neighbour opens nothing', async () => {
    const { attacker } = node.pods;
    await openSession(attacker, ATTACKER.ipv4, 5002);
    expect(await expected(), 'control: its own address').toContain('dport=5002 ');
    await openSession(attacker, RECEIVER.ipv4, 5003);
    expect(await expected()).not.toContain('dport=5003 ');
  });
});
