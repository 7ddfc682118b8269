// A network inside a pod (Docker, k3s, a VPN gateway), which the pod's kernel translates to the pod's address. Netfilter
// translates no packet of a connection that it has forgotten: such a packet leaves with its inner source.
import { waitFor } from '@bailiff/service/testing';
import { expect, it } from 'vitest';
import { RECEIVER, TestNode } from './harness/node.ts';
import { commandIn } from './harness/processes.ts';

/** Answers a connection by its end, which the client sees, and reads until the client ends it too. */
const SERVER = `import socket
s = socket.create_server(('', 80)); s.settimeout(20)
for _ in range(2):
    c, _ = s.accept(); c.recv(9); c.shutdown(socket.SHUT_WR)
`;
/** Ends its half after netfilter has forgotten the connection, which nothing shows: an entry that ended is removed later. */
const CLIENT = `import socket, sys, time
s = socket.create_connection(('${RECEIVER.ipv4}', 80), 5); s.send(b'x')
assert s.recv(9) == b''
time.sleep(float(sys.argv[1])); s.close()
`;

it('an end of a forgotten connection leaves untranslated, unless the pod drops invalid packets', async () => {
  await using node = await TestNode.start({ stacks: true });
  await node.open();
  const { attacker, receiver } = node.pods;
  const inner = `${attacker.netns}i`;
  await commandIn(node.netns, 'ip', 'netns', 'add', inner);
  try {
    const nested = [
      `ip link add in0 type veth peer name c0 netns ${inner}`,
      'ip addr add 172.17.0.1/16 dev in0',
      'ip link set in0 up',
      'sysctl -qw net.ipv4.ip_forward=1',
      `ip -n ${inner} addr add 172.17.0.2/16 dev c0`,
      `ip -n ${inner} link set c0 up`,
      `ip -n ${inner} route add default via 172.17.0.1`,
      'iptables -t nat -A POSTROUTING -s 172.17.0.0/16 -o eth0 -j MASQUERADE',
      'sysctl -qw net.netfilter.nf_conntrack_tcp_timeout_close_wait=1',
    ];
    await commandIn(attacker.netns, 'sh', '-ec', nested.join('\n'));
    await using guarded = await node.guard(attacker);
    const server = commandIn(receiver.netns, 'python3', '-c', SERVER);
    const connect = () => commandIn(inner, 'python3', '-c', CLIENT, '3');
    await waitFor(() => commandIn(receiver.netns, 'sh', '-c', 'ss -Htln sport = 80'), {
      what: 'a server',
      until: Boolean,
    });

    await commandIn(
      attacker.netns,
      'iptables',
      '-I',
      'FORWARD',
      '-m',
      'conntrack',
      '--ctstate',
      'INVALID',
      '-j',
      'DROP',
    );
    await connect();
    const dropped = () => commandIn(attacker.netns, 'iptables', '-nvxL', 'FORWARD');
    await waitFor(dropped, { what: 'a packet that the pod drops', until: (text) => /^ *[1-9]\d* .*DROP/m.test(text) });
    expect(await guarded.counts()).toEqual({});

    await commandIn(attacker.netns, 'iptables', '-F', 'FORWARD');
    await connect();
    await waitFor(() => guarded.counts(), {
      what: 'control: the packet leaves as it is',
      until: (counts) => (counts['ipv4-source drop'] ?? 0) > 0,
    });
    await server;
  } finally {
    await commandIn(node.netns, 'ip', 'netns', 'del', inner);
  }
});
