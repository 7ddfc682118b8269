// A process without capabilities leaves a link in the network of the node: the kernel moves L2TP devices there
// when their network namespace ends, and the process keeps the tunnel. The collector reports such a link, whatever its
// name is.
import { dumpLinks, dumpLinksOf } from '@bailiff/bpf';
import { waitFor } from '@bailiff/service/testing';
import { expect, it } from 'vitest';
import { ownNetworks } from '../../apps/collector/src/packets/kernel/own-networks.ts';
import { isLeft } from '../../apps/collector/src/packets/subjects/left-links.ts';
import { hostSides, nodeLinks, ownLinks } from '../../apps/collector/src/packets/subjects/node-links.ts';
import { launch } from '../support/process.ts';
import { command } from './harness/processes.ts';

/**
 * A tunnel to itself, and its link in a namespace that ends at once.
 * @param name for printf
 */
const leave = (name: string) =>
  [
    `link=$(printf '${name}')`,
    'ip link set lo up',
    'ip l2tp add tunnel tunnel_id 7 peer_tunnel_id 7 encap udp local 127.0.0.1 remote 127.0.0.1 udp_sport 6000 udp_dport 6001',
    'ip l2tp add session name "$link" tunnel_id 7 session_id 7 peer_session_id 7',
    // More than the kernel's replies have room for by default.
    'for n in $(seq 480); do echo "link property add dev $link altname $(printf "n%0126d" $n)"; done | ip -batch -',
    'echo made',
    'read -r _',
    'unshare -n sleep infinity & inner=$!',
    'until ip link set "$link" netns $inner 2>/dev/null && ! ip link show "$link" >/dev/null 2>&1; do :; done',
    'kill $inner',
    'read -r _',
  ].join('\n');
const UNPRIVILEGED = ['--reuid=65534', '--regid=65534', '--clear-groups', '--inh-caps=-all', '--bounding-set=-all'];

it.for([
  ['eth97', 'eth97'],
  ['a name that is not UTF-8', 'eth97\\377', 'eth97\uFFFD'],
])(
  'a link that a process without capabilities leaves in the network of the node is recognised, and no other: %s',
  async ([what = '', printed = '', name = printed], context) => {
    const left = () => dumpLinks().filter((link) => isLeft(link));
    expect(left(), 'links of this machine').toEqual([]);
    await command('modprobe', 'l2tp_eth').catch(() => undefined);
    await using pod = launch('setpriv', [...UNPRIVILEGED, 'unshare', '-Urn', 'sh', '-ec', leave(printed)], {
      stdio: ['pipe', 'pipe', 'pipe'],
    });
    const lacks = await pod.printed('made').then(
      () => '',
      () => pod.stderr(),
    );
    if (lacks !== '') context.skip(`optional: no L2TP in this kernel, or no user namespaces: ${lacks.trim()}`);
    expect(left(), 'control: its namespace is another one').toEqual([]);
    pod.child.stdin?.write('\n');
    await waitFor(left, { what, until: (links) => links.map((link) => link.name).join() === name });
    await command('ip', 'link', 'add', 'later0', 'type', 'veth', 'peer', 'name', 'later1');
    const names = dumpLinks().map((link) => link.name);
    const sides = hostSides().map((link) => link.name);
    const uncounted = [...hostSides(), ...dumpLinks()].filter(({ rxPackets }) => rxPackets === null);
    const own = ownLinks().map((link) => link.name);
    await command('ip', 'link', 'del', 'later0');
    expect(names, 'links behind it').toEqual(expect.arrayContaining([name, 'later0', 'later1']));
    expect(uncounted, 'links without counters').toEqual([]);
    expect(sides, 'host sides alone').toEqual(expect.arrayContaining(['later0', 'later1']));
    expect(sides).not.toContain(name);
    expect(own, 'its MAC takes none from a pod').not.toContain(name);
    expect(own).toEqual(expect.arrayContaining(['lo', 'later0', 'later1']));
    expect(ownNetworks().local, 'own networks are read').toContain('127.0.0.0/8');
    await pod.kill();
    await waitFor(left, { what: 'the link to end with its tunnel', until: (links) => links.length === 0 });
  },
);

it('a host side behind one with 64 KiB of alternative names is read by its index', async () => {
  const veth = (name: string) => ['link', 'add', name, 'type', 'veth', 'peer', 'name', `${name}p`];
  await command('ip', ...veth('large0'));
  await command('ip', ...veth('later0'));
  try {
    const ifindex = dumpLinks().find(({ name }) => name === 'later0')?.ifindex ?? 0;
    const names = 'for n in $(seq 520); do echo "link property add dev large0 altname $(printf "n%0126d" $n)"; done';
    await command('sh', '-c', `{ ${names}; } | ip -batch - || true`);
    const listed = dumpLinksOf('veth').map(({ name }) => name);
    expect(listed, 'control: the list ends before it').not.toContain('later0');
    expect(nodeLinks([ifindex]).map(({ name }) => name)).toContain('later0');
    expect(nodeLinks([ifindex, 2 ** 30]).filter((link) => link.ifindex === 2 ** 30)).toEqual([]);
  } finally {
    for (const name of ['large0', 'later0']) await command('ip', 'link', 'del', name);
  }
});
