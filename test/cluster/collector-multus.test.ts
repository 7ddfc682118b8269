// A pod with interfaces in two networks, each with a CNI record of its own, as Multus makes them:
// each interface is guarded under its own identity. The runtime and Multus write to different folders.
import { rmSync } from 'node:fs';
import path from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { openBucket } from '@bailiff/bus';
import { waitFor } from '@bailiff/service/testing';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { NOT_OWN_MAC } from '../../apps/collector/src/identity/identity.ts';
import { type Attachment, type PodSide, podSide, writeCacheRecord } from '../lab/src/cni/cache.ts';
import type { CniConfList } from '../lab/src/cni/conf.ts';
import { cniAdd } from '../lab/src/cni/plugin.ts';
import { arp, ETHERTYPE, ethernet } from '../lab/src/frames.ts';
import { CniNode, type Sandbox } from '../support/cni-node.ts';
import type { TestPod } from '../support/node.ts';
import { udpFrame } from '../support/udp-frame.ts';

interface Side extends PodSide {
  device: string;
}

describe('a pod with two networks', () => {
  let cni: CniNode;
  beforeEach(async () => {
    cni = await CniNode.create();
  });
  afterEach(async () => cni[Symbol.asyncDispose]());

  const storage = (plugins: CniConfList['plugins'] = []): CniConfList => {
    const ranges = [[{ subnet: '10.99.0.0/24' }], [{ subnet: 'fd00:10:99::/64' }]];
    const ipam = { type: 'host-local', dataDir: cni.at('ipam'), ranges };
    const bridge = { type: 'bridge', bridge: 'br-storage', isGateway: true, ipam };
    return { cniVersion: '1.0.0', name: 'storage', plugins: [bridge, ...plugins] };
  };

  /** ADD by Multus, which writes the record to a folder of its own. */
  const addByMultus = (attachment: Attachment, pod: TestPod, resultsDir = cni.node.multusDir) =>
    cniAdd({ ...cni.host, resultsDir }, attachment, pod.netns);

  /** Makes both interfaces. Multus itself is a plugin of the runtime, so eth0 has two records. */
  async function addPod(
    primary: CniConfList,
    secondary: CniConfList,
    resultsDir = cni.node.multusDir,
  ): Promise<{ pod: TestPod; sides: [Side, Side] }> {
    const { pod, attachment } = await cni.sandbox(primary);
    const first = await addByMultus(attachment, pod, resultsDir);
    const second = await addByMultus({ ...attachment, conf: secondary, ifName: 'net1' }, pod, resultsDir);
    const multus = { ...attachment, conf: { ...primary, name: 'multus-cni-network' } };
    await writeCacheRecord(cni.node.cniDir, multus, first);
    const sides: [Side, Side] = [
      { ...podSide(first), device: 'eth0' },
      { ...podSide(second), device: 'net1' },
    ];
    const [{ addresses, hostInterface, mac }] = sides;
    const [ipv4 = '', ipv6 = ''] = addresses;
    Object.assign(pod, { hostInterface, mac, ipv4, ipv6 });
    return { pod, sides };
  }

  /** From one interface, for each family in turn, with the addresses of `of`. */
  async function send(pod: TestPod, from: Side, of: Side, count: number): Promise<void> {
    const frames = of.addresses.map((source, family) =>
      udpFrame({
        sourceMac: from.mac,
        source,
        destinationMac: from.gatewayMac,
        destination: from.gateways[family] ?? '',
      }),
    );
    const { sent } = await cni.node.startSending(pod, frames, count, 0, from.device);
    expect(await sent).toBe(count);
  }

  const dropped = (side: Side): Record<string, number> => {
    const counts: Record<string, number> = {};
    for (const v of cni.node.ledger.epochs.values())
      if (v.interfaceName === side.hostInterface)
        counts[`${v.vector} ${v.state} ${v.action}`] =
          (counts[`${v.vector} ${v.state} ${v.action}`] ?? 0) + v.cumulativePackets;
    return counts;
  };
  const areDropped = (side: Side, wanted: Record<string, number>) =>
    waitFor(() => dropped(side), {
      what: `the violations of ${side.device}`,
      until: (counts) =>
        JSON.stringify(Object.entries(counts).sort()) === JSON.stringify(Object.entries(wanted).sort()),
      state: () => ({ counts: dropped(side), log: cni.node.log.slice(-3_000) }),
    });

  /** Half of each count is IPv4, half IPv6. */
  async function eachHasItsOwn(pod: TestPod, [eth0, net1]: [Side, Side]): Promise<void> {
    await send(pod, eth0, eth0, 10);
    await send(pod, net1, net1, 10);
    await send(pod, eth0, net1, 20);
    await send(pod, net1, eth0, 40);
    // They are addresses of the pod, but of the other interface.
    await areDropped(eth0, { 'other-interface programmed drop': 20 });
    await areDropped(net1, { 'other-interface programmed drop': 40 });
    expect(new Set([...cni.node.ledger.epochs.values()].map((v) => v.pod?.uid))).toEqual(new Set([pod.uid]));
  }

  it.each([
    ['its default', () => cni.node.multusDir],
    ["the runtime's", () => cni.node.cniDir],
  ])('by the records of both networks and the list of pods, `cniDir` of Multus: %s', async (_, folder) => {
    cni.writePrimary('ptp');
    const { pod, sides } = await addPod(cni.list('10-lab.conflist'), storage(), folder());
    const [eth0, net1] = sides;
    const before = await cni.node.ipReceived();
    await send(pod, eth0, net1, 20);
    await send(pod, net1, eth0, 20);
    expect(
      (await cni.node.ipReceived()) - before,
      'control: unguarded, all IPv4 packets arrive',
    ).toBeGreaterThanOrEqual(20);

    await cni.node.startCollector();
    await cni.node.putPods(1);
    const states = async () =>
      (await cni.node.offlineStatus()).interfaces.map((i) => `${i.interfaceName} ${i.state}`).sort();
    const wanted = sides.map((side) => `${side.hostInterface} programmed`).sort();
    await waitFor(states, { what: 'both interfaces', until: (all) => wanted.every((one) => all.includes(one)) });
    await eachHasItsOwn(pod, sides);
  });

  it('an honest pod that joins a network without the CNI plugin - no packet of it is dropped', async () => {
    cni.writePrimary('ptp');
    const { pod, attachment } = await cni.add(cni.list('10-lab.conflist'));
    await using container = await cni.node.runInPod(pod);
    await cni.node.startCollector({ args: ['--cgroup-root', container.root, '--status-interval-ms', '250'] });
    await cni.node.putPods(1);
    const joined = await addByMultus({ ...attachment, conf: storage(), ifName: 'net1' }, pod);
    const net1: Side = { ...podSide(joined), device: 'net1' };
    const row = async () =>
      (await cni.node.nodeStatus())?.interfaces.find((one) => one.interfaceName === net1.hostInterface);
    // Without a record it is bound by its namespace, with the addresses of eth0.
    await waitFor(row, { what: 'net1 to be bound', until: (found) => found?.state === 'programmed', state: row });
    expect((await row())?.addresses).toEqual(net1.addresses);
    const [sender = ''] = net1.addresses;
    const request = ethernet(
      { source: net1.mac, destination: 'ff:ff:ff:ff:ff:ff', type: ETHERTYPE.arp },
      arp({ senderMac: net1.mac, sender, target: net1.gateways[0] ?? '' }),
    );
    const { sent } = await cni.node.startSending(pod, [request], 20, 0, 'net1');
    expect(await sent).toBe(20);
    const before = await cni.node.ipReceived();
    await send(pod, net1, net1, 20);
    expect((await cni.node.ipReceived()) - before).toBeGreaterThanOrEqual(10);
    // Counts of the interface are published together, so these show that there are no others.
    const eth0: Side = { ...net1, addresses: [pod.ipv4, pod.ipv6] };
    await send(pod, net1, eth0, 20);
    await areDropped(net1, { 'other-interface programmed drop': 20 });
  });

  it('by the CNI plugin in the lists of both networks', async () => {
    cni.writePrimary('ptp');
    await cni.start('closed');
    const list = cni.list();
    const { pod, sides } = await addPod(list, storage(list.plugins.slice(-1)));
    await eachHasItsOwn(pod, sides);
  });

  it('more networks than a share - refused by name; neighbours start, and `unknown: enforce` drops what the rest sends', async () => {
    cni.writePrimary('ptp');
    await cni.start('closed', ['--max-interfaces', '8', '--status-interval-ms', '250']);
    const list = cni.list();
    const guarded = storage(list.plugins.slice(-1));
    const { pod, attachment } = await cni.add();
    const add = (conf: CniConfList, ifName: string) => addByMultus({ ...attachment, conf, ifName }, pod);
    await add(guarded, 'net1');
    await add(guarded, 'net2');
    const rest: Side = { ...podSide(await add(storage(), 'net3')), device: 'net3' };
    await expect(add(guarded, 'net4')).rejects.toThrow(/its pod has 3 other interfaces, its share of 8 on this node/);
    await waitFor(
      async () =>
        (await cni.node.nodeStatus())?.interfaces.some(
          ({ interfaceName, reason }) =>
            interfaceName === rest.hostInterface && reason.includes('request fewer networks'),
        ),
      { what: 'the interface in the status', state: () => cni.node.nodeStatus() },
    );
    for (let n = 0; n < 5; n += 1) await cni.add();
    await expect(cni.add(), 'control: a full node').rejects.toThrow(/8 interfaces are guarded, the capacity/);

    const landed = async () => {
      const before = await cni.node.ipReceived();
      await send(pod, rest, rest, 200);
      return (await cni.node.ipReceived()) - before;
    };
    expect(await landed(), 'control: unknown interfaces are audited').toBeGreaterThanOrEqual(100);
    await openBucket(cni.node.admin, 'bailiff_config').put('spoof.cluster._.default', '{"unknown":"enforce"}');
    await waitFor(landed, { what: 'its packets to be dropped', until: (count) => count < 10 });
  });

  /** Adds `net1` in the network `storage`, by its address management or, as `ips` and `mac` of Multus do, by choice. */
  async function addToStorage(pod: Sandbox, chosen?: string, mac?: string, key = 'mac', more = ''): Promise<Side> {
    const { plugins, ...conf } = storage(cni.list().plugins.slice(-1));
    const [bridge, ...others] = plugins;
    const ipam = chosen
      ? { type: 'static', addresses: [{ address: `${chosen}/24`, gateway: '10.99.0.1' }] }
      : { type: 'host-local', dataDir: cni.at('ipam'), ranges: [[{ subnet: '10.99.0.0/24' }]] };
    const byMultus = mac ? { args: { cni: { [key]: mac } } } : {};
    const of = { ...conf, more, plugins: [{ ...bridge, type: 'bridge', ipam, ...byMultus }, ...others] };
    const result = await addByMultus({ ...pod.attachment, conf: of, ifName: 'net1' }, pod.pod);
    return { ...podSide(result), device: 'net1' };
  }
  const shown = async (side: Side) =>
    (await cni.node.nodeStatus())?.interfaces.find((one) => one.interfaceName === side.hostInterface)?.reason;

  it.each([
    ['has', false],
    ['gets later', true],
  ])(
    'a tenant that chooses the address that a neighbour %s - no pod is judged for it, and status names it',
    async (_, isFirst) => {
      cni.writePrimary('ptp');
      await cni.start('closed', ['--status-interval-ms', '250']);
      const [neighbour, tenant] = [await cni.add(), await cni.add()];
      // The address management gives this one to the first pod.
      const address = '10.99.0.2';
      const early = isFirst ? await addToStorage(tenant, address) : null;
      const own = await addToStorage(neighbour);
      const chosen = early ?? (await addToStorage(tenant, address));
      expect([own.addresses, chosen.addresses]).toEqual([[address], [address]]);
      await cni.node.putPods(1);
      for (const side of [own, chosen])
        await waitFor(() => shown(side), {
          what: 'the address in the status',
          until: (reason) => reason === `another pod has its addresses too, and each may send from them: ${address}`,
          state: () => cni.node.log.slice(-3_000),
        });

      const before = await cni.node.ipReceived();
      await send(neighbour.pod, own, own, 20);
      expect((await cni.node.ipReceived()) - before, 'the neighbour is not cut off').toBeGreaterThanOrEqual(20);
      await send(tenant.pod, chosen, { ...chosen, addresses: ['10.99.0.77'] }, 20);
      await areDropped(chosen, { 'ipv4-source programmed drop': 20 });
      expect(dropped(own)).toEqual({});

      // CNI releases one of the two, whose interface stays: it has no address any more.
      const [former, formerPod, rest] = isFirst ? [chosen, tenant, own] : [own, neighbour, chosen];
      rmSync(path.join(cni.node.multusDir, `storage-${formerPod.attachment.containerId}-net1`));
      await waitFor(() => shown(former), {
        what: 'the status of the released interface',
        until: (reason) => reason?.startsWith('a newer interface has its addresses') ?? false,
      });
      await waitFor(() => shown(rest), { what: 'the status of the other one', until: (reason) => reason === '' });
    },
  );

  // Multus passes `cni-args` as they are, to each plugin of a list, and plugins in Go accept a key in any case.
  it.each([
    ['by `mac`', 'mac', ''],
    ['by `MAC`', 'MAC', ''],
    ['in a record too large to be read', 'mac', 'x'.repeat(4 * 1024 * 1024)],
  ])(
    'a tenant that chooses the MAC of a neighbour %s - the neighbour alone has it, and status names the tenant',
    async (_, key, more) => {
      cni.writePrimary('ptp');
      await cni.start('closed', ['--status-interval-ms', '250']);
      const [neighbour, tenant] = [await cni.add(), await cni.add()];
      const own = await addToStorage(neighbour);
      const chosen = await addToStorage(tenant, undefined, own.mac, key, more);
      expect(chosen.mac, 'control: the plugin accepts it').toBe(own.mac);
      await cni.node.putPods(1);
      await waitFor(() => shown(chosen), {
        what: 'the status of the tenant',
        until: (reason) => reason === 'another interface has its MAC: no frame counts as its own',
        state: () => cni.node.log.slice(-3_000),
      });
      const landed = async (pod: Sandbox, side: Side) => {
        const before = await cni.node.ipReceived();
        await send(pod.pod, side, side, 20);
        return (await cni.node.ipReceived()) - before;
      };
      expect(await landed(tenant, chosen)).toBeLessThan(20);
      // The kernel of the tenant sends from it too.
      await waitFor(() => dropped(chosen)['source-mac programmed drop'] ?? 0, {
        what: 'the violations of the tenant',
        until: (count) => count >= 20,
      });
      expect(await landed(neighbour, own), 'the neighbour is not cut off').toBeGreaterThanOrEqual(20);
      expect([dropped(own), await shown(own)]).toEqual([{}, '']);

      // Virtual machines choose theirs too: of two that chose the same, no pod is judged for it.
      const [machine, thief] = [await cni.add(), await cni.add()];
      const free = '0a:58:0a:63:00:77';
      const [first, second] = [
        await addToStorage(machine, undefined, free),
        await addToStorage(thief, undefined, free),
      ];
      for (const side of [first, second])
        await waitFor(() => shown(side), {
          what: 'the MAC in the status',
          until: (reason) => reason === 'another pod has its MAC too, and each may send from it',
        });
      expect(await landed(machine, first)).toBeGreaterThanOrEqual(20);
      expect([dropped(first), dropped(second)]).toEqual([{}, {}]);
    },
  );

  it.each([
    ['in a record of Multus', 0],
    ['in one too large to be read', 4 * 1024 * 1024],
  ])(
    'a tenant that chooses address and MAC of a neighbour in its default network, %s - the neighbour keeps both',
    async (_, bytes) => {
      cni.writePrimary('bridge');
      await cni.start('closed', ['--status-interval-ms', '250']);
      const [neighbour, tenant] = [await cni.add(), await cni.sandbox()];
      const { mac, ipv4 } = neighbour.pod;
      const [bridge, ...others] = cni.list().plugins;
      const ipam = { type: 'static', addresses: [{ address: `${ipv4}/24`, gateway: '10.244.0.1' }] };
      const chosen = { ...bridge, type: 'bridge', ipam, args: { cni: { mac } } };
      const conf = { ...cni.list(), more: 'x'.repeat(bytes), plugins: [chosen, ...others] };
      const result = await addByMultus({ ...tenant.attachment, conf }, tenant.pod);
      // The record of the runtime has the configuration of Multus itself.
      const multus = { ...tenant.attachment, conf: { ...cni.list(), name: 'multus-cni-network' } };
      await writeCacheRecord(cni.node.cniDir, multus, result);
      const side: Side = { ...podSide(result), device: 'eth0' };
      expect([side.addresses, side.mac], 'control: the plugins accept them').toEqual([[ipv4], mac]);
      await cni.node.putPods(1);
      await waitFor(() => shown(side), {
        what: 'the status of the tenant',
        until: (reason) => reason === 'another interface has its MAC: no frame counts as its own',
        state: async () => ({ rows: (await cni.node.nodeStatus())?.interfaces, log: cni.node.log.slice(-3_000) }),
      });
      const own: Side = { ...podSide(result), ...neighbour.pod, addresses: [ipv4], device: 'eth0' };
      expect(await shown(own)).toBe(`another pod has its addresses too, and each may send from them: ${ipv4}`);
      const before = await cni.node.ipReceived();
      await send(neighbour.pod, own, own, 20);
      expect((await cni.node.ipReceived()) - before, 'the neighbour is not cut off').toBeGreaterThanOrEqual(20);
      expect(dropped(own)).toEqual({});
    },
  );

  it.each([
    ['', 0, 'net1 is of kind macvlan: '],
    [' whose configuration it made too long to be read', 256 * 1024, 'net1 is of kind unknown: '],
  ])('a pod with a macvlan%s - status names the interface', async (_, bytes, named) => {
    cni.writePrimary('bridge');
    await cni.start('closed', ['--status-interval-ms', '250']);
    const { pod, attachment } = await cni.add();
    const ipam = { type: 'static', addresses: [{ address: '10.98.0.2/24' }] };
    const plugin = { type: 'macvlan', master: 'cni0', ipam, args: { cni: { filler: 'x'.repeat(bytes) } } };
    await addByMultus({ ...attachment, conf: { ...cni.list(), name: 'lan', plugins: [plugin] }, ifName: 'net1' }, pod);
    await cni.node.putPods(1);
    const row = async () =>
      (await cni.node.nodeStatus())?.interfaces.find(
        ({ coverage, podUid }) => coverage === 'not-covered' && podUid === pod.uid,
      );
    const found = await waitFor(row, { what: 'the macvlan in the status', state: () => cni.node.nodeStatus() });
    expect(found?.reason).toContain(named);
  });

  it('a collector that restarts without the bus - gives no tenant the MAC of a neighbour', async () => {
    cni.writePrimary('ptp');
    await cni.start('closed');
    // In one of the two orders of a pair, the tenant is adopted before the neighbour.
    const thieves: Side[] = [];
    for (let i = 0; i < 3; i += 1) {
      const [neighbour, tenant] = [await cni.add(), await cni.add()];
      const { mac } = await addToStorage(neighbour);
      thieves.push(await addToStorage(tenant, undefined, mac));
    }
    await cni.node.putPods(1);
    const macs = async () => {
      const { interfaces } = await cni.node.offlineStatus();
      return thieves.map((side) => interfaces.find((one) => one.interfaceName === side.hostInterface)?.mac);
    };
    const none = thieves.map(() => NOT_OWN_MAC);
    await waitFor(macs, { what: 'the MACs to be lost', until: (all) => isDeepStrictEqual(all, none), state: macs });
    await cni.node.killCollector('SIGKILL');
    const args = [...cni.args('closed'), '--nats-url', 'nats://127.0.0.1:9'];
    await cni.node.startCollector({ until: 'guarding', args });
    expect(await macs()).toEqual(none);
  });

  it.each([
    ['the MAC of a machine that sends', '0a:58:0a:63:00:77'],
    ['another MAC (control)', '0a:58:0a:63:00:78'],
  ])(
    'a tenant that starts with %s - the machine loses no frame before the record of the tenant is read',
    async (_, mac) => {
      cni.writePrimary('ptp');
      await cni.start('closed', ['--status-interval-ms', '250']);
      const [machine, tenant] = [await cni.add(), await cni.add()];
      const own = await addToStorage(machine, undefined, '0a:58:0a:63:00:77');
      await cni.node.putPods(1);
      const [source = ''] = own.addresses;
      const frame = udpFrame({
        sourceMac: own.mac,
        source,
        destinationMac: own.gatewayMac,
        destination: own.gateways[0] ?? '',
      });
      const before = await cni.node.ipReceived();
      // For three seconds, in which the tenant starts.
      const { sent } = await cni.node.startSending(machine.pod, [frame], 6_000, 2_000, own.device);
      await addToStorage(tenant, undefined, mac);
      expect(await sent).toBe(6_000);
      expect((await cni.node.ipReceived()) - before).toBeGreaterThanOrEqual(6_000);
      // Counts of the interface are published together, so these show that there are no others.
      await send(machine.pod, own, { ...own, addresses: ['10.99.0.78'] }, 20);
      await areDropped(own, { 'ipv4-source programmed drop': 20 });
    },
  );
});
