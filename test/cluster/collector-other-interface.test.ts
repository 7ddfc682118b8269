// A neighbour that makes a pod of several networks answer through another interface than the one that it asks: the
// answer is dropped, and no verdict is against the pod. CNI records of the networks say which addresses those are.
import { waitFor } from '@bailiff/service/testing';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { RuleHistory } from '../../libs/correlation/src/engine/rule-history.ts';
import { podInventoryOf, recordingEngine } from '../../libs/correlation/src/testing.ts';
import { type PodSide, podSide } from '../lab/src/cni/cache.ts';
import type { CniConfList } from '../lab/src/cni/conf.ts';
import { cniAdd } from '../lab/src/cni/plugin.ts';
import { netnsPath } from '../lab/src/names.ts';
import { exec } from '../lab/src/process/exec.ts';
import { CniNode, type Sandbox } from '../support/cni-node.ts';
import { NODE } from '../support/node.ts';
import { udpFrame } from '../support/udp-frame.ts';

type Plugins = CniConfList['plugins'];

describe('a pod that is asked at its second network', () => {
  let cni: CniNode;
  beforeEach(async () => {
    cni = await CniNode.create();
    cni.writePrimary('ptp');
  });
  afterEach(async () => cni[Symbol.asyncDispose]());

  /** Routed by the node: the plugin gives its bridge an address. */
  const bridge = () => {
    const ranges = [[{ subnet: '10.99.0.0/24' }], [{ subnet: 'fd00:10:99::/64' }]];
    const ipam = { type: 'host-local', dataDir: cni.at('ipam'), ranges };
    return { type: 'bridge', bridge: 'br-storage', isGateway: true, ipam };
  };
  const conf = (...plugins: Plugins): CniConfList => ({ cniVersion: '1.0.0', name: 'storage', plugins });

  /** As Multus does, whose record of eth0 is beside the runtime's. */
  function join({ pod, attachment }: Sandbox, network: CniConfList) {
    const host = { ...cni.host, resultsDir: cni.node.multusDir };
    return cniAdd(host, { ...attachment, conf: network, ifName: 'net1' }, pod.netns);
  }

  const inPod = ({ pod }: Sandbox, script: string) =>
    exec('nsenter', [`--net=${netnsPath(pod.netns)}`, 'bash', '-c', script]);
  /** Connections, and datagrams to a closed port, each with a limit in time. */
  const ask = (neighbour: Sandbox, addresses: readonly string[]) =>
    inPod(
      neighbour,
      addresses
        .flatMap((address) => [`timeout 2 bash -c '</dev/tcp/${address}/80'`, `echo x >/dev/udp/${address}/9`])
        .map((one) => `(${one}) 2>/dev/null &`)
        .concat('wait')
        .join('\n'),
    );
  /** The node routes between the networks, and a pod takes packets from any side. */
  async function route(...sandboxes: readonly Sandbox[]): Promise<void> {
    const loose = 'sysctl -qw net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.default.rp_filter=0';
    const node = `${loose} net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1`;
    await exec('nsenter', [`--net=${netnsPath(cni.node.netns)}`, 'sh', '-ec', node]);
    for (const one of sandboxes)
      await inPod(one, `${loose}; for f in /proc/sys/net/ipv4/conf/*/rp_filter; do echo 0 >$f; done`);
  }

  async function forge({ pod }: Sandbox, source: string, count: number): Promise<void> {
    const destination = source.includes(':') ? 'fd00:10:244::1' : '10.244.0.1';
    const { sent } = await cni.node.startSending(
      pod,
      [udpFrame({ sourceMac: pod.mac, source, destination })],
      count,
      0,
    );
    expect(await sent).toBe(count);
  }

  const of = ({ pod }: Sandbox) => {
    const counts: Record<string, number> = {};
    for (const { action, cumulativePackets, pod: of, vector } of cni.node.ledger.epochs.values())
      if (of?.uid === pod.uid) counts[`${vector} ${action}`] = (counts[`${vector} ${action}`] ?? 0) + cumulativePackets;
    return counts;
  };
  const state = () => ({ epochs: [...cni.node.ledger.epochs.values()], log: cni.node.log.slice(-3_000) });
  const areCounted = (sandbox: Sandbox, until: (counts: Record<string, number>) => boolean, what: string) =>
    waitFor(() => of(sandbox), { what, until, state });

  /** By the built-in rules, of what the collector published. */
  function accused(): string[] {
    const pods = [...cni.node.ledger.epochs.values()].flatMap(({ pod }) => pod ?? []);
    const engine = recordingEngine({ rules: new RuleHistory(), inventory: podInventoryOf({ [NODE]: pods }) });
    for (const frame of cni.node.ledger.frames) engine.send(frame.publishedAt, frame);
    return [...new Set(engine.verdicts.flatMap(({ pod }) => pod?.name ?? []))].sort();
  }

  async function start(isKnown = true): Promise<{ several: Sandbox; neighbour: Sandbox; net1: PodSide }> {
    await cni.start('closed', ['--status-interval-ms', '250']);
    const [several, neighbour] = [await cni.add(), await cni.add()];
    const net1 = podSide(await join(several, conf(bridge(), ...(isKnown ? cni.list().plugins.slice(-1) : []))));
    await cni.node.putPods(1);
    await route(several, neighbour);
    return { several, neighbour, net1 };
  }

  it('by a neighbour through a router - its answers violate other-interface alone; a pod of one network that forges the address is judged', async () => {
    const { several, neighbour, net1 } = await start();
    expect(net1.addresses).toHaveLength(2);
    for (let n = 0; n < 4; n += 1) await ask(neighbour, net1.addresses);
    await areCounted(several, (counts) => (counts['other-interface drop'] ?? 0) >= 8, 'the answers');
    for (const source of net1.addresses) await forge(neighbour, source, 20);
    const forged = { 'ipv4-source drop': 20, 'ipv6-source drop': 20 };
    await areCounted(
      neighbour,
      (counts) => JSON.stringify(counts) === JSON.stringify(forged),
      'control: the forged ones',
    );
    expect(Object.keys(of(several))).toEqual(['other-interface drop']);
    expect(accused()).toEqual([neighbour.pod.name]);
    const answers = cni.node.ledger.violations('other-interface').map(({ sample }) => sample?.claimedAddress);
    expect(new Set(answers.filter(Boolean))).toEqual(new Set(net1.addresses));
  });

  it('control: without the record of its network - its answers are held against it', async () => {
    cni.node.hasMultus = false;
    const { several, neighbour, net1 } = await start(false);
    for (let n = 0; n < 4; n += 1) await ask(neighbour, net1.addresses);
    await areCounted(several, (counts) => (counts['arp-sender drop'] ?? 0) >= 3, 'the violations');
    expect(accused()).toEqual([several.pod.name]);
  });

  it('an interface without a guard (macvlan) - its addresses are known by its record, also after a restart', async () => {
    await cni.start('closed', ['--status-interval-ms', '250']);
    const several = await cni.add();
    await exec('ip', ['-n', cni.node.netns, 'link', 'add', 'lan0', 'type', 'bridge']);
    await exec('ip', ['-n', cni.node.netns, 'link', 'set', 'lan0', 'up']);
    const ipam = { type: 'static', addresses: [{ address: '10.98.0.2/24' }, { address: 'fd00:10:98::2/64' }] };
    await cni.node.putPods(1);
    await forge(several, '10.98.0.2', 5);
    await areCounted(several, (counts) => counts['ipv4-source drop'] === 5, 'control: before it joins');
    await join(several, conf({ type: 'macvlan', master: 'lan0', ipam }));
    let total = 0;
    const forgesBoth = async () => {
      await forge(several, '10.98.0.2', 10);
      await forge(several, 'fd00:10:98::2', 10);
      total += 20;
      await areCounted(several, (counts) => counts['other-interface drop'] === total, 'the packets');
    };
    await waitFor(() => cni.node.nodeStatus(), {
      what: 'the macvlan in the status',
      until: (status) => status?.interfaces.some(({ reason }) => reason.includes('net1 is of kind macvlan')) ?? false,
      state,
    });
    await forgesBoth();
    await cni.node.killCollector('SIGKILL');
    await cni.start('closed', ['--status-interval-ms', '250']);
    await forgesBoth();
    expect(of(several)).toEqual({ 'ipv4-source drop': 5, 'other-interface drop': total });
  });
});
