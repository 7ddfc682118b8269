// Probes of a quarantined pod, with real stacks: connections of the node's own processes pass; those of pods on
// the host's network, and packets with the same addresses from elsewhere, do not. On netkit it needs Linux 6.7:
// BAILIFF_VM_FILES=quarantine-probe.
import { mkdirSync, rmdirSync, statSync } from 'node:fs';
import path from 'node:path';
import { FOREVER_NS } from '@bailiff/bpf';
import { ETHERTYPE, ethernet, ipv4, PROTOCOL, TCP_FLAGS, tcp } from '@bailiff/lab/frames';
import { cgroup2Mount } from '@bailiff/lab/node';
import { waitFor } from '@bailiff/service/testing';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { launch, type RunningProcess } from '../support/process.ts';
import { BRIDGE, onNetkit, ROUTED } from './harness/layouts.ts';
import { ATTACKER, type Guarded, NODE, noNetkit, RECEIVER, TestNode } from './harness/node.ts';
import { commandIn, LineProcess } from './harness/processes.ts';

/** Echoes TCP and UDP on one port of both families; prints the port, then each reset. Sends to its clients on SIGUSR2. */
const SERVER = `
const net = require('node:net'), dgram = require('node:dgram');
const sockets = new Set();
process.on('SIGUSR2', () => sockets.forEach((socket) => socket.write('from the pod')));
const server = net.createServer((socket) => {
  sockets.add(socket.on('error', (error) => console.log(error.code)));
  socket.on('close', () => sockets.delete(socket)).pipe(socket);
});
server.listen(0, '::', () => {
  const { port } = server.address();
  const udp = dgram.createSocket('udp6', (data, from) => udp.send(data, from.port, from.address));
  udp.bind(port, '::', () => console.log(port));
});`;

/** Print the reply, or wait for it without a limit of their own. */
const TCP_PROBE = `
const [, own, address, port, end] = process.argv;
const ends = { localPort: Number(own), host: address, port: Number(port) };
const socket = require('node:net').connect(ends, () => socket.write('probe'));
// Printed last: the reader ends this process.
const say = (text) => { end === 'reset' ? socket.resetAndDestroy() : socket.end(); console.log(text); };
socket.on('data', (data) => say(String(data))).on('error', (error) => say(error.code));`;
const UDP_PROBE = `
const [, own, address, port] = process.argv;
const socket = require('node:dgram').createSocket(address.includes(':') ? 'udp6' : 'udp4');
const say = (text) => { console.log(text); process.exit(); };
socket.on('message', (data) => say(String(data)));
socket.bind(Number(own), () => socket.send('probe', Number(port), address));`;

/** Connects from a probe port, and sends each line that it reads. */
const CLIENT = `
import socket, sys, threading
address, host, port, own = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
s = socket.socket(socket.AF_INET6 if ':' in host else socket.AF_INET)
s.bind((address, own))
s.connect((host, port))
print('connected', flush=True)
def answers():
    while True: print('answer', s.recv(100).decode(), flush=True)
threading.Thread(target=answers, daemon=True).start()
for line in sys.stdin: s.send(line.encode())`;

/** A reply takes a millisecond; on a busy machine a process may take seconds to start. */
const ANSWER_MS = 30_000;
const IN_PORT = 30_080;
const OUT_PORT = 30_081;
/** A second probe port, without a server. */
const CLIENT_PORT = 30_082;
/** Clients have ports after this one, and no two have the same. */
const BEFORE_CLIENTS = 20_000;
/** Runs a program in a cgroup. */
const ENTER = ['sh', '-ec', 'echo 0 > "$0/cgroup.procs"; exec "$@"'];
const FAMILIES = [
  ['IPv4', ATTACKER.ipv4],
  ['IPv6', ATTACKER.ipv6],
] as const;

const LINKS = [BRIDGE, onNetkit(BRIDGE, 'l2'), onNetkit(ROUTED, 'l3')];

