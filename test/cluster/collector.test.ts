// The collector as its own process on a node made of namespaces, with a real nats-server: what it
// guards and publishes, and the state after a kill or without the bus.
import { readFileSync } from 'node:fs';
import { deleteConfig, openBucket, violationSubject, writeConfig } from '@bailiff/bus';
import { SPOOF_CLUSTER_KEY } from '@bailiff/policy';
import { encodeViolationFrame, type ViolationFrame } from '@bailiff/schemas';
import { looksFor, waitFor } from '@bailiff/service/testing';
import { headers as createHeaders } from '@nats-io/nats-core';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { GATEWAY_MAC, NODE, TestNode, type TestPod } from '../support/node.ts';
import { udpFrame } from '../support/udp-frame.ts';

const spoofed = (pod: TestPod, source = '10.244.0.66') =>
  udpFrame({ sourceMac: pod.mac, source, destination: '10.244.0.1' });
const own = (pod: TestPod) => udpFrame({ sourceMac: pod.mac, source: pod.ipv4, destination: '10.244.0.1' });

describe('collector', () => {
  let node: TestNode;
  beforeEach(async () => {
    node = await TestNode.start();
  });
  afterEach(async () => node[Symbol.asyncDispose]());
  const counted = (by: Parameters<TestNode['ledger']['packets']>[0], n: number) =>
    waitFor(() => node.ledger.packets(by) === n, {
      what: `${n} packets on the bus`,
      state: () => ({
        epochs: [...node.ledger.epochs].map(([k, v]) => [k, v.cumulativePackets]),
        log: node.log.slice(-3000),
      }),
    });

  it('control - with nothing attached every spoofed packet arrives; guarded, none does and the pod’s own do', async () => {
    const pod = await node.addPod();
    await node.startCollector({ args: ['--observe-only'] });
    const landed = async (frame: Buffer) => {
      const before = await node.ipReceived();
      await node.send(pod, [frame], 40);
      return (await node.ipReceived()) - before;
    };
    expect(await landed(spoofed(pod))).toBeGreaterThanOrEqual(40);
    await node.killCollector();
    await node.startCollector();
    await node.waitForState(pod, 'provisional');
    expect(await landed(own(pod))).toBeGreaterThanOrEqual(40);
    expect(await landed(spoofed(pod))).toBe(0);
    await counted({ podUid: pod.uid, action: 'drop' }, 40);
  });

  it('a pod bound by its CNI record is enforced before the bus lists it, and programmed when it does', async () => {
    const pod = await node.addPod();
    await node.startCollector();
    await node.waitForState(pod, 'provisional');
    expect(await node.send(pod, [spoofed(pod), own(pod)], 20)).toBe(20);
    await counted({ podUid: pod.uid, vector: 'ipv4-source', action: 'drop' }, 10);
    await node.putPods(1);
    await node.waitForState(pod, 'programmed');
    await node.send(pod, [spoofed(pod, '10.9.9.9')], 5);
    await counted({ podUid: pod.uid, vector: 'ipv4-source', action: 'drop' }, 15);
    const last = node.ledger.violations('ipv4-source').at(-1);
    expect(last?.pod).toMatchObject({ uid: pod.uid, ownerKind: 'Deployment', ownerName: 'web', serviceAccount: 'web' });
    // The counters may be read between a packet's count and its sample: the next increment then has
    // the sample.
    const sampled = () => node.ledger.violations('ipv4-source').find((v) => v.sample?.claimedAddress === '10.9.9.9');
    await waitFor(
      async () => {
        if (!sampled()) await node.send(pod, [spoofed(pod, '10.9.9.9')], 1);
        return sampled() !== undefined;
      },
      { what: 'a sample of it', intervalMs: 50, state: () => node.ledger.violations('ipv4-source') },
    );
    expect(sampled()?.sample).toMatchObject({ expectedAddress: pod.ipv4, claimedMac: pod.mac });
  });

  it('initial mode audit - after the policy of the cluster is deleted, forged packets pass, and its status says so', async () => {
    const pod = await node.addPod();
    const note = { by: 'me', why: 'test' };
    await writeConfig(node.admin, SPOOF_CLUSTER_KEY, {}, note);
    await node.startCollector({ args: ['--initial-mode', 'audit'] });
    const passes = async () => {
      const before = await node.ipReceived();
      await node.send(pod, [spoofed(pod)], 5);
      return (await node.ipReceived()) - before >= 5;
    };
    await node.waitForState(pod, 'provisional');
    expect([await passes(), (await node.nodeStatus())?.initialMode]).toEqual([false, undefined]);
    await deleteConfig(node.admin, SPOOF_CLUSTER_KEY, note);
    await waitFor(passes, { what: 'a forged packet that passes', intervalMs: 100 });
    await waitFor(async () => (await node.nodeStatus())?.initialMode === 'audit', { what: 'the status' });
  });

  it('an interface that appears later is guarded on its event; its unguarded packets are published', async () => {
    await node.startCollector();
    const pod = await node.addPod({ cni: false });
    await node.waitForState(pod, 'unknown');
    await node.send(pod, [spoofed(pod)], 7);
    await node.writeCni(pod);
    await node.waitForState(pod, 'provisional');
    await waitFor(() => node.ledger.frames.some((f) => f.coverage.length > 0), {
      what: 'the unguarded packets to be published',
    });
    const gap = node.ledger.frames.flatMap((f) => f.coverage)[0];
    expect(gap?.interfaceName).toBe(pod.hostInterface);
    expect(gap?.packetsBeforeGuard).toBeGreaterThanOrEqual(7);
    const row = (await node.offlineStatus()).interfaces[0];
    expect(row).toMatchObject({ auditedPackets: 0, passedBeforeGuard: gap?.packetsBeforeGuard });
    expect(node.ledger.packets({ podUid: pod.uid })).toBe(0);
    await node.send(pod, [spoofed(pod)], 3);
    await counted({ podUid: pod.uid, action: 'drop' }, 3);
  });

  it('the counters of a removed interface are published as final and forgotten', async () => {
    const pod = await node.addPod();
    await node.startCollector();
    await node.waitForState(pod, 'provisional');
    await node.send(pod, [spoofed(pod)], 50);
    await node.removePod(pod);
    await counted({ podUid: pod.uid }, 50);
    await waitFor(async () => (await node.offlineStatus()).interfaces.length === 0, {
      what: 'the record to be removed',
    });
    const another = await node.addPod();
    await node.waitForState(another, 'provisional');
    await node.send(another, [spoofed(another)], 2);
    await counted({ podUid: another.uid }, 2);
    expect(node.ledger.packets({ podUid: pod.uid })).toBe(50);
  });

  it('without a CNI record the pod is found by the namespace of its oldest process, once the bus lists its addresses', async () => {
    const pod = await node.addPod({ cni: false });
    await using cgroup = await node.runInPod(pod);
    await node.startCollector({ args: ['--cgroup-root', cgroup.root] });
    await node.waitForState(pod, 'unknown');
    await node.putPods(1);
    await node.waitForState(pod, 'programmed');
    await node.send(pod, [spoofed(pod), own(pod)], 20);
    await counted({ podUid: pod.uid, vector: 'ipv4-source', action: 'drop' }, 10);
    expect(node.ledger.violations('identity-mismatch')).toEqual([]);
  });

  it('the bus contradicts the node: its addresses win, and the mismatch is a violation', async () => {
    const pod = await node.addPod();
    await node.startCollector();
    await node.waitForState(pod, 'provisional');
    await node.putPods(1, (pods) => {
      for (const p of pods) p.interfaces = [{ name: 'eth0', addresses: ['10.244.0.77'], mac: null }];
    });
    await node.waitForState(pod, 'programmed');
    await waitFor(() => node.ledger.violations('identity-mismatch').length > 0, { what: 'identity-mismatch' });
    await node.send(pod, [own(pod)], 4);
    await counted({ podUid: pod.uid, vector: 'ipv4-source' }, 4);
    await node.send(pod, [spoofed(pod, '10.244.0.77')], 4);
    await node.send(pod, [own(pod)], 1);
    await counted({ podUid: pod.uid, vector: 'ipv4-source' }, 5);
  });

  it('a list that is stored compressed is applied', async () => {
    const pod = await node.addPod();
    await node.startCollector();
    await node.waitForState(pod, 'provisional');
    await node.putPods(1, (pods) => {
      const [first] = pods as [(typeof pods)[number]];
      const others = Array.from({ length: 1_000 }, (_, i) => ({ ...first, uid: `other-${i}`, name: `other-${i}` }));
      pods.push(...others.map((other) => ({ ...other, interfaces: [] })));
    });
    expect((await openBucket(node.admin, 'bailiff_pods').get(NODE))?.value[0]).not.toBe(0x7b);
    await node.waitForState(pod, 'programmed');
    await node.send(pod, [own(pod), spoofed(pod)], 10);
    await counted({ podUid: pod.uid, vector: 'ipv4-source' }, 5);
  });

  it('a snapshot that is wrong about most interfaces is refused, and status shows it', async () => {
    const pods = [await node.addPod(), await node.addPod(), await node.addPod()];
    await node.startCollector({ args: ['--status-interval-ms', '250'] });
    for (const pod of pods) await node.waitForState(pod, 'provisional');
    await node.putPods(1, (list) => {
      for (const p of list) p.interfaces = [{ name: 'eth0', addresses: ['10.99.0.1'], mac: null }];
    });
    await waitFor(async () => (await node.nodeStatus())?.snapshotRefused.includes('3 of 3'), {
      what: 'the refusal in status',
      state: () => node.nodeStatus(),
    });
    const [pod] = pods as [TestPod];
    await node.send(pod, [own(pod), spoofed(pod)], 10);
    await counted({ podUid: pod.uid }, 5);
    await node.putPods(2);
    await node.waitForState(pod, 'programmed');
    await waitFor(async () => (await node.nodeStatus())?.snapshotRefused === '', { what: 'the refusal to clear' });
  });

  it('configuration from the bus: packets of an audited vector are counted and pass; a bad value keeps the last good one', async () => {
    const pod = await node.addPod();
    await node.startCollector({ args: ['--status-interval-ms', '250'] });
    await node.putPods(1);
    await node.waitForState(pod, 'programmed');
    const config = openBucket(node.admin, 'bailiff_config');
    await config.put('spoof.namespace.shop.default', JSON.stringify({ modes: { 'ipv4-source': 'audit' } }));
    let sent = 0;
    const looks = await looksFor(
      async () => {
        sent += await node.send(pod, [spoofed(pod)], 1);
        return node.ledger.packets({ podUid: pod.uid, action: 'audit' }) > 0;
      },
      { what: 'audit to be in force', intervalMs: 100 },
    );
    // Flush included. A bound of 5 s in probes, because a loaded machine delays probes as much as
    // the collector.
    expect(looks).toBeLessThan(50);
    await counted({ podUid: pod.uid, vector: 'ipv4-source' }, sent);
    await config.put('spoof.namespace.shop.default', '{"modes":{"ipv4-source":"drop"}}');
    await waitFor(
      async () => (await node.nodeStatus())?.configRefused.some((r) => r.reason.includes('modes.ipv4-source')),
      {
        what: 'the refused key in status',
        state: () => node.nodeStatus(),
      },
    );
    const reported = (action: string) => node.ledger.packets({ podUid: pod.uid, vector: 'ipv4-source', action });
    const [dropped, audited] = [reported('drop'), reported('audit')];
    const passed = await node.ipReceived();
    await node.send(pod, [spoofed(pod)], 40);
    await counted({ podUid: pod.uid, vector: 'ipv4-source', action: 'audit' }, audited + 40);
    expect(reported('drop')).toBe(dropped);
    expect((await node.ipReceived()) - passed).toBeGreaterThanOrEqual(40);
  });

  it('a quarantined pod sends and receives nothing, until its quarantine expires', async () => {
    const pod = await node.addPod();
    await node.startCollector();
    await node.putPods(1);
    await node.waitForState(pod, 'programmed');
    const toPod = udpFrame({
      sourceMac: GATEWAY_MAC,
      destinationMac: pod.mac,
      source: '10.244.0.1',
      destination: pod.ipv4,
    });
    /** Packets of 40 that arrived: from the pod at the node, and from the node at the pod. */
    const arrived = async (): Promise<{ sent: number; received: number }> => {
      const before = [await node.ipReceived(), await node.ipReceived(pod.netns)] as const;
      await node.send(pod, [own(pod)], 40);
      await node.sendTo(pod, [toPod], 40);
      const after = [await node.ipReceived(), await node.ipReceived(pod.netns)] as const;
      return { sent: after[0] - before[0], received: after[1] - before[1] };
    };
    const quarantine = (revision: number, until: Date) => {
      const entry = { podUid: pod.uid, podNamespace: 'shop', podName: pod.name, verdictId: 'v1', reason: 'test' };
      const entries = [{ ...entry, until: until.toISOString() }];
      return openBucket(node.admin, 'bailiff_quarantine').put(
        NODE,
        JSON.stringify({ nodeName: NODE, revision, entries }),
      );
    };
    const dropped = (vector: string) => node.ledger.packets({ podUid: pod.uid, vector, action: 'drop' });
    const control = await arrived();
    expect(control.sent).toBeGreaterThanOrEqual(40);
    expect(control.received).toBe(40);

    await quarantine(1, new Date(Date.now() + 3_600_000));
    let sent = 0;
    await waitFor(
      async () => {
        sent += await node.send(pod, [own(pod)], 1);
        await node.sendTo(pod, [toPod], 1);
        return dropped('quarantine-ingress') > 0 && dropped('quarantine-egress') > 0;
      },
      { what: 'quarantine to drop', intervalMs: 50 },
    );
    const isolated = await arrived();
    expect(isolated.sent).toBe(0);
    expect(isolated.received).toBe(0);
    await waitFor(() => dropped('quarantine-ingress') >= 40 && dropped('quarantine-egress') >= 40, {
      what: 'both counts',
      state: () => ['quarantine-ingress', 'quarantine-egress'].map(dropped),
    });
    // A packet that is dropped on its way to the pod is an error for its sender, which retries. So
    // only the other count has an upper limit, except for a few router solicitations of the pod's
    // own kernel. A count published twice would add 40.
    expect(dropped('quarantine-ingress')).toBeLessThanOrEqual(sent + 40 + 30);

    const until = new Date(Date.now() + 1_500);
    await quarantine(2, until);
    await waitFor(async () => (await arrived()).received === 40, { what: 'the quarantine to end', intervalMs: 100 });
    expect(Date.now()).toBeGreaterThanOrEqual(until.getTime());
    expect((await arrived()).sent).toBeGreaterThanOrEqual(40);
    await node.send(pod, [spoofed(pod)], 1);
    await counted({ podUid: pod.uid, vector: 'ipv4-source' }, 1);
  });

  it('SIGTERM: the last counts are on the bus, exit 0, and packets are still dropped', async () => {
    const pod = await node.addPod();
    await node.startCollector({ args: ['--flush-interval-ms', '5000'] });
    await node.waitForState(pod, 'provisional');
    await node.send(pod, [spoofed(pod)], 200);
    expect(await node.killCollector('SIGTERM')).toBe(0);
    await counted({ podUid: pod.uid }, 200);
    await node.send(pod, [spoofed(pod)], 30);
    expect((await node.offlineStatus()).interfaces[0]).toMatchObject({ droppedPackets: 230, place: 'head' });
    await node.startCollector();
    await counted({ podUid: pod.uid }, 230);
  });

  it('status and detach need no bus and no collector; afterwards packets pass', async () => {
    const pod = await node.addPod();
    await node.startCollector({ until: 'guarding' });
    await node.waitForState(pod, 'provisional');
    await node.killCollector();
    node.relay.setDown(true);
    expect(await node.command(['status', '--bpf-dir', node.pinDir, '--state-dir', node.stateDir])).toContain(
      pod.hostInterface,
    );
    await node.send(pod, [spoofed(pod)], 3);
    expect((await node.offlineStatus()).interfaces[0]?.droppedPackets).toBe(3);
    const dirs = ['--bpf-dir', node.pinDir, '--state-dir', node.stateDir];
    expect(await node.command(['detach', '--all', ...dirs])).toMatch(/removed 2 links, 3 programs, \d+ maps/);
    const before = await node.ipReceived();
    await node.send(pod, [spoofed(pod)], 40);
    expect((await node.ipReceived()) - before).toBeGreaterThanOrEqual(40);
    await expect(node.command(['status', ...dirs])).rejects.toThrow(/nothing is pinned.*detached by an operator/);
  });

  it('message ids that another identity guesses suppress no frame', async () => {
    const pod = await node.addPod();
    const bootId = readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();
    await node.startCollector();
    await node.waitForState(pod, 'provisional');
    await node.send(pod, [spoofed(pod)], 1);
    await counted({ podUid: pod.uid }, 1);
    const last = node.ledger.frames.at(-1) as ViolationFrame;
    const store = async (frameSequence: number) => {
      const headers = createHeaders();
      headers.set('Nats-Msg-Id', `${NODE}-${bootId}-${frameSequence}`);
      const frame = encodeViolationFrame({ ...last, frameSequence, violations: [], coverage: [] });
      return node.admin.js.publish(violationSubject(NODE, 'spoof'), frame, { headers });
    };
    for (let next = 1; next <= 3; next += 1) await store(last.frameSequence + next);
    // The control: the server drops a second message of such an id within its short window.
    const isDropped = async () => {
      await store(last.frameSequence + 1);
      return (await store(last.frameSequence + 1)).duplicate;
    };
    await waitFor(isDropped, { what: 'a duplicate' });
    await node.send(pod, [spoofed(pod)], 9);
    await counted({ podUid: pod.uid }, 10);
    expect(node.log).not.toContain('its counts are published again');
  });

  it('bus unavailable: packets are still dropped, and afterwards the counts are exact', async () => {
    const pod = await node.addPod();
    await node.startCollector();
    await node.waitForState(pod, 'provisional');
    await node.send(pod, [spoofed(pod)], 10);
    await counted({ podUid: pod.uid }, 10);
    await node.nats.kill();
    await node.send(pod, [spoofed(pod)], 5_000);
    await node.nats.restart();
    await counted({ podUid: pod.uid }, 5_010);
  });
});
