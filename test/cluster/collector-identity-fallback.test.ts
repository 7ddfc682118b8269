/**
 * A pod without a CNI record is found by its network namespace. A program of the pod with
 * CAP_NET_ADMIN changes addresses, MAC and interface name there in its first second. It gains no
 * identity by that, with the bus or without.
 */
import { openBucket } from '@bailiff/bus';
import { exec } from '@bailiff/lab/node';
import { waitFor } from '@bailiff/service/testing';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { TestNode, type TestPod } from '../support/node.ts';
import { udpFrame } from '../support/udp-frame.ts';

const GATEWAY = '10.244.0.1';
/** Of a pod on another node: no record on this node contains it. */
const ELSEWHERE = '10.244.7.7';

describe('fallback by network namespace', () => {
  let node: TestNode;
  let attacker: TestPod;
  let victim: TestPod;
  let process: Awaited<ReturnType<TestNode['runInPod']>>;
  beforeEach(async () => {
    node = await TestNode.start();
    attacker = await node.addPod({ cni: false });
    victim = await node.addPod();
    process = await node.runInPod(attacker);
  });
  afterEach(async () => {
    await process[Symbol.asyncDispose]();
    await node[Symbol.asyncDispose]();
  });

  const ip = (pod: TestPod, ...words: string[]) => exec('ip', ['-n', pod.netns, ...words]);
  const start = (args: string[] = []) =>
    node.startCollector({ args: ['--cgroup-root', process.root, '--status-interval-ms', '250', ...args] });
  const rowOf = async (pod: TestPod) =>
    (await node.offlineStatus()).interfaces.find((i) => i.interfaceName === pod.hostInterface);
  /** The collector has read the namespace, and the bus does not list its pod. */
  const unlisted = () =>
    waitFor(
      async () => {
        const ifaces = (await node.nodeStatus())?.interfaces ?? [];
        return ifaces.some(({ reason }) => reason.startsWith(`its namespace is of pod ${attacker.uid}`));
      },
      { what: 'the pod to be found', state: async () => [await node.nodeStatus(), node.log.slice(-2_000)] },
    );
  const unknownMode = async (mode: 'audit' | 'enforce') => {
    const json = JSON.stringify({ unknown: mode });
    await openBucket(node.admin, 'bailiff_config').put('spoof.cluster._.default', json);
  };
  const frame = (source: string, sourceMac = attacker.mac) =>
    udpFrame({ sourceMac, source, destination: source.includes(':') ? 'fd00:10:244::1' : GATEWAY });
  /** Number of packets that reach the node's own stack; all sent packets are counted first. */
  const landed = async (pod: TestPod, frames: Buffer[], count = frames.length) => {
    const before = await node.ipReceived();
    await node.send(pod, frames, count);
    return (await node.ipReceived()) - before;
  };
  /** At least: the pod's kernel sends some packets of its own, for example for a new address. */
  const counted = (by: Parameters<TestNode['ledger']['packets']>[0], count: number) =>
    waitFor(() => node.ledger.packets(by) >= count, {
      what: `${count} packets on the bus`,
      state: () => [
        [...node.ledger.epochs].map(([key, { cumulativePackets }]) => [key, cumulativePackets]),
        node.log.slice(-2_000),
      ],
    });

  /** The configuration may reach the kernel after the status. */
  const unknownDropped = () =>
    waitFor(async () => (await landed(attacker, [frame(victim.ipv4)], 1)) === 0, {
      what: 'unknown ones to be dropped',
    });

  /** Changes that a pod can make to its own side. */
  const addsAddresses = async () => {
    await ip(attacker, 'addr', 'replace', `${victim.ipv4}/24`, 'dev', 'eth0');
    await ip(attacker, 'addr', 'replace', `${ELSEWHERE}/24`, 'dev', 'eth0');
  };
  const replacesAddress = async () => {
    await ip(attacker, 'addr', 'flush', 'dev', 'eth0', 'scope', 'global');
    await ip(attacker, 'addr', 'replace', `${victim.ipv4}/24`, 'dev', 'eth0');
  };
  const renames = async () => {
    await ip(attacker, 'link', 'set', 'eth0', 'down');
    await ip(attacker, 'link', 'set', 'eth0', 'name', 'x0');
    await ip(attacker, 'link', 'set', 'x0', 'up');
    await ip(attacker, 'addr', 'replace', `${victim.ipv4}/24`, 'dev', 'x0');
    // The test's packet sender takes the name of the device.
    return 'x0';
  };

  describe.each([
    ['adds addresses', addsAddresses],
    ['replaces its address', replacesAddress],
  ])('a pod that %s before', (_name, act) => {
    it('without a list on the bus - is unknown: no packet passes as another pod’s, unless unknown ones may pass, and then each is counted', async () => {
      await unknownMode('enforce');
      await act();
      await start();
      await unlisted();
      await unknownDropped();
      expect(await landed(attacker, [frame(victim.ipv4), frame(ELSEWHERE)], 20)).toBe(0);
      await counted({ vector: 'unknown-interface', action: 'drop' }, 20);
      await unknownMode('audit');
      await waitFor(async () => (await landed(attacker, [frame(victim.ipv4)], 1)) === 1, {
        what: 'unknown ones to pass',
      });
      const before = node.ledger.packets({ vector: 'unknown-interface', action: 'audit' });
      expect(await landed(attacker, [frame(victim.ipv4)], 20)).toBe(20);
      await waitFor(() => node.ledger.packets({ vector: 'unknown-interface', action: 'audit' }) >= before + 20, {
        what: 'each to be counted',
      });
    });

    it('with the bus - has exactly the addresses that the bus lists, and its own packets pass', async () => {
      await act();
      await start();
      await unlisted();
      await node.putPods(1);
      await node.waitForState(attacker, 'programmed');
      expect((await rowOf(attacker))?.addresses).toEqual([attacker.ipv4, attacker.ipv6]);
      expect(await landed(attacker, [frame(victim.ipv4), frame(ELSEWHERE)], 20)).toBe(0);
      await counted({ podUid: attacker.uid, vector: 'ipv4-source', action: 'drop' }, 20);
      expect(await landed(attacker, [frame(attacker.ipv4)], 20)).toBe(20);
      expect(node.ledger.packets({ podUid: victim.uid })).toBe(0);
    });
  });

  it('a pod that renames its side - gains nothing: with the bus its addresses are those that the bus lists', async () => {
    const device = await renames();
    await start();
    await unlisted();
    await node.putPods(1);
    await waitFor(async () => (await rowOf(attacker))?.state === 'programmed', { what: 'the list on the bus' });
    expect((await rowOf(attacker))?.addresses).toEqual([attacker.ipv4, attacker.ipv6]);
    await ip(attacker, 'link', 'set', device, 'down');
    await ip(attacker, 'link', 'set', device, 'name', 'eth0');
    await ip(attacker, 'link', 'set', 'eth0', 'up');
    expect(await landed(attacker, [frame(victim.ipv4)], 20)).toBe(0);
    await counted({ podUid: attacker.uid, vector: 'ipv4-source', action: 'drop' }, 20);
  });

  it('a pod that took the MAC of another before - may not use it', async () => {
    await ip(attacker, 'link', 'set', 'eth0', 'address', victim.mac);
    await start();
    await unlisted();
    await node.putPods(1);
    for (const pod of [attacker, victim]) await node.waitForState(pod, 'programmed');
    expect(await landed(attacker, [frame(attacker.ipv4, victim.mac)], 20)).toBe(0);
    await counted({ podUid: attacker.uid, vector: 'source-mac', action: 'drop' }, 20);
    expect(await landed(attacker, [frame(attacker.ipv4)], 20), 'nor its earlier MAC').toBe(0);
    const own = udpFrame({ sourceMac: victim.mac, source: victim.ipv4, destination: GATEWAY });
    expect(await landed(victim, [own], 20), 'control: the owner may').toBe(20);
  });

  it('a pod whose MAC a later record assigns to another pod - loses it when that pod is bound', async () => {
    const late = await node.addPod({ cni: false });
    await ip(attacker, 'link', 'set', 'eth0', 'address', late.mac);
    await start();
    await unlisted();
    await node.putPods(1);
    await node.waitForState(attacker, 'programmed');
    // No interface has that MAC yet.
    expect((await rowOf(attacker))?.mac).toBe(late.mac);
    await node.writeCni(late);
    await node.waitForState(late, 'programmed');
    await waitFor(async () => (await rowOf(attacker))?.mac !== late.mac, { what: 'the MAC to be removed' });
    expect(await landed(attacker, [frame(attacker.ipv4, late.mac)], 20)).toBe(0);
    expect(await landed(late, [udpFrame({ sourceMac: late.mac, source: late.ipv4, destination: GATEWAY })], 20)).toBe(
      20,
    );
  });

  it('a pod that takes the MAC of the gateway - may not use it', async () => {
    await ip(attacker, 'link', 'set', 'eth0', 'address', '02:00:00:00:00:01');
    await start();
    await unlisted();
    await node.putPods(1);
    await node.waitForState(attacker, 'programmed');
    expect((await rowOf(attacker))?.mac).not.toBe('02:00:00:00:00:01');
  });

  it('a pod that keeps changing during the lookup - ends with the listed addresses; later changes have no effect', async () => {
    const script = `while :; do ip addr add ${victim.ipv4}/24 dev eth0; ip addr del ${victim.ipv4}/24 dev eth0; done`;
    const abort = new AbortController();
    const changing = exec(
      'timeout',
      ['20', 'ip', 'netns', 'exec', attacker.netns, 'sh', '-c', `${script} 2>/dev/null`],
      {
        signal: abort.signal,
      },
    ).catch(() => undefined);
    await unknownMode('enforce');
    await start();
    await unlisted();
    await unknownDropped();
    expect(await landed(attacker, [frame(victim.ipv4)], 20)).toBe(0);
    await node.putPods(1);
    await node.waitForState(attacker, 'programmed');
    abort.abort();
    await changing;
    await addsAddresses();
    await ip(attacker, 'link', 'set', 'eth0', 'address', victim.mac);
    expect(await landed(attacker, [frame(victim.ipv4), frame(ELSEWHERE), frame(attacker.ipv4, victim.mac)], 30)).toBe(
      0,
    );
  });

  it.each<[string, string[], { isNameKept: boolean; isStopped: boolean }]>([
    ['the index of its interface, and the netlink events were lost', [], { isNameKept: false, isStopped: true }],
    ['also its name, and they were lost', [], { isNameKept: true, isStopped: true }],
    ['name and index, while no collector ran', [], { isNameKept: true, isStopped: false }],
    ['the same under clsact', ['--hook', 'clsact'], { isNameKept: true, isStopped: false }],
  ])(
    'another pod without a record got %s: it is found by its own namespace',
    async (_, args, { isNameKept, isStopped }) => {
      const collector = await start(args);
      await node.putPods(1);
      await node.waitForState(attacker, 'programmed');
      const ifindex = (await rowOf(attacker))?.ifindex;
      if (isStopped) collector.kill('SIGSTOP');
      else await node.killCollector();
      if (isStopped) {
        // More than the receive buffer of the collector holds.
        const lines = Array.from(
          { length: 9_000 },
          (_, i) => `link set ${attacker.hostInterface} mtu ${1_400 + (i % 2)}`,
        );
        await exec('ip', ['-n', node.netns, '-batch', '-'], { input: `${lines.join('\n')}\n` });
      }
      await node.removePod(attacker);
      await process[Symbol.asyncDispose]();
      const pod = await node.addPod({ cni: false });
      await node.renameHostSide(pod, isNameKept ? attacker.hostInterface : pod.hostInterface, ifindex);
      process = await node.runInPod(pod);
      await node.putPods(2, (pods) =>
        pods.splice(
          pods.findIndex(({ uid }) => uid === attacker.uid),
          1,
        ),
      );
      if (isStopped) collector.kill('SIGCONT');
      else await start(args);
      await waitFor(async () => (await rowOf(pod))?.addresses.includes(pod.ipv4), {
        what: `${pod.hostInterface} to be ${pod.name}’s`,
        state: async () => [await node.nodeStatus(), node.log.slice(-3_000)],
      });
      expect((await rowOf(pod))?.ifindex).toBe(ifindex);
      const own = udpFrame({ sourceMac: pod.mac, source: pod.ipv4, destination: GATEWAY });
      const forged = udpFrame({ sourceMac: pod.mac, source: victim.ipv4, destination: GATEWAY });
      await waitFor(async () => (await landed(pod, [own], 20)) === 20, { what: 'its own packets to land' });
      expect(await landed(pod, [forged], 20)).toBe(0);
      await counted({ podUid: pod.uid, vector: 'ipv4-source', action: 'drop' }, 20);
    },
  );

  it('a pod whose programs were removed - keeps its identity; a later link of the pod has its own MAC', async () => {
    const args = ['--hook', 'clsact'];
    await start(args);
    await node.putPods(1);
    await node.waitForState(attacker, 'programmed');
    const before = await rowOf(attacker);
    await exec('tc', ['-n', node.netns, 'qdisc', 'del', 'dev', attacker.hostInterface, 'clsact']);
    const isRestored = async () => (await rowOf(attacker))?.place === 'head';
    await waitFor(isRestored, { what: 'the programs to be restored' });
    expect(await landed(attacker, [frame(victim.ipv4)], 20)).toBe(0);
    expect(await landed(attacker, [frame(attacker.ipv4)], 20)).toBe(20);
    expect((await rowOf(attacker))?.generation).toBe(before?.generation);

    await node.killCollector();
    attacker.mac = '0a:58:0a:f4:77:01';
    await node.renameHostSide(attacker, attacker.hostInterface, before?.ifindex);
    await start(args);
    await waitFor(async () => (await rowOf(attacker))?.mac === attacker.mac, { what: 'the MAC of the later link' });
    expect(await landed(attacker, [frame(attacker.ipv4)], 20)).toBe(20);
    expect(await landed(attacker, [frame(attacker.ipv4, before?.mac)], 20), 'nor its earlier MAC').toBe(0);
  });

  it('control: an honest pod - its own packets pass and forged ones do not, as soon as the bus lists it', async () => {
    await start();
    await unlisted();
    await node.putPods(1);
    await node.waitForState(attacker, 'programmed');
    expect(await landed(attacker, [frame(attacker.ipv4)], 20)).toBe(20);
    expect(await landed(attacker, [frame(victim.ipv4)], 20)).toBe(0);
    expect(await landed(attacker, [frame(attacker.ipv4, victim.mac)], 20)).toBe(0);
    expect(node.ledger.violations('identity-mismatch')).toEqual([]);
  });
});
