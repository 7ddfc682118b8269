// A process without capabilities leaves a link in the network of the node: the kernel moves L2TP devices there
// when their network namespace ends, and the process keeps the tunnel. The collector reports such a link.
import { dumpLinks } from '@bailiff/bpf';
import { waitFor } from '@bailiff/service/testing';
import { expect, it } from 'vitest';
import { ownNetworks } from '../../apps/collector/src/packets/kernel/own-networks.ts';
import { isLeft } from '../../apps/collector/src/packets/subjects/left-links.ts';
import { launch } from '../support/process.ts';
import { command } from './harness/processes.ts';

const LINK = 'eth97';
/** A tunnel to itself, and its link in a namespace that ends at once. */
const LEAVE = [
  'ip link set lo up',
  'ip l2tp add tunnel tunnel_id 7 peer_tunnel_id 7 encap udp local 127.0.0.1 remote 127.0.0.1 udp_sport 6000 udp_dport 6001',
  `ip l2tp add session name ${LINK} tunnel_id 7 session_id 7 peer_session_id 7`,
  // More than the kernel's replies have room for by default.
  `for n in $(seq 480); do echo "link property add dev ${LINK} altname $(printf "n%0126d" $n)"; done | ip -batch -`,
  'echo made',
  'read -r _',
  'unshare -n sleep infinity & inner=$!',
  `until ip link set ${LINK} netns $inner 2>/dev/null && ! ip link show ${LINK} >/dev/null 2>&1; do :; done`,
  'kill $inner',
  'read -r _',
].join('\n');
const UNPRIVILEGED = ['--reuid=65534', '--regid=65534', '--clear-groups', '--inh-caps=-all', '--bounding-set=-all'];

it('a link that a process without capabilities leaves in the network of the node is recognised, and no other', async (context) => {
  const left = () => dumpLinks().filter((link) => isLeft(link));
  expect(left(), 'links of this machine').toEqual([]);
  await command('modprobe', 'l2tp_eth').catch(() => undefined);
  await using pod = launch('setpriv', [...UNPRIVILEGED, 'unshare', '-Urn', 'sh', '-ec', LEAVE], {
    stdio: ['pipe', 'pipe', 'pipe'],
  });
  const lacks = await pod.printed('made').then(
    () => '',
    () => pod.stderr(),
  );
  if (lacks !== '') context.skip(`optional: no L2TP in this kernel, or no user namespaces: ${lacks.trim()}`);
  expect(left(), 'control: its namespace is another one').toEqual([]);
  pod.child.stdin?.write('\n');
  await waitFor(left, { what: LINK, until: (links) => links.map(({ name }) => name).join() === LINK });
  await command('ip', 'link', 'add', 'later0', 'type', 'veth', 'peer', 'name', 'later1');
  const names = dumpLinks().map(({ name }) => name);
  await command('ip', 'link', 'del', 'later0');
  expect(names, 'links behind it').toEqual(expect.arrayContaining([LINK, 'later0', 'later1']));
  expect(ownNetworks().local, 'own networks are read').toContain('127.0.0.0/8');
  await pod.kill();
  await waitFor(left, { what: 'the link to end with its tunnel', until: (links) => links.length === 0 });
});
