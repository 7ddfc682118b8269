// An interface that outlives its pod, with real cgroups, the real CNI plugins and a real collector: the pod
// renames its eth0, so CNI finds nothing to remove, and another process still sends from its namespace.
import { cpSync, mkdirSync, readdirSync, readFileSync, renameSync, rmdirSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { cgroup2Mount, exec } from '@bailiff/lab/node';
import { waitFor } from '@bailiff/service/testing';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { BindingStore } from '../../apps/collector/src/packets/subjects/binding-store.ts';
import { readBootId } from '../../apps/collector/src/process/boot.ts';
import { podSide } from '../lab/src/cni/cache.ts';
import { cniAdd, cniDel } from '../lab/src/cni/plugin.ts';
import { arp, ETHERTYPE, ethernet } from '../lab/src/frames.ts';
import { CniNode, type Sandbox } from '../support/cni-node.ts';
import type { TestPod } from '../support/node.ts';
import { udpFrame } from '../support/udp-frame.ts';

const TIMES = 20;
const GATEWAY = { ipv4: '10.244.0.1', ipv6: 'fd00:10:244::1', destinationMac: 'ff:ff:ff:ff:ff:ff' };

describe('an interface that outlives its pod', () => {
  let cni: CniNode;
  let root: string;
  let cgroups: string[];
  beforeEach(async () => {
    cni = await CniNode.create();
    root = path.join(cgroup2Mount(), cni.node.netns);
    cgroups = [];
    cni.writePrimary('bridge');
    await cni.start('closed', args());
  });
  afterEach(async () => {
    for (const dir of cgroups) rmdirSync(dir);
    await cni?.[Symbol.asyncDispose]();
  });

  const MAX_INTERFACES = 16;
  const args = () => [
    ...['--cgroup-root', root, '--max-interfaces', `${MAX_INTERFACES}`],
    ...['--status-interval-ms', '250', '--sweep-interval-ms', '250'],
  ];
  /** As the kubelet, before it starts a sandbox. */
  const makeCgroup = ({ uid }: TestPod) => {
    const parents = [root, path.join(root, 'kubepods'), path.join(root, 'kubepods/burstable')];
    for (const dir of [...parents, path.join(root, 'kubepods/burstable', `pod${uid}`)]) {
      if (cgroups.includes(dir)) continue;
      mkdirSync(dir, { recursive: true });
      cgroups.unshift(dir);
    }
  };
  /** As the kubelet, after the last process of the pod has ended. */
  const removeCgroup = ({ uid }: TestPod) => {
    const [dir = ''] = cgroups.splice(
      cgroups.findIndex((one) => one.endsWith(`pod${uid}`)),
      1,
    );
    rmdirSync(dir);
  };
  const started = async (uid?: string, conf = cni.list()) => {
    const sandbox = await cni.sandbox(conf);
    if (uid !== undefined) sandbox.pod.uid = sandbox.attachment.podUid = uid;
    makeCgroup(sandbox.pod);
    await cni.attach(sandbox);
    return sandbox;
  };
  const frameOf = ({ mac: sourceMac, ipv4: source }: TestPod) =>
    udpFrame({ sourceMac, source, destination: GATEWAY.ipv4, destinationMac: GATEWAY.destinationMac });
  /** Of TIMES packets of the pod's own address, those that reach the node. */
  const landed = async (pod: TestPod, device = 'eth0') => {
    const before = await cni.node.ipReceived();
    expect(await (await cni.node.startSending(pod, [frameOf(pod)], TIMES, 0, device)).sent).toBe(TIMES);
    return (await cni.node.ipReceived()) - before;
  };
  /** The pod's end gets another name, and its kernel sends nothing by itself. */
  const rename = ({ netns }: TestPod, from = 'eth0', to = 'x0') => {
    const act = `ip link set ${from} down; ip link set ${from} name ${to}; ip link set ${to} up`;
    const quiet = 'sysctl -qw net.ipv6.conf.all.disable_ipv6=1';
    return exec('ip', ['netns', 'exec', netns, 'sh', '-ec', `${quiet}; ${act}`]);
  };
  const rowOf = async ({ hostInterface }: TestPod) =>
    (await cni.node.offlineStatus()).interfaces.find(({ interfaceName }) => interfaceName === hostInterface);
  const isOrphaned = async (pod: TestPod) => (await rowOf(pod))?.orphaned;
  const orphaned = (pod: TestPod, wanted = true) =>
    waitFor(() => isOrphaned(pod), {
      what: `${pod.hostInterface} to be ${wanted ? 'orphaned' : 'in use'}`,
      until: (is) => is === wanted,
      state: () => cni.node.log.slice(-3_000),
    });
  const statusOf = async ({ hostInterface }: TestPod) =>
    (await cni.node.nodeStatus())?.interfaces.find(({ interfaceName }) => interfaceName === hostInterface);
  const counted = (packets: number) =>
    waitFor(() => cni.node.ledger.packets({ vector: 'orphaned', action: 'drop' }), {
      what: 'packets of the orphaned interface',
      until: (count) => count === packets,
      state: () => [...cni.node.ledger.epochs.values()],
    });

  it('the cgroup of pods - is written with the first pod, so that sockets of pods do not count as probes', async () => {
    const known = () => cni.node.metric('bailiff_collector_feature_available{feature="probe-sockets"}');
    await waitFor(known, { what: 'control: not known', until: (value) => value === 0 });
    await started();
    await waitFor(known, { what: 'the cgroup of pods', until: (value) => value === 1 });
  });

  it('without the bus’s list - everything that it sends is dropped, counted and named; nothing of other pods', async () => {
    const { node } = cni;
    const former = await started();
    const released = await started();
    const bare = await cni.add();
    const { pod } = former;
    await rename(pod);
    await cni.detach(former);
    expect(await rowOf(pod), 'CNI left the interface').toBeDefined();
    // A pod that CNI released and no list names, but whose last process runs; and one that never had a cgroup.
    for (const { attachment } of [released, bare])
      rmSync(path.join(node.cniDir, `${attachment.conf.name}-${attachment.containerId}-eth0`));
    await node.putPods(1, (pods) => void pods.splice(0));
    expect(readdirSync(node.cniDir)).toEqual([]);
    expect(await landed(pod, 'x0'), 'control: its last process has not ended').toBe(TIMES);

    const unlisted = (wanted: string[]) =>
      waitFor(async () => (await node.nodeStatus())?.unlistedPods?.toSorted(), {
        what: 'the pods beside the list in the status',
        until: (uids) => JSON.stringify(uids) === JSON.stringify(wanted.toSorted()),
      });
    await unlisted([pod, released.pod, bare.pod].map(({ uid }) => uid));
    removeCgroup(pod);
    await orphaned(pod);
    await unlisted([released.pod, bare.pod].map(({ uid }) => uid));
    expect(await landed(pod, 'x0')).toBe(0);
    await counted(TIMES);
    const link = { source: pod.mac, destination: GATEWAY.destinationMac, type: ETHERTYPE.arp };
    const more = [
      ethernet(link, arp({ operation: 2, senderMac: pod.mac, sender: pod.ipv4, target: pod.ipv4 })),
      udpFrame({ ...GATEWAY, sourceMac: pod.mac, source: pod.ipv6, destination: GATEWAY.ipv6 }),
    ];
    await (await node.startSending(pod, more, 2 * TIMES, 0, 'x0')).sent;
    await counted(3 * TIMES);
    const violations = node.ledger.violations('orphaned');
    expect(violations.map((violation) => violation.pod)).toEqual(violations.map(() => null));
    expect(violations[0]?.detail).toBe(`the interface outlives pod shop/${pod.name} (${pod.uid})`);
    const shown = await waitFor(() => statusOf(pod), { what: 'its status', until: (row) => row?.orphaned === true });
    expect(shown).toMatchObject({ coverage: 'partial', podName: pod.name, podUid: pod.uid });
    expect(shown?.reason).toBe('its pod has ended, and what it sends is dropped');

    // As long as these checks have run, the others are in use.
    expect(await Promise.all([isOrphaned(released.pod), isOrphaned(bare.pod)])).toEqual([false, false]);
    expect([await landed(released.pod), await landed(bare.pod)]).toEqual([TIMES, TIMES]);

    // Another collector keeps it, from its first moment.
    await node.killCollector('SIGKILL');
    expect(await landed(pod, 'x0')).toBe(0);
    await node.startCollector({ until: 'ready', args: cni.args('closed', args()) });
    expect([await isOrphaned(pod), await landed(pod, 'x0')]).toEqual([true, 0]);
    await counted(5 * TIMES);
    await exec('ip', ['-n', node.netns, 'link', 'del', pod.hostInterface]);
    await waitFor(() => rowOf(pod), { what: 'its end', until: (row) => row === undefined });
  });

  it('a pod whose record CNI kept - by the list; ended while no collector ran; in use again as soon as its cgroup is seen', async () => {
    const { node } = cni;
    const [{ pod }, other] = [await started(), await started()];
    const others = (pods: { uid: string }[]) =>
      void pods.splice(0, pods.length, ...pods.filter(({ uid }) => uid !== pod.uid));
    await node.putPods(1);
    await waitFor(() => node.nodeStatus(), { what: 'the list', until: (status) => status?.snapshotRevision === 1 });
    await node.killCollector('SIGKILL');
    removeCgroup(pod);
    await node.putPods(2, others as never);
    await node.startCollector({ until: 'ready', args: cni.args('closed', args()) });
    await orphaned(pod);
    expect([await landed(pod), await landed(other.pod)]).toEqual([0, TIMES]);
    makeCgroup(pod);
    await orphaned(pod, false);
    expect(await landed(pod)).toBe(TIMES);
  });

  it('the reverse: a pod that deletes its interface - is partial with the reason, also after a restart, and not named as sending without a guard', async () => {
    const { node } = cni;
    const [{ pod }, other] = [await started(), await started()];
    await node.putPods(1);
    const coverages = async () => {
      const rows = (await node.nodeStatus())?.interfaces ?? [];
      return [pod, other.pod].map(({ uid }) => rows.find(({ podUid }) => podUid === uid)?.coverage);
    };
    const are = (...expected: string[]) =>
      waitFor(async () => (await coverages()).join() === expected.join(), { what: `${expected}`, state: coverages });
    await are('guarded', 'guarded');
    await exec('ip', ['-n', pod.netns, 'link', 'del', 'eth0']);
    await are('partial', 'guarded');
    const row = (await node.nodeStatus())?.interfaces.find(({ podUid }) => podUid === pod.uid);
    expect(row?.reason).toContain(`its interface ${pod.hostInterface} was removed`);
    await node.killCollector('SIGKILL');
    await node.startCollector({ until: 'ready', args: cni.args('closed', args()) });
    await are('partial', 'guarded');
    expect((await node.nodeStatus())?.interfaces.map(({ coverage }) => coverage)).not.toContain('not-covered');
  });

  it('a listed pod that has ended, as while ipam-sync is away - no row; control: while its cgroup is there, it is not covered', async () => {
    const { node } = cni;
    // Without another pod, the node would have no cgroup of a pod: that is no listing.
    const [ended] = [await started(), await started()];
    await node.putPods(1);
    const rows = async () => (await node.nodeStatus())?.interfaces.filter(({ podUid }) => podUid === ended.pod.uid);
    const shows = (...coverages: string[]) =>
      waitFor(rows, {
        what: `the coverage ${coverages}`,
        until: (found) => JSON.stringify(found?.map(({ coverage }) => coverage)) === JSON.stringify(coverages),
      });
    await shows('guarded');
    await cni.detach(ended);
    // Each deletion of a pod begins so: it leaves the list a moment later.
    await shows();
    expect((await shows('not-covered'))?.[0]?.reason).toMatch(/^no interface of it/);
    removeCgroup(ended.pod);
    await shows();
  });

  it('as many as the node has guards for - pods that wait and new ones take their places, the oldest first, also after a restart; control: while their pods live, a pod has no guard', async () => {
    const { node } = cni;
    const neighbour = await started();
    const left: TestPod[] = [];
    for (let n = 1; n < MAX_INTERFACES; n += 1) left.push((await started()).pod);
    const waits = await cni.sandbox();
    await expect(cni.attach(waits)).rejects.toThrow(`${MAX_INTERFACES} interfaces are guarded`);
    for (const pod of left) {
      await rename(pod);
      await cni.detach({ pod, attachment: cni.attachment(pod.index, cni.list()) });
    }
    const [first, second, third, ...others] = left as [TestPod, TestPod, TestPod, ...TestPod[]];
    removeCgroup(first);
    await waitFor(() => rowOf(first), { what: 'its place to be taken', until: (row) => row === undefined });
    await expect(exec('ip', ['-n', node.netns, 'link', 'show', first.hostInterface])).rejects.toThrow('not exist');
    await cni.detach(waits);
    await cni.attach(waits);
    for (const pod of [second, third, ...others]) removeCgroup(pod);
    await Promise.all([second, third, ...others].map((pod) => orphaned(pod)));
    expect(await landed(second, 'x0')).toBe(0);

    const judged = async ({ pod }: Sandbox) => [await landed(pod), await landed({ ...pod, ipv4: neighbour.pod.ipv4 })];
    expect([await judged(waits), await judged(await started())]).toEqual([
      [TIMES, 0],
      [TIMES, 0],
    ]);
    expect([await rowOf(second), (await rowOf(third))?.orphaned]).toEqual([undefined, true]);
    await counted(TIMES);
    await node.killCollector('SIGKILL');
    await node.startCollector({ until: 'ready', args: cni.args('closed', args()) });
    expect(await judged(await started())).toEqual([TIMES, 0]);
    expect([await rowOf(third), await landed(neighbour.pod)]).toEqual([undefined, TIMES]);
    expect(await Promise.all(others.map(isOrphaned))).toEqual(others.map(() => true));
  });

  it('a later sandbox of the same pod - the interface of the former one is orphaned, while the pod lives', async () => {
    const former = await started();
    await rename(former.pod);
    await cni.detach(former);
    expect(await landed(former.pod, 'x0'), 'control: there is no other').toBe(TIMES);
    const next = await started(former.pod.uid);
    await orphaned(former.pod);
    expect([await landed(former.pod, 'x0'), await landed(next.pod)]).toEqual([0, TIMES]);
    expect(await isOrphaned(next.pod)).toBe(false);
  });

  it('a later sandbox of the same pod - sends from its own address while the list has that of the former one', async () => {
    const former = await started();
    const other = await started();
    await cni.node.putPods(1);
    await waitFor(async () => (await cni.node.nodeStatus())?.snapshotRevision === 1, { what: 'the list' });
    expect(await landed(former.pod), 'control').toBe(TIMES);
    await cni.detach(former);
    const ended = cni.node.pods.splice(0, 1);
    const next = await started(former.pod.uid);
    const addresses = async () => (await rowOf(next.pod))?.addresses;
    expect(await addresses()).toEqual([next.pod.ipv4, next.pod.ipv6]);
    const asFormer = { ...next.pod, ipv4: former.pod.ipv4 };
    expect([await landed(next.pod), await landed(asFormer), await landed(other.pod)]).toEqual([TIMES, 0, TIMES]);
    await cni.node.killCollector('SIGKILL');
    await cni.node.startCollector({ until: 'ready', args: cni.args('closed', args()) });
    expect([await landed(next.pod), await landed(asFormer)], 'after a restart').toEqual([TIMES, 0]);
    // The list that the kubelet's report makes; and one that contradicts the record later, which decides.
    const lists = async (revision: number, ipv4: string) => {
      await cni.node.putPods(revision, (pods) => {
        for (const pod of pods.filter(({ uid }) => uid === next.pod.uid))
          pod.interfaces = [{ name: 'eth0', addresses: [ipv4], mac: null }];
      });
      await waitFor(addresses, { what: `${ipv4} to be in force`, until: (all) => all?.join() === ipv4 });
    };
    await lists(2, next.pod.ipv4);
    await lists(3, '10.244.0.77');
    cni.node.pods.push(...ended);
  });

  it('later sandboxes of the same pod, faster than the kubelet reports - each sends from its own address while the list has that of one before', async () => {
    const first = await started();
    await cni.node.putPods(1);
    await waitFor(async () => (await cni.node.nodeStatus())?.snapshotRevision === 1, { what: 'the list' });
    const sandboxes = [first];
    for (let n = 1; n < 4; n += 1) {
      await cni.detach(sandboxes.at(-1) as Sandbox);
      sandboxes.push(await started(first.pod.uid));
    }
    const { pod } = sandboxes.pop() as Sandbox;
    const all = [...cni.node.pods];
    for (const [n, { ipv4, ipv6 }] of sandboxes.map((one) => one.pod).entries()) {
      cni.node.pods.splice(0, cni.node.pods.length, { ...pod, ipv4, ipv6 });
      await cni.node.putPods(n + 2);
      await waitFor(async () => (await cni.node.nodeStatus())?.snapshotRevision === n + 2, { what: `list ${n + 2}` });
      expect([await landed(pod), await landed({ ...pod, ipv4 })], `after ${n} others`).toEqual([TIMES, 0]);
    }
    cni.node.pods.splice(0, 1, ...all);
  });

  it('later sandboxes of most pods of a node - its other pods keep what the list grants, also what a later list grants, and over a restart; no former address returns', async () => {
    const { node } = cni;
    const other = await started();
    const tenants = [await started(), await started(), await started()];
    /** As the kubelet reports it: pods in `former` with the addresses of their first sandbox. */
    const list = async (revision: number, prefixes: string[], former: readonly TestPod[]) => {
      await node.putPods(revision, (pods) => {
        for (const pod of pods) {
          const before = former.find(({ uid }) => uid === pod.uid);
          if (pod.uid === other.pod.uid) pod.allowedPrefixes = prefixes;
          if (before) pod.interfaces = [{ name: 'eth0', addresses: [before.ipv4, before.ipv6], mac: null }];
        }
      });
    };
    const from = (ipv4: string) => landed({ ...other.pod, ipv4 });
    const refused = async () => (await node.nodeStatus())?.snapshotRefused;
    const ended: TestPod[] = [];
    const again = async (sandbox: Sandbox) => {
      const { pod } = sandbox;
      await cni.detach(sandbox);
      ended.push(...node.pods.splice(node.pods.indexOf(pod), 1));
      return started(pod.uid);
    };
    expect(await from('10.250.0.7'), 'control: no list').toBe(0);
    await list(1, ['10.250.0.0/24'], []);
    await waitFor(() => from('10.250.0.7'), { what: 'the grant', until: (count) => count === TIMES });

    const first = tenants.map(({ pod }) => ({ ...pod }));
    for (const [n, tenant] of tenants.entries()) tenants[n] = await again(tenant);
    await waitFor(refused, { what: 'the refusal', until: (reason) => reason?.includes('3 of 4') === true });
    expect([await from('10.250.0.7'), await landed(other.pod)]).toEqual([TIMES, TIMES]);
    for (const { pod } of tenants) expect(await landed(pod)).toBe(TIMES);

    await list(2, ['10.251.0.0/24'], first);
    await waitFor(() => from('10.251.0.7'), { what: 'a grant of a later list', until: (count) => count === TIMES });
    expect([await refused(), await from('10.250.0.7')]).toEqual([expect.stringContaining('3 of 4'), 0]);

    await node.killCollector('SIGKILL');
    await node.startCollector({ until: 'ready', args: cni.args('closed', args()) });
    await list(3, ['10.252.0.0/24'], first);
    await waitFor(() => from('10.252.0.7'), { what: 'a grant after a restart', until: (count) => count === TIMES });
    expect(await refused()).toContain('3 of 4');
    for (const { pod } of [other, ...tenants]) expect(await landed(pod)).toBe(TIMES);

    const late = await again(tenants[0] as Sandbox);
    await list(4, [], first.slice(0, 1));
    await waitFor(refused, { what: 'the list to be accepted', until: (reason) => reason === '' });
    const asFirst = { ...late.pod, ipv4: (first[0] as TestPod).ipv4 };
    expect([await landed(late.pod), await landed(asFirst), await landed(other.pod)]).toEqual([TIMES, 0, TIMES]);
    node.pods.push(...ended);
  });

  it('a later sandbox that began while no collector ran - sends from its own address alone, too', async () => {
    const { node } = cni;
    const former = await started();
    await node.putPods(1);
    await waitFor(async () => (await node.nodeStatus())?.snapshotRevision === 1, { what: 'the list' });
    await node.killCollector('SIGKILL');
    await cni.detach(former);
    // The configuration without our plugin, which would wait for the collector.
    const next = await started(former.pod.uid, cni.list('10-lab.conflist'));
    const asFormer = { ...next.pod, ipv4: former.pod.ipv4 };
    expect([await landed(next.pod), await landed(asFormer)], 'control: no guard').toEqual([TIMES, TIMES]);
    await node.startCollector({ until: 'ready', args: cni.args('closed', args()) });
    expect([await landed(next.pod), await landed(asFormer)]).toEqual([TIMES, 0]);
  });

  /** ADD of `net1` by Multus, with a record in a folder of its own: of the sandbox's first network, too. */
  const storage = () => {
    const ipam = { type: 'host-local', dataDir: cni.at('ipam-storage'), ranges: [[{ subnet: '10.99.0.0/24' }]] };
    const [own = { type: '' }] = cni.list().plugins.slice(-1);
    const bridge = { type: 'bridge', bridge: 'br-storage', isGateway: true, ipam };
    return { cniVersion: '1.0.0', name: 'storage', plugins: [bridge, own] };
  };
  const multus = () => ({ ...cni.host, resultsDir: cni.node.multusDir });
  const net1Of = ({ attachment }: Sandbox) => ({ ...attachment, conf: storage(), ifName: 'net1' });
  const recordOf = ({ attachment }: Sandbox, name: string) =>
    path.join(cni.node.multusDir, `${name.replace('$', attachment.containerId)}`);
  const join = async (sandbox: Sandbox): Promise<TestPod> => {
    const side = podSide(await cniAdd(multus(), net1Of(sandbox), sandbox.pod.netns));
    const [ipv4 = ''] = side.addresses;
    return { ...sandbox.pod, hostInterface: side.hostInterface, mac: side.mac, ipv4 };
  };
  const leave = (sandbox: Sandbox) => cniDel(multus(), net1Of(sandbox), sandbox.pod.netns);
  const withMultus = async () => {
    const sandbox = await started();
    mkdirSync(cni.node.multusDir, { recursive: true });
    const { conf, containerId } = sandbox.attachment;
    const record = `${conf.name}-${containerId}-eth0`;
    cpSync(path.join(cni.node.cniDir, record), path.join(cni.node.multusDir, record));
    return { sandbox, net1: await join(sandbox) };
  };
  const net1Landed = async (net1: TestPod, device: string) => {
    const before = await cni.node.ipReceived();
    const frame = udpFrame({ ...GATEWAY, sourceMac: net1.mac, source: net1.ipv4, destination: '10.99.0.1' });
    expect(await (await cni.node.startSending(net1, [frame], TIMES, 0, device)).sent).toBe(TIMES);
    return (await cni.node.ipReceived()) - before;
  };
  /** The collector has seen the record of the interface on disk. */
  const seenRecord = ({ hostInterface }: TestPod) =>
    waitFor(
      () => {
        const { stored } = new BindingStore(cni.node.stateDir, readBootId(), { readOnly: true }).load();
        const own = stored.find(({ interfaceName }) => interfaceName === hostInterface);
        return own?.podSeen.folder === cni.node.multusDir;
      },
      { what: 'its record to be seen' },
    );
  /** Two looks: another pod ends, and its interface is orphaned. */
  const looks = async () => {
    const marker = await started();
    await rename(marker.pod);
    await cni.detach(marker);
    removeCgroup(marker.pod);
    await orphaned(marker.pod);
  };

  it('networks of one name, as of two namespaces - a pod keeps its address while a pod of another bridge has it; control: of the same one', async () => {
    mkdirSync(cni.node.multusDir, { recursive: true });
    const joined = async (bridge: string, storage: string): Promise<TestPod> => {
      const { attachment, pod } = await started();
      const ipam = { type: 'host-local', dataDir: cni.at(storage), ranges: [[{ subnet: '10.99.0.0/24' }]] };
      const [own = { type: '' }] = cni.list().plugins.slice(-1);
      const plugins = [{ type: 'bridge', bridge, isGateway: true, ipam }, own];
      const conf = { cniVersion: '1.0.0', name: 'storage', plugins };
      const side = podSide(await cniAdd(multus(), { ...attachment, conf, ifName: 'net1' }, pod.netns));
      const [ipv4 = ''] = side.addresses;
      const net1 = { ...pod, hostInterface: side.hostInterface, mac: side.mac, ipv4 };
      await seenRecord(net1);
      return net1;
    };
    const shop = await joined('br-shop', 'of-shop');
    const bank = await joined('br-bank', 'of-bank');
    expect(bank.ipv4).toBe(shop.ipv4);
    expect([await net1Landed(shop, 'net1'), await net1Landed(bank, 'net1')]).toEqual([TIMES, TIMES]);
    await joined('br-bank', 'of-another');
    await waitFor(() => net1Landed(bank, 'net1'), { what: 'the newer pod to have it', until: (count) => count === 0 });
    expect(await net1Landed(shop, 'net1')).toBe(TIMES);
  });

  it('a network that a running pod left after it had renamed its end - dropped, also after a restart and after it joined again; eth0 is in use', async () => {
    const { sandbox, net1 } = await withMultus();
    const { sandbox: other, net1: others } = await withMultus();
    await cni.node.putPods(1);
    await Promise.all([seenRecord(net1), seenRecord(others)]);
    await rename(net1, 'net1');
    expect(await net1Landed(net1, 'x0'), 'control: it has not left the network').toBe(TIMES);
    await leave(sandbox);
    expect(await rowOf(net1), 'CNI left the interface').toBeDefined();
    await orphaned(net1);
    expect([await net1Landed(net1, 'x0'), await landed(sandbox.pod), await net1Landed(others, 'net1')]).toEqual([
      0,
      TIMES,
      TIMES,
    ]);
    const shown = await waitFor(() => statusOf(net1), { what: 'its status', until: (row) => row?.orphaned === true });
    expect(shown?.reason).toBe('its pod has ended or left the network, and what it sends is dropped');
    await counted(TIMES);
    const [violation] = cni.node.ledger.violations('orphaned');
    expect([violation?.pod, violation?.detail]).toEqual([
      null,
      `the interface outlives a network of pod shop/${net1.name} (${net1.uid})`,
    ]);

    // The record of the interface that it gets then has the same name.
    const again = await join(sandbox);
    await seenRecord(again);
    await looks();
    expect([await isOrphaned(net1), await isOrphaned(again)]).toEqual([true, false]);
    expect([await net1Landed(net1, 'x0'), await net1Landed(again, 'net1')]).toEqual([0, TIMES]);

    // Another one leaves while no collector runs, and takes its pod's records with it a moment later.
    await rename(others, 'net1');
    await cni.node.killCollector('SIGKILL');
    rmSync(recordOf(other, 'storage-$-net1'));
    expect(await net1Landed(others, 'x0'), 'control: no collector has seen it').toBe(TIMES);
    await cni.node.startCollector({ until: 'ready', args: cni.args('closed', args()) });
    await orphaned(others);
    expect([await isOrphaned(net1), await net1Landed(net1, 'x0'), await net1Landed(others, 'x0')]).toEqual([
      true,
      0,
      0,
    ]);
    for (const name of readdirSync(cni.node.multusDir)) rmSync(path.join(cni.node.multusDir, name));
    await looks();
    expect(await isOrphaned(others), 'its pod ends').toBe(true);
  });

  it.each<[name: string, act: (folder: string, record: string) => void]>([
    ['is removed as a whole', (folder) => rmSync(folder, { recursive: true })],
    ['is emptied', (folder) => readdirSync(folder).forEach((name) => void rmSync(path.join(folder, name)))],
    [
      'is replaced by an empty one',
      (folder) => {
        renameSync(folder, `${folder}.old`);
        mkdirSync(folder);
      },
    ],
    [
      'is written again',
      (_, record) => {
        const content = readFileSync(record);
        rmSync(record);
        writeFileSync(record, content);
      },
    ],
    ['has a record that cannot be read', (_, record) => writeFileSync(record, 'x'.repeat(5 * 1024 * 1024))],
  ])(
    'a network that a running pod has, whose folder %s - nothing is orphaned, also after a restart',
    async (_, act) => {
      const { sandbox, net1 } = await withMultus();
      await cni.node.putPods(1);
      await seenRecord(net1);
      act(cni.node.multusDir, recordOf(sandbox, 'storage-$-net1'));
      await looks();
      expect([await isOrphaned(net1), await isOrphaned(sandbox.pod)]).toEqual([false, false]);
      await cni.node.killCollector('SIGKILL');
      await cni.node.startCollector({ until: 'ready', args: cni.args('closed', args()) });
      await looks();
      expect([await isOrphaned(net1), await net1Landed(net1, 'net1'), await landed(sandbox.pod)]).toEqual([
        false,
        TIMES,
        TIMES,
      ]);
    },
  );
});
