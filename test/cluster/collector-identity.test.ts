// The binding of an interface when the node's records are wrong: stale, contradicted, malformed or
// too many.
import { mkdirSync, rmSync } from 'node:fs';
import path from 'node:path';
import { createNetns, deleteNetns, exec } from '@bailiff/lab/node';
import { waitFor } from '@bailiff/service/testing';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { RECORD_SLACK_MS } from '../../apps/collector/src/identity/identity.ts';
import { GATEWAY_MAC, TestNode, type TestPod } from '../support/node.ts';
import { udpFrame } from '../support/udp-frame.ts';

const spoofed = (pod: TestPod) => udpFrame({ sourceMac: pod.mac, source: '10.244.0.66', destination: '10.244.0.1' });
const own = (pod: TestPod) => udpFrame({ sourceMac: pod.mac, source: pod.ipv4, destination: '10.244.0.1' });

describe('collector identity', () => {
  let node: TestNode;
  beforeEach(async () => {
    node = await TestNode.start();
  });
  afterEach(async () => node[Symbol.asyncDispose]());

  const reported = (by: Parameters<TestNode['ledger']['packets']>[0], n: number) =>
    waitFor(() => node.ledger.packets(by) === n, {
      what: `${n} packets on the bus`,
      state: () => ({
        epochs: [...node.ledger.epochs].map(([k, v]) => [k, v.cumulativePackets]),
        log: node.log.slice(-3000),
      }),
    });
  const rowOf = async (pod: TestPod) =>
    (await node.offlineStatus()).interfaces.find((i) => i.interfaceName === pod.hostInterface);
  const addressesOf = async (pod: TestPod) => (await rowOf(pod))?.addresses ?? [];
  // After a restart, an interface gets its addresses before its programs.
  const isOf = async (pod: TestPod) => {
    const row = await rowOf(pod);
    return row?.place === 'head' && row.addresses.includes(pod.ipv4);
  };
  const bindsTo = (pod: TestPod) =>
    waitFor(() => isOf(pod), {
      what: `${pod.hostInterface} to be ${pod.name}’s`,
      state: () => node.offlineStatus(),
    });

  it('a record that outlived its pod binds no interface: the next one of that name is bound by its own record', async () => {
    await node.startCollector();
    const old = await node.addPod();
    await node.waitForState(old, 'provisional');
    await node.removePod(old);
    const pod = await node.addPod({ cni: false });
    await node.renameHostSide(pod, old.hostInterface);
    await node.waitForState(pod, 'unknown');
    await node.writeCni(pod);
    await bindsTo(pod);
    await node.send(pod, [own(pod), spoofed(pod)], 40);
    await reported({ podUid: pod.uid, vector: 'ipv4-source' }, 20);
    expect(node.ledger.packets({ podUid: old.uid, action: 'drop' })).toBe(0);
  });

  it.each<[string, string[], { isNameKept?: boolean; areEventsLost?: boolean }]>([
    ['name and index of an interface, while no collector ran', [], { isNameKept: true }],
    ['the same under clsact', ['--hook', 'clsact'], { isNameKept: true }],
    ['the index alone under clsact', ['--hook', 'clsact'], {}],
    ['the index of an interface, and the netlink events were lost', [], { areEventsLost: true }],
    ['the same under clsact, and they were lost', ['--hook', 'clsact'], { areEventsLost: true }],
    ['also its name, and they were lost', [], { isNameKept: true, areEventsLost: true }],
    ['its name and index, and they were read late', [], { isNameKept: true, areEventsLost: false }],
  ])('another pod got %s: it is bound by its own record', async (_, args, { isNameKept, areEventsLost }) => {
    const collector = await node.startCollector({ args });
    const old = await node.addPod();
    await node.waitForState(old, 'provisional');
    const ifindex = (await rowOf(old))?.ifindex;
    if (areEventsLost !== undefined) collector.kill('SIGSTOP');
    else await node.killCollector();
    if (areEventsLost) {
      // More than the receive buffer of the collector holds.
      const lines = Array.from({ length: 9_000 }, (_, i) => `link set ${old.hostInterface} mtu ${1_400 + (i % 2)}`);
      await exec('ip', ['-n', node.netns, '-batch', '-'], { input: `${lines.join('\n')}\n` });
    }
    await node.removePod(old);
    rmSync(path.join(node.cniDir, 'pods-c1-eth0'));
    const pod = await node.addPod({ cni: false });
    await node.renameHostSide(pod, isNameKept ? old.hostInterface : pod.hostInterface, ifindex);
    await node.writeCni(pod);
    // Frames at every moment of the start.
    const honest = await node.startSending(pod, [own(pod)], 200_000, 20_000);
    if (areEventsLost !== undefined) collector.kill('SIGCONT');
    else await node.startCollector({ args });
    await bindsTo(pod);
    await honest.stop();
    await node.send(pod, [own(pod), spoofed(pod)], 40);
    await reported({ podUid: pod.uid, vector: 'ipv4-source' }, 20);
    expect((await rowOf(pod))?.ifindex).toBe(ifindex);
    const ofOld = [...node.ledger.epochs.values()].filter((v) => v.pod?.uid === old.uid && v.action === 'drop');
    expect(ofOld.map((v) => JSON.stringify(v))).toEqual([]);
  });

  it('a record that was written while the collector was stopped binds its pod, however late it is read', async () => {
    const collector = await node.startCollector();
    collector.kill('SIGSTOP');
    const pod = await node.addPod();
    const writtenAtMs = Date.now();
    // Longer than the maximum age at which a running collector accepts a record that is older than
    // its interface.
    await waitFor(() => Date.now() - writtenAtMs > 3 * RECORD_SLACK_MS, { what: 'the record to be old enough' });
    collector.kill('SIGCONT');
    await bindsTo(pod);
    await node.send(pod, [own(pod), spoofed(pod)], 10);
    await reported({ podUid: pod.uid, vector: 'ipv4-source' }, 5);
  });

  it.each(['no-mac', 'host-side'] as const)(
    'a record without the MAC of the pod (%s): it is read from the pod, and its own link-local packets pass',
    async (interfaces) => {
      const pod = await node.addPod({ cni: false });
      await node.writeCni(pod, interfaces);
      await node.startCollector();
      await bindsTo(pod);
      const linkLocal = 'fe80::858:aff:fef4:1';
      const ndp = (sourceMac: string) => udpFrame({ sourceMac, source: linkLocal, destination: 'fd00:10:244::1' });
      const foreign = udpFrame({ sourceMac: '0a:58:0a:f4:00:99', source: pod.ipv4, destination: '10.244.0.1' });
      await node.send(pod, [own(pod), spoofed(pod), ndp(pod.mac), foreign], 40);
      await reported({ podUid: pod.uid, vector: 'ipv4-source', action: 'drop' }, 10);
      await reported({ podUid: pod.uid, vector: 'source-mac', action: 'drop' }, 10);
      expect(node.ledger.packets({ podUid: pod.uid, vector: 'link-local' })).toBe(0);
      expect(await rowOf(pod)).toMatchObject({ mac: pod.mac });
    },
  );

  it('a pod whose record has no MAC gains none that another pod or the gateway has', async () => {
    const victim = await node.addPod();
    const thieves = [await node.addPod({ cni: false }), await node.addPod({ cni: false })] as const;
    const taken = [victim.mac, GATEWAY_MAC] as const;
    for (const [index, thief] of thieves.entries()) {
      await exec('ip', ['-n', thief.netns, 'link', 'set', 'eth0', 'address', taken[index] as string]);
      await node.writeCni(thief, 'host-side');
    }
    await node.startCollector();
    for (const [index, thief] of thieves.entries()) {
      await bindsTo(thief);
      const before = await node.ipReceived();
      const frame = udpFrame({ sourceMac: taken[index] as string, source: thief.ipv4, destination: '10.244.0.1' });
      await node.send(thief, [frame], 10);
      // At least: the kernel of the pod sends some packets by itself.
      await waitFor(() => node.ledger.packets({ podUid: thief.uid, vector: 'source-mac', action: 'drop' }) >= 10, {
        what: 'drops',
        state: () => [...node.ledger.epochs],
      });
      expect(await node.ipReceived()).toBe(before);
    }
    await bindsTo(victim);
    const before = await node.ipReceived();
    await node.send(victim, [own(victim)], 10);
    expect(await node.ipReceived()).toBe(before + 10);
  });

  it('bound by a stale record at start, an interface is rebound by the newer record, and no packet passes in between', async () => {
    const old = await node.addPod();
    await node.removePod(old);
    const pod = await node.addPod({ cni: false });
    await node.renameHostSide(pod, old.hostInterface);
    // As the kernel chooses it: the record of the former pod has another one.
    await exec('ip', ['-n', node.netns, 'link', 'set', old.hostInterface, 'address', '02:00:00:00:00:99']);
    await node.startCollector();
    await bindsTo(old);
    await node.send(pod, [own(pod)], 7);
    await reported({ podUid: old.uid, vector: 'ipv4-source' }, 7);
    const flood = await node.startSending(pod, [spoofed(pod)], 1_000_000, 10_000);
    await waitFor(() => node.ledger.packets({ podUid: old.uid, vector: 'ipv4-source' }) > 100);
    await node.writeCni(pod);
    await bindsTo(pod);
    await flood.stop();
    // One identity replaces the other: each packet is judged by one of them.
    await reported({ vector: 'ipv4-source', action: 'drop' }, 7 + (await flood.sent));
    const ofOld = node.ledger.packets({ podUid: old.uid, vector: 'ipv4-source' });
    const before = node.ledger.packets({ podUid: pod.uid, vector: 'ipv4-source' });
    await node.send(pod, [own(pod), spoofed(pod)], 10);
    await reported({ podUid: pod.uid, vector: 'ipv4-source' }, before + 5);
    expect(node.ledger.packets({ podUid: old.uid, vector: 'ipv4-source' })).toBe(ofOld);
  });

  it('an interface that is renamed, readdressed or whose pod side moves away keeps its binding: each is reported, none escapes', async () => {
    const [pod, victim] = [await node.addPod(), await node.addPod()];
    await node.startCollector();
    for (const one of [pod, victim]) await node.waitForState(one, 'provisional');
    const link = (...words: string[]) => exec('ip', ['-n', node.netns, 'link', ...words]);
    const asVictim = udpFrame({ sourceMac: pod.mac, source: victim.ipv4, destination: '10.244.0.1' });
    let dropped = 0;
    /**
     * The pod's own packets pass, packets with the victim's addresses do not, and violations name
     * the pod.
     */
    const isStill = async (from: TestPod) => {
      const before = await node.ipReceived();
      await node.send(from, [own(pod), asVictim], 80);
      dropped += 40;
      await reported({ podUid: pod.uid, vector: 'ipv4-source', action: 'drop' }, dropped);
      expect(node.ledger.packets({ podUid: victim.uid })).toBe(0);
      return (await node.ipReceived()) - before;
    };
    const moves = () => node.ledger.violations('interface-moved');
    const reportsMove = async (count: number, detail: RegExp) => {
      await waitFor(() => moves().length >= count && detail.test(moves().at(-1)?.detail ?? ''), {
        what: `a violation with ${detail}`,
        state: () => [moves(), node.log.slice(-2_000)],
      });
      expect(moves().at(-1)).toMatchObject({ pod: { uid: pod.uid }, action: 'audit' });
    };

    await link('set', pod.hostInterface, 'mtu', '1400');
    await link('set', pod.hostInterface, 'down');
    await link('set', pod.hostInterface, 'up');
    expect(await isStill(pod)).toBeGreaterThanOrEqual(40);
    expect(moves(), 'control: neither is a move').toEqual([]);

    // The interface name in the victim's record.
    await node.removePod(victim);
    await link('set', pod.hostInterface, 'down');
    await link('set', pod.hostInterface, 'name', victim.hostInterface);
    await link('set', victim.hostInterface, 'up');
    await reportsMove(1, new RegExp(`^name ${pod.hostInterface} -> ${victim.hostInterface}$`));
    await node.writeCni(victim);
    await isStill(pod);

    await link('set', victim.hostInterface, 'address', '02:00:00:00:00:99');
    await reportsMove(2, /; host MAC 02:00:00:00:00:01 -> 02:00:00:00:00:99$/);
    await isStill(pod);

    const nested = `${node.netns}-nested`;
    await createNetns(nested);
    try {
      await exec('ip', ['-n', pod.netns, 'link', 'set', 'eth0', 'netns', nested]);
      await exec('ip', ['-n', nested, 'link', 'set', 'eth0', 'up']);
      await reportsMove(3, /; peer namespace id \d+ -> \d+$/);
      await isStill({ ...pod, netns: nested });
    } finally {
      await deleteNetns(nested);
    }
    expect(node.ledger.packets({ vector: 'interface-moved' })).toBe(moves().length);
  });

  it('a record of another pod does not rebind an interface whose own record is newer', async () => {
    await node.startCollector();
    const pod = await node.addPod();
    await node.waitForState(pod, 'provisional');
    const thief = await node.addPod({ cni: false });
    await node.writeCni({ ...thief, hostInterface: pod.hostInterface });
    await waitFor(() => node.log.includes(`it is bound to ${pod.uid}`), { what: 'the contradiction to be reported' });
    expect(await addressesOf(pod)).toContain(pod.ipv4);
  });

  it('a wrong list that arrived before the pods is dropped as they are bound', async () => {
    await node.startCollector({ args: ['--status-interval-ms', '250'] });
    const pods: TestPod[] = [];
    const wrong = (list: { interfaces: object[] }[]) => {
      for (const one of list) one.interfaces = [{ name: 'eth0', addresses: ['10.99.0.1'], mac: null }];
    };
    for (let n = 0; n < 3; n += 1) pods.push(await node.addPod({ cni: false }));
    await node.putPods(1, wrong);
    await waitFor(async () => (await node.nodeStatus())?.snapshotRevision === 1, { what: 'the snapshot' });
    for (const pod of pods) await node.writeCni(pod);
    for (const pod of pods) await bindsTo(pod);
    await waitFor(async () => (await node.nodeStatus())?.snapshotRefused.includes('disagrees'), {
      what: 'the refusal in status',
      state: () => node.nodeStatus(),
    });
    const [pod] = pods as [TestPod];
    const before = node.ledger.packets({ podUid: pod.uid, vector: 'ipv4-source' });
    await node.send(pod, [own(pod), spoofed(pod)], 10);
    await reported({ podUid: pod.uid, vector: 'ipv4-source' }, before + 5);
  });

  it('a snapshot without the pods of the node is refused, and applied once their interfaces are gone', async () => {
    await node.startCollector({ args: ['--status-interval-ms', '250'] });
    const pods: TestPod[] = [];
    for (let n = 0; n < 5; n += 1) pods.push(await node.addPod());
    await node.putPods(1);
    for (const pod of pods) await node.waitForState(pod, 'programmed');
    await node.putPods(2, (list) => list.splice(0));
    await waitFor(async () => (await node.nodeStatus())?.snapshotRefused.includes('lacks 5 of 5 pods'), {
      what: 'the refusal in status',
      state: () => node.nodeStatus(),
    });
    expect((await node.offlineStatus()).interfaces.map((i) => i.state)).toEqual(pods.map(() => 'programmed'));
    for (const pod of pods.slice(0, 2)) await node.removePod(pod);
    await waitFor(async () => (await node.nodeStatus())?.snapshotRevision === 2, {
      what: 'the snapshot to be applied',
      state: () => node.nodeStatus(),
    });
    expect((await node.nodeStatus())?.snapshotRefused).toBe('');
  });

  it('a tenant that deletes by force all pods of a node - they are reported for the list, and new pods are listed at once', async () => {
    await node.startCollector({ args: ['--status-interval-ms', '250'] });
    const former: TestPod[] = [];
    for (let n = 0; n < 4; n += 1) former.push(await node.addPod());
    await node.putPods(1);
    for (const pod of former) await node.waitForState(pod, 'programmed');
    const unlisted = (wanted: TestPod[]) =>
      waitFor(async () => (await node.nodeStatus())?.unlistedPods?.toSorted(), {
        what: 'the pods beside the list in the status',
        until: (uids) => JSON.stringify(uids) === JSON.stringify(wanted.map(({ uid }) => uid).toSorted()),
        state: () => node.nodeStatus(),
      });
    await unlisted([]);
    const later = await node.addPod();
    await node.putPods(2, (list) => list.splice(0, former.length));
    await unlisted(former);
    expect((await node.nodeStatus())?.snapshotRefused).toContain('lacks 4 of 4 pods');
    await node.waitForState(later, 'programmed');
    for (const pod of former) expect((await rowOf(pod))?.state).toBe('programmed');

    await node.putPods(3, (list) => {
      for (const pod of list.slice(0, former.length)) pod.ended = true;
    });
    await waitFor(async () => (await node.nodeStatus())?.snapshotRevision === 3, { what: 'the list of ipam-sync' });
    expect((await node.nodeStatus())?.snapshotRefused).toBe('');
    await unlisted(former);
  });

  it('invalid values affect only themselves: the rest is in force, and the process runs and restarts', async () => {
    const [first, second] = [await node.addPod(), await node.addPod()];
    const collector = await node.startCollector();
    await node.putPods(1, (list) => {
      list[0]!.allowedPrefixes = ['garbage', '10.66.0.0/16'];
      list[1]!.interfaces[0]!.addresses.push('10.0.0.0.1');
      list[1]!.probePorts = [{ port: 0, protocol: 'TCP' }];
    });
    for (const pod of [first, second]) await node.waitForState(pod, 'programmed');
    expect(await addressesOf(first)).toContain('10.66.0.0/16');
    const third = await node.addPod({ cni: false });
    await node.writeCni({ ...third, ipv4: 'garbage', mac: 'nonsense' });
    await waitFor(async () => (await addressesOf(third)).includes(third.ipv6), { what: 'the rest of the record' });
    expect(collector.exitCode).toBeNull();
    await node.killCollector();
    await node.startCollector();
    expect(await addressesOf(second)).toEqual([second.ipv4, second.ipv6]);
    await node.send(first, [own(first), spoofed(first)], 10);
    await reported({ podUid: first.uid, vector: 'ipv4-source' }, 5);
  });

  it('more grants than an interface has room for: every pod is programmed, and the one that lacks some is shown', async () => {
    const pods = [await node.addPod(), await node.addPod(), await node.addPod()];
    await node.startCollector({ args: ['--max-interfaces', '8', '--status-interval-ms', '250'] });
    await node.putPods(1, (list) => {
      for (const [index, pod] of list.entries())
        pod.allowedPrefixes = Array.from({ length: index === 0 ? 80 : 60 }, (_, i) => `172.16.${i}.0/24`);
    });
    for (const pod of pods) await node.waitForState(pod, 'programmed');
    await waitFor(
      async () => (await node.nodeStatus())?.interfaces.filter((i) => i.reason.includes('did not fit')).length === 1,
      { what: 'the partial one in status', state: () => node.nodeStatus() },
    );
    for (const pod of pods) await node.send(pod, [own(pod), spoofed(pod)], 10);
    for (const pod of pods) await reported({ podUid: pod.uid, vector: 'ipv4-source' }, 5);
  });

  it('a mismatch is one violation, however often the collector starts', async () => {
    const pod = await node.addPod();
    await node.startCollector();
    await node.waitForState(pod, 'provisional');
    await node.putPods(1, (list) => {
      list[0]!.interfaces[0]!.addresses = ['10.244.0.77'];
    });
    await node.waitForState(pod, 'programmed');
    await reported({ vector: 'identity-mismatch' }, 1);
    for (let n = 0; n < 2; n += 1) {
      await node.killCollector();
      await node.startCollector();
    }
    // A later count: all earlier ones have been published.
    await node.send(pod, [own(pod)], 3);
    await reported({ podUid: pod.uid, vector: 'ipv4-source' }, 3);
    expect(node.ledger.violations('identity-mismatch')).toHaveLength(1);
  });

  it('records are read from a directory that was removed and recreated', async () => {
    await node.startCollector();
    const first = await node.addPod();
    await node.waitForState(first, 'provisional');
    rmSync(node.cniDir, { recursive: true });
    mkdirSync(node.cniDir);
    const second = await node.addPod();
    await waitFor(async () => (await addressesOf(second)).includes(second.ipv4), {
      what: 'the second pod to be bound',
      state: () => node.log.slice(-2000),
    });
  });
});