describe.each(LINKS)('probes under quarantine, $name', (layout) => {
  const lacks = layout.netkit === undefined ? '' : noNetkit();
  let node: TestNode;
  let server: RunningProcess;
  let port: number;
  /** Port of the newest client. */
  let own = BEFORE_CLIENTS;
  /** Of all pods, of a container of one of them, and of a process of the node. */
  const top = path.join(cgroup2Mount(), `bailiff-probes-${process.pid}`);
  const cgroups = {
    pods: path.join(top, 'pods'),
    container: path.join(top, 'pods/a/b'),
    kubelet: path.join(top, 'node'),
  };
  const removedLast = [top, cgroups.kubelet, cgroups.pods, path.dirname(cgroups.container), cgroups.container];
  const printed = () => server.stdout().split('\n').slice(0, -1);

  beforeEach((context) => {
    if (lacks !== '') context.skip(lacks);
  });
  beforeAll(async () => {
    if (lacks !== '') return;
    for (const dir of Object.values(cgroups)) mkdirSync(dir, { recursive: true });
    node = await TestNode.start({ stacks: true, layout });
    await node.open();
    await setPodsCgroup(cgroups.pods);
    await node.agent.call('object.maps.nodeAddresses.replace', [
      { address: NODE.ipv4, thisNode: true },
      { address: NODE.ipv6, thisNode: true },
    ]);
    const netns = `/run/netns/${node.pods.attacker.netns}`;
    server = launch('nsenter', [`--net=${netns}`, process.execPath, '-e', SERVER]);
    await server.printed('\n');
    port = Number(printed()[0]);
    // The work of a node port: translate, forward, masquerade.
    const rules = `
table ip ports {
  chain translate {
    type nat hook prerouting priority -100
    ip daddr ${NODE.ipv4} tcp dport ${IN_PORT} dnat to ${ATTACKER.ipv4}:${port}
    ip daddr ${NODE.ipv4} tcp dport ${OUT_PORT} dnat to ${RECEIVER.ipv4}:9000
  }
  chain hide {
    type nat hook postrouting priority 100
    ct status dnat masquerade
  }
}`;
    const setup = `sysctl -qw net.ipv4.ip_forward=1\nnft -f - <<'END'\n${rules}\nEND`;
    await commandIn(node.netns, 'sh', '-ec', setup);
  });
  afterAll(async () => {
    if (lacks !== '') return;
    await server?.kill();
    await node?.[Symbol.asyncDispose]();
    for (const dir of removedLast.toReversed()) rmdirSync(dir);
  });

  /** @param dir null: not known */
  const setPodsCgroup = (dir: string | null) =>
    node.agent.call('object.maps.setPodsCgroup', dir === null ? 0n : statSync(dir, { bigint: true }).ino);
  async function quarantined(generations = 0): Promise<Guarded> {
    const guarded = await node.guard(node.pods.attacker, { quarantineUntilNs: FOREVER_NS });
    const key = { ...guarded.key, generation: guarded.key.generation + generations };
    await node.agent.call('object.maps.probePorts.replace', key, [
      { port, protocol: 'tcp' },
      { port, protocol: 'udp' },
      { port: CLIENT_PORT, protocol: 'tcp' },
    ]);
    return guarded;
  }
  /**
   * Dropped packets of the newest client. The pod repeats segments of earlier connections, and real
   * stacks send others, such as MLD reports.
   */
  const cut = async (guarded: Guarded, of = own) =>
    (await guarded.samples()).filter(({ sourcePort, destinationPort }) => [sourcePort, destinationPort].includes(of));
  /** @param from a namespace, and a cgroup unless the process stays in that of the test */
  const startProbe = (from: string | readonly [string, string], script: string, ...args: unknown[]) => {
    const answers: string[] = [];
    const [netns, cgroup] = typeof from === 'string' ? [from] : from;
    own += 1;
    const program = [process.execPath, '-e', script, String(own), ...args.map(String)];
    const run = ['nsenter', `--net=/run/netns/${netns}`, ...program];
    const [file, ...words] = cgroup === undefined ? run : [...ENTER, cgroup, ...run];
    const probe = new LineProcess(file as string, words, (line) => answers.push(line));
    return { answers, [Symbol.asyncDispose]: () => probe.close() };
  };
  /** Waits for the reply, however late. */
  async function answerTo(...probe: Parameters<typeof startProbe>): Promise<string> {
    await using running = startProbe(...probe);
    const { answers } = running;
    await waitFor(() => answers.length, { what: 'a reply', until: (count) => count > 0, timeoutMs: ANSWER_MS });
    return answers.join();
  }
  /**
   * Runs the probe until one of its packets was dropped on the way to the pod: then the pod never
   * got it.
   */
  async function isCut(guarded: Guarded, ...probe: Parameters<typeof startProbe>): Promise<void> {
    await using running = startProbe(...probe);
    const dropped = await waitFor(() => cut(guarded), {
      what: 'a dropped packet of the probe',
      until: (samples) => samples.length > 0,
      timeoutMs: ANSWER_MS,
    });
    expect(dropped[0]).toMatchObject({ vector: 'quarantine-egress', destinationPort: port });
    expect((await guarded.counts())['quarantine-egress drop']).toBeGreaterThan(0);
    expect(running.answers).toEqual([]);
  }

  it.each(FAMILIES)('tcp - the node probes over %s and nothing is dropped', async (_, address) => {
    await using guarded = await quarantined();
    expect(await answerTo(node.netns, TCP_PROBE, address, port)).toBe('probe');
    expect(await cut(guarded)).toEqual([]);
  });

  it.each(FAMILIES)('udp - the node probes over %s and nothing is dropped', async (_, address) => {
    await using guarded = await quarantined();
    expect(await answerTo(node.netns, UDP_PROBE, address, port)).toBe('probe');
    expect(await cut(guarded)).toEqual([]);
  });

  it.each(FAMILIES)(
    'tcp - a connection to a server of the node, from the probe port, does not outlast (%s)',
    async (family, address) => {
      const host = family === 'IPv4' ? NODE.ipv4 : NODE.ipv6;
      await using proxy = launch('nsenter', [`--net=/run/netns/${node.netns}`, process.execPath, '-e', SERVER]);
      await proxy.printed('\n');
      const args = [address, host, proxy.stdout().trim(), String(CLIENT_PORT)];
      const words = [`--net=/run/netns/${node.pods.attacker.netns}`, 'python3', '-c', CLIENT, ...args];
      await using client = launch('nsenter', words, { stdio: ['pipe', 'pipe', 'pipe'] });
      await client.printed('connected');
      client.child.stdin!.write('before\n');
      await client.printed('before');
      await using guarded = await quarantined();
      expect(await answerTo(node.netns, TCP_PROBE, address, port), 'probes still pass').toBe('probe');
      client.child.stdin!.write('within\n');
      const dropped = await waitFor(() => cut(guarded, CLIENT_PORT), {
        what: 'a dropped segment',
        until: (samples) => samples.length > 0,
      });
      expect(dropped[0]).toMatchObject({ vector: 'quarantine-ingress', sourcePort: CLIENT_PORT });
      expect(client.stdout()).not.toContain('within');
    },
  );

  describe.each([
    ['tcp', TCP_PROBE],
    ['udp', UDP_PROBE],
  ])('%s of a pod on the host’s network', (_, script) => {
    it.each(FAMILIES)('is no probe (%s)', async (_, address) => {
      await using guarded = await quarantined();
      const probe = [[node.netns, cgroups.container], script, address, port] as const;
      await setPodsCgroup(null);
      expect(await answerTo(...probe), 'control: where the cgroup of pods is not known').toBe('probe');
      await setPodsCgroup(cgroups.pods);
      expect(await answerTo([node.netns, cgroups.kubelet], script, address, port), 'of the node').toBe('probe');
      expect(await cut(guarded)).toEqual([]);
      await isCut(guarded, ...probe);
    });
  });

  it.each(FAMILIES)(
    'tcp - a connection of a pod on the host’s network from before does not outlast (%s)',
    async (_, address) => {
      const dir = cgroups.container;
      const words = [...ENTER.slice(1), dir, 'nsenter', `--net=/run/netns/${node.netns}`, 'python3', '-c', CLIENT];
      own += 1;
      const args = [address.includes(':') ? '::' : '0.0.0.0', address, String(port), String(own)];
      await using client = launch('sh', [...words, ...args], { stdio: ['pipe', 'pipe', 'pipe'] });
      await client.printed('connected');
      client.child.stdin!.write('before\n');
      await client.printed('answer before');
      await using guarded = await quarantined();
      server.child.kill('SIGUSR2');
      client.child.stdin!.write('within\n');
      const vectors = new Set<string>();
      const dropped = async () => {
        for (const { vector } of await cut(guarded)) vectors.add(vector);
        return [...vectors].sort().join();
      };
      await waitFor(dropped, {
        what: 'dropped segments of both directions',
        until: (found) => found === 'quarantine-egress,quarantine-ingress',
      });
      expect(client.stdout()).not.toMatch(/within|from the pod/);
    },
  );

  it('tcp - the reset that ends a probe reaches the pod', async () => {
    await using guarded = await quarantined();
    const before = printed().length;
    expect(await answerTo(node.netns, TCP_PROBE, ATTACKER.ipv4, port, 'reset')).toBe('probe');
    await waitFor(() => printed().slice(before), {
      what: 'the server prints its error',
      until: (lines) => lines.includes('ECONNRESET'),
    });
    expect(await cut(guarded)).toEqual([]);
  });

  it('ports - probe ports of another generation do not count', async () => {
    await using guarded = await quarantined(1000);
    await isCut(guarded, node.netns, TCP_PROBE, ATTACKER.ipv4, port);
  });

  it('node port - does not reach the pod', async () => {
    const probe = [node.pods.receiver.netns, TCP_PROBE, NODE.ipv4, IN_PORT] as const;
    expect(await answerTo(...probe), 'control: without quarantine it is served').toBe('probe');
    await using guarded = await quarantined();
    await isCut(guarded, ...probe);
  });

  it('node port - the pod cannot send out through it from its probe port', async () => {
    const ends = { source: ATTACKER.ipv4, destination: NODE.ipv4 };
    const letOut = async (text: string): Promise<() => number> => {
      const segment = tcp({ source: port, destination: OUT_PORT, flags: TCP_FLAGS.ack }, Buffer.from(text), ends);
      const packet = ipv4({ ...ends, protocol: PROTOCOL.tcp }, segment);
      const { hostMac, identity } = node.pods.attacker;
      const destination = layout.netkit === 'l3' ? hostMac : NODE.mac;
      await node.send(ethernet({ source: identity.mac, destination, type: ETHERTYPE.ipv4 }, packet));
      const hex = Buffer.from(text).toString('hex');
      return () => node.allLanded().filter((frame) => frame.includes(hex)).length;
    };
    const control = await letOut('out unguarded');
    await waitFor(control, { what: 'control: it is forwarded', until: (count) => count === 1 });
    await using guarded = await quarantined();
    const landed = await letOut('out in quarantine');
    // The reset that answers the control may arrive as well.
    const drops = async () => (await guarded.counts())['quarantine-ingress drop'] ?? 0;
    await waitFor(drops, { what: 'a dropped packet', until: (count) => count >= 1 });
    expect(landed()).toBe(0);
  });
});
