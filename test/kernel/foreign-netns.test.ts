// A pod that reaches into the node's network namespace by its id, which the pod's end of the pair gives
// it. No packet program sees what it does there. The rule foreign-network of escape-guard refuses it
// (test/lsm/kernel-ops.test.ts), and so does the kernel in a pod with a user namespace.
import { spawnSync } from 'node:child_process';
import { ETHERTYPE, ethernet, ipv4, PROTOCOL, udp } from '@bailiff/lab/frames';
import { waitFor } from '@bailiff/service/testing';
import { beforeEach, describe, expect, it } from 'vitest';
import { launch } from '../support/process.ts';
import { FrameSender, NODE, RECEIVER } from './harness/node.ts';
import { command } from './harness/processes.ts';
import { useNode } from './harness/use-node.ts';

const TIMES = 3;
/** As the gateway of the pods. */
const FORGED = ethernet(
  { destination: RECEIVER.mac, source: NODE.mac, type: ETHERTYPE.ipv4 },
  ipv4({ source: NODE.ipv4, destination: RECEIVER.ipv4, protocol: PROTOCOL.udp }, udp(4000, 9)),
);

describe('network namespace of the node, by its id', () => {
  const node = useNode();
  beforeEach((context) => {
    const probe = spawnSync('unshare', ['-n', 'ip', 'link', 'add', 'p0', 'type', 'macvlan'], { encoding: 'utf8' });
    if (probe.stderr.includes('Unknown device type')) context.skip('optional: this kernel lacks macvlan');
  });

  /** Creates a macvlan on the bridge of the node, as root with the usual capabilities for networks. */
  async function makeMacvlan(...enter: string[]): Promise<void> {
    const limits = ['--inh-caps=-all,+net_admin,+net_raw', '--bounding-set=-all,+net_admin,+net_raw'];
    const macvlan = ['add', 'own0', 'link', 'br0', 'link-netnsid', '0', 'type', 'macvlan', 'mode', 'bridge'];
    await command('nsenter', ...enter, 'setpriv', ...limits, 'ip', 'link', ...macvlan);
  }

  it('without a user namespace, a macvlan on the bridge of the node is beside every guard', async () => {
    const { netns } = node.pods.attacker;
    await using guarded = await node.guard(node.pods.attacker);
    await node.guardPodEnds();
    await node.send(FORGED, TIMES);
    await guarded.counted({ 'ipv4-source drop': TIMES });
    await makeMacvlan(`--net=/run/netns/${netns}`);
    await command('ip', '-n', netns, 'link', 'set', 'own0', 'up');
    await using sender = new FrameSender(netns, ['send', 'own0']);
    await sender.send(FORGED, TIMES);
    await waitFor(() => node.landed(FORGED), { what: 'forged frames', until: (landed) => landed === TIMES });
    expect(await guarded.counts(), 'nothing counts them').toEqual({ 'ipv4-source drop': TIMES });
  });

  it('with a user namespace, the kernel refuses it', async () => {
    const pod = launch('unshare', ['--user', '--map-root-user', '--net', 'sleep', '60'], { stdio: 'ignore' });
    const pid = String(pod.child.pid);
    try {
      const own = await command('readlink', '/proc/self/ns/net');
      await waitFor(() => command('readlink', `/proc/${pid}/ns/net`), {
        what: 'a namespace of its own',
        until: (namespace) => namespace !== own,
      });
      const pair = ['type', 'veth', 'peer', 'name', 'eth0', 'netns', pid];
      await command('ip', '-n', node.netns, 'link', 'add', 'hU', ...pair);
      const enter = ['--target', pid, '--user', '--net', '--preserve-credentials'];
      await command('nsenter', ...enter, 'ip', 'link', 'set', 'eth0', 'up');
      await expect(makeMacvlan(...enter)).rejects.toThrow(/not permitted|Permission denied/);
    } finally {
      await pod.kill();
    }
  });
});
