// State that a restarted collector adopts: from its files, from the kernel, with the bus
// unavailable, and from an operator's command.
import { once } from 'node:events';
import { mkdirSync, readdirSync, readFileSync, rmSync, unlinkSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { BpfMap, MAP_TYPE } from '@bailiff/bpf';
import { openBucket } from '@bailiff/bus';
import { exec } from '@bailiff/lab/node';
import { waitFor } from '@bailiff/service/testing';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { NODE, TestNode, type TestPod } from '../support/node.ts';
import { udpFrame } from '../support/udp-frame.ts';

const from = (pod: TestPod, source: string) => udpFrame({ sourceMac: pod.mac, source, destination: '10.244.0.1' });
const spoofed = (pod: TestPod) => from(pod, '10.244.0.66');

describe('collector restart', () => {
  let node: TestNode;
  beforeEach(async () => {
    node = await TestNode.start();
  });
  afterEach(async () => node[Symbol.asyncDispose]());

  const rowOf = async (pod: TestPod) => {
    const { interfaces } = await node.offlineStatus();
    const row = interfaces.find((i) => i.interfaceName === pod.hostInterface);
    if (!row) throw new Error(`no ${pod.hostInterface} among ${JSON.stringify(interfaces)}`);
    return row;
  };
  /** Of `count` packets from this source: the dropped and the audited ones. */
  const judged = async (pod: TestPod, source: string, count = 10) => {
    const before = await rowOf(pod);
    await node.send(pod, [from(pod, source)], count);
    const after = await rowOf(pod);
    return [after.droppedPackets - before.droppedPackets, after.auditedPackets - before.auditedPackets];
  };
  const restart = async (args: string[] = []) => {
    await node.killCollector();
    await node.startCollector({ until: 'guarding', args });
  };
  const quarantine = (pod: TestPod) =>
    openBucket(node.admin, 'bailiff_quarantine').put(
      NODE,
      JSON.stringify({
        nodeName: NODE,
        revision: 1,
        entries: [{ podUid: pod.uid, podNamespace: 'shop', podName: pod.name, verdictId: 'v', until: '', reason: 'x' }],
      }),
    );
  /**
   * A node with state that only the bus provides: [a quarantined pod, a pod with a granted prefix
   * and an audited vector].
   */
  const programmed = async (): Promise<[TestPod, TestPod]> => {
    const pods: [TestPod, TestPod] = [await node.addPod(), await node.addPod()];
    await node.startCollector();
    await node.putPods(1, (list) => {
      for (const pod of list) pod.allowedPrefixes = ['10.77.0.0/16'];
    });
    for (const pod of pods) await node.waitForState(pod, 'programmed');
    const config = openBucket(node.admin, 'bailiff_config');
    await config.put('spoof.namespace.shop.default', JSON.stringify({ modes: { 'ipv4-source': 'audit' } }));
    await quarantine(pods[0]);
    await waitFor(
      async () => {
        const isAudited = (await judged(pods[1], '10.244.0.66', 1))[1] === 1;
        return isAudited && (await rowOf(pods[0])).quarantined;
      },
      { what: 'quarantine and audit to be in force', intervalMs: 50 },
    );
    return pods;
  };
  const expectProgrammed = async ([bad, good]: [TestPod, TestPod]) => {
    expect(await rowOf(bad)).toMatchObject({ quarantined: true, state: 'programmed', place: 'head' });
    expect(await rowOf(good)).toMatchObject({ quarantined: false, state: 'programmed', place: 'head' });
    // At least: its kernel sends packets too, and none of a quarantined pod passes.
    expect((await judged(bad, bad.ipv4))[0]).toBeGreaterThanOrEqual(10);
    expect(await judged(good, '10.77.1.1')).toEqual([0, 0]);
    expect(await judged(good, '10.244.0.66')).toEqual([0, 10]);
  };

  it('with the bus unavailable, the last desired state stays in force; a granted packet is never dropped during the restart', async () => {
    const pods = await programmed();
    await expectProgrammed(pods);
    node.relay.setDown(true);
    const before = await rowOf(pods[1]);
    const sending = await node.startSending(pods[1], [from(pods[1], '10.77.1.1')], 1_000_000, 500);
    await restart();
    await restart();
    sending.stop();
    await sending.sent.catch(() => undefined);
    const after = await rowOf(pods[1]);
    expect([after.droppedPackets, after.auditedPackets]).toEqual([before.droppedPackets, before.auditedPackets]);
    await expectProgrammed(pods);
  });

  it('with the bus unavailable and no document kept, the kernel’s state stays in force', async () => {
    const pods = await programmed();
    node.relay.setDown(true);
    await node.killCollector();
    rmSync(path.join(node.stateDir, 'bus'), { recursive: true });
    await node.startCollector({ until: 'guarding' });
    await expectProgrammed(pods);
  });

  it('an interface that the configuration excludes loses its guard at the start, and has it again without the exclusion', async () => {
    const pods = [await node.addPod(), await node.addPod()] as [TestPod, TestPod];
    const [excluded, other] = pods;
    await node.startCollector();
    await node.putPods(1);
    for (const pod of pods) await node.waitForState(pod, 'programmed');
    expect(await judged(excluded, '10.244.0.66'), 'control').toEqual([10, 0]);
    const names = async () => (await node.offlineStatus()).interfaces.map((i) => i.interfaceName);
    const programs = (pod: TestPod) =>
      exec('nsenter', [`--net=/run/netns/${node.netns}`, 'bpftool', 'net', 'show', 'dev', pod.hostInterface]);
    expect(await programs(excluded)).toContain('spoof_ingress');
    await restart(['--exclude-interfaces', `^(lo|${excluded.hostInterface})$`]);
    expect(await programs(excluded)).not.toContain('spoof_ingress');
    expect(await programs(other)).toContain('spoof_ingress');
    expect(await judged(other, '10.244.0.66')).toEqual([10, 0]);
    await waitFor(async () => String(await names()) === other.hostInterface, {
      what: 'its last counts to be acknowledged',
    });
    await restart();
    await node.waitForState(excluded, 'programmed');
    expect(await judged(excluded, '10.244.0.66')).toEqual([10, 0]);
  });

  it('a deletion on the bus while no collector ran takes effect at the next start', async () => {
    const pods = await programmed();
    await node.killCollector();
    await openBucket(node.admin, 'bailiff_config').delete('spoof.namespace.shop.default');
    await node.startCollector();
    await waitFor(async () => (await judged(pods[1], '10.244.0.66', 1))[0] === 1, { what: 'the audit to end' });
    expect((await rowOf(pods[0])).quarantined).toBe(true);
  });

  it('all files lost - every generation keeps its identity, and removed pods are no obstacle', async () => {
    const pods: TestPod[] = [];
    await node.startCollector();
    for (let n = 0; n < 6; n += 1) pods.push(await node.addPod());
    await node.putPods(1);
    for (const pod of pods) await node.waitForState(pod, 'programmed');
    node.relay.setDown(true);
    for (const pod of pods) await node.send(pod, [spoofed(pod)], 3);
    for (const pod of pods.splice(0, 2)) await node.removePod(pod);
    const before = await node.offlineStatus();
    await node.killCollector();
    for (const dir of [node.stateDir, node.cniDir]) {
      rmSync(dir, { recursive: true });
      mkdirSync(dir);
    }
    for (let n = 0; n < 2; n += 1) await restart();
    const after = await node.offlineStatus();
    const brief = (status: typeof before) =>
      status.interfaces
        .filter((i) => i.state === 'programmed')
        .map(({ generation, addresses, place, mac }) => ({ generation, addresses, place, mac }));
    expect(brief(after)).toEqual(brief(before).filter((i) => brief(after).some((a) => a.generation === i.generation)));
    expect(brief(after)).toHaveLength(4);
    for (const pod of pods) await node.send(pod, [from(pod, pod.ipv4), spoofed(pod)], 10);
    expect((await node.offlineStatus()).interfaces.map((i) => i.droppedPackets)).toEqual([8, 8, 8, 8]);
  });

  it('programs that were detached while it was stopped are reattached', async () => {
    const pod = await node.addPod();
    await node.startCollector();
    await node.waitForState(pod, 'provisional');
    const { generation } = await rowOf(pod);
    await node.killCollector();
    const links = path.join(node.pinDir, 'links');
    for (const pin of readdirSync(links)) unlinkSync(path.join(links, pin));
    expect((await rowOf(pod)).place).toBe('missing');
    await node.startCollector({ until: 'guarding' });
    expect(await rowOf(pod)).toMatchObject({ place: 'head', generation, state: 'provisional' });
  });

  it('pods are added and removed with the bus unavailable - each is guarded, and each count is on the bus when it is back', async () => {
    node.relay.setDown(true);
    const args = ['--max-interfaces', '8'];
    await node.startCollector({ until: 'guarding', args });
    const gone: TestPod[] = [];
    for (let n = 0; n < 20; n += 1) {
      const pod = await node.addPod();
      await node.waitForState(pod, 'provisional');
      await node.send(pod, [spoofed(pod)], n + 1);
      await node.removePod(pod);
      gone.push(pod);
      await waitFor(async () => (await node.offlineStatus()).interfaces.length === 0, {
        what: 'the record to be removed',
      });
      if (n === 18) await restart(args);
    }
    node.relay.setDown(false);
    await waitFor(
      () => gone.every((pod, n) => node.ledger.packets({ podUid: pod.uid, vector: 'ipv4-source' }) === n + 1),
      {
        what: 'every count',
        timeoutMs: 30_000,
        state: () => ({
          reported: gone.map((pod) => node.ledger.packets({ podUid: pod.uid, vector: 'ipv4-source' })),
          problems: node.log.split('\n').filter((line) => /"part":"(counts|guard|binding|state)"/.test(line)),
          log: node.log.slice(-2_000),
        }),
      },
    );
    await waitFor(
      () => readdirSync(node.stateDir, { recursive: true }).every((f) => !/\d+-\d+\.json/.test(String(f))),
      {
        what: 'all final counts',
        state: () => readdirSync(node.stateDir, { recursive: true }),
      },
    );
  });

  it('detach --all is in effect until attach, for a running collector and a starting one; status shows it', async () => {
    const pod = await node.addPod();
    const args = ['--status-interval-ms', '250'];
    const collector = await node.startCollector({ args });
    await node.waitForState(pod, 'provisional');
    const state = ['--state-dir', node.stateDir];
    const landed = async () => {
      const before = await node.ipReceived();
      await node.send(pod, [spoofed(pod)], 100);
      return (await node.ipReceived()) - before;
    };
    const reportsDetached = () =>
      waitFor(
        async () => {
          const of = (await node.nodeStatus())?.interfaces.find((i) => i.interfaceName === pod.hostInterface);
          return of?.coverage === 'not-covered' && of.reason.includes('collector attach');
        },
        { what: 'status to report that it is detached', state: () => node.nodeStatus() },
      );
    expect(await landed()).toBeLessThan(100);
    await node.command(['detach', '--all', '--bpf-dir', node.pinDir, ...state]);
    await reportsDetached();
    expect(await landed()).toBeGreaterThanOrEqual(100);
    expect(collector.exitCode).toBeNull();
    await node.killCollector();
    await node.startCollector({ args });
    await reportsDetached();
    expect(await landed()).toBeGreaterThanOrEqual(100);
    expect(await node.command(['attach', '--bpf-dir', node.pinDir, ...state])).toContain('may attach again');
    await node.waitForState(pod, 'provisional');
    expect(await landed()).toBeLessThan(100);
    // Of 300 frames until then the second collector saw 100 pass. The first one judged or reported the others.
    const before = async () =>
      (await node.nodeStatus())?.interfaces.find((i) => i.interfaceName === pod.hostInterface)?.packetsBeforeGuard;
    const passed = await waitFor(before, { what: 'the packets before the guard' });
    expect(passed).toBeGreaterThanOrEqual(100);
    expect(passed).toBeLessThan(200);
  });

  it('attach under a running collector - the same process pins and attaches again; bindings and counts continue', async () => {
    const dirs = ['--bpf-dir', node.pinDir, '--state-dir', node.stateDir];
    const pod = await node.addPod();
    const args = ['--sweep-interval-ms', '250', '--status-interval-ms', '250'];
    const collector = await node.startCollector({ args });
    await node.waitForState(pod, 'provisional');
    const counted = (of: TestPod, packets: number) =>
      waitFor(() => node.ledger.packets({ podUid: of.uid }) === packets, {
        what: `${packets} packets of ${of.hostInterface}`,
        state: () => node.log.slice(-2_000),
      });
    await node.send(pod, [spoofed(pod)], 30);
    await counted(pod, 30);
    const { generation } = await rowOf(pod);
    await node.command(['detach', '--all', ...dirs]);
    const isDetached = async () => (await node.nodeStatus())?.interfaces[0]?.coverage === 'not-covered';
    await waitFor(isDetached, { what: 'the collector to know that it is detached' });
    const before = await node.ipReceived();
    await node.send(pod, [spoofed(pod)], 100);
    expect((await node.ipReceived()) - before, 'control: unguarded').toBeGreaterThanOrEqual(100);
    const late = await node.addPod();
    await node.command(['attach', ...dirs]);
    for (const one of [pod, late]) {
      await node.waitForState(one, 'provisional');
      expect(await judged(one, '10.244.0.66', 12)).toEqual([12, 0]);
    }
    await counted(pod, 42);
    await counted(late, 12);
    expect(collector.exitCode).toBeNull();
    expect((await rowOf(pod)).generation).toBe(generation);
    await restart(args);
    expect(await rowOf(pod)).toMatchObject({ generation, place: 'head', state: 'provisional' });
    await node.send(pod, [spoofed(pod)], 5);
    await counted(pod, 47);
    // What passed meanwhile is no fault of the guard, which several sweeps would have found by now.
    const reports = new Set<string>();
    const shown = async () => {
      const { interfaces = [], updatedAt = '' } = (await node.nodeStatus()) ?? {};
      reports.add(updatedAt);
      return interfaces.map(({ unjudgedFrames }) => unjudgedFrames ?? 0);
    };
    await waitFor(shown, { what: 'five reports of the new process', until: () => reports.size > 5 });
    expect(new Set(await shown())).toEqual(new Set([0]));
  });

  it('attach after a change of maxInterfaces - the process ends, because pinned maps cannot grow', async () => {
    const dirs = ['--bpf-dir', node.pinDir, '--state-dir', node.stateDir];
    const pod = await node.addPod();
    await node.startCollector({ args: ['--max-interfaces', '8'] });
    await node.waitForState(pod, 'provisional');
    const args = ['--max-interfaces', '16'];
    await node.killCollector();
    const collector = await node.startCollector({ args });
    await node.command(['detach', '--all', ...dirs]);
    await node.command(['attach', ...dirs]);
    await waitFor(() => collector.exitCode !== null, { what: 'the collector to end' });
    await node.startCollector({ args });
    await node.waitForState(pod, 'provisional');
    expect(await judged(pod, '10.244.0.66')).toEqual([10, 0]);
  });

  it('the time to a guard - none for interfaces older than the start; for a new one until its programs are attached', async () => {
    const state = ['--bpf-dir', node.pinDir, '--state-dir', node.stateDir];
    const args = ['--status-interval-ms', '250'];
    const timed = async () => ({
      count: await node.metric('bailiff_collector_guard_seconds_count'),
      seconds: await node.metric('bailiff_collector_guard_seconds_sum'),
    });
    const gapOf = (pod: TestPod) =>
      waitFor(() => node.ledger.frames.flatMap((f) => f.coverage).find((g) => g.interfaceName === pod.hostInterface), {
        what: `the unguarded packets of ${pod.hostInterface} to be published`,
        state: () => node.log.slice(-2_000),
      });
    const first = await node.addPod();
    await node.startCollector({ args });
    await node.waitForState(first, 'provisional');
    expect((await gapOf(first)).appearedToGuardedMicros).toBe(-1);
    await node.killCollector();
    await node.startCollector({ args });
    expect(await timed(), 'there before, guarded at start and adopted').toEqual({ count: 0, seconds: 0 });
    const second = await node.addPod();
    await node.waitForState(second, 'provisional');
    const { count, seconds } = await timed();
    expect(count, 'control: a new one').toBe(1);
    expect((await gapOf(second)).appearedToGuardedMicros).toBe(Math.round(seconds * 1e6));

    await node.killCollector();
    await node.command(['detach', '--all', ...state]);
    await node.startCollector({ args });
    const began = performance.now();
    const third = await node.addPod();
    await waitFor(async () => (await rowOf(third)).state === 'provisional', { what: 'it to be known' });
    await node.send(third, [spoofed(third)], 7);
    expect(await timed(), 'not guarded').toEqual({ count: 0, seconds: 0 });
    await node.command(['attach', ...state]);
    await node.waitForState(third, 'provisional');
    const gap = await gapOf(third);
    const waited = await timed();
    expect([waited.count, Math.round(waited.seconds * 1e6)]).toEqual([1, gap.appearedToGuardedMicros]);
    expect(waited.seconds).toBeLessThan((performance.now() - began) / 1_000);
    expect(gap.packetsBeforeGuard).toBeGreaterThanOrEqual(7);
    expect(await judged(third, '10.244.0.66')).toEqual([10, 0]);
    expect(node.ledger.packets({ podUid: third.uid, vector: 'unknown-interface' })).toBe(0);
  });

  it('a kill between the binding and the count of unguarded packets - the next start counts those before the binding', async () => {
    await node.startCollector();
    const pod = await node.addPod({ cni: false });
    await node.waitForState(pod, 'unknown');
    await node.send(pod, [from(pod, pod.ipv4)], 57);
    await node.writeCni(pod);
    const gaps = () => node.ledger.frames.flatMap((frame) => frame.coverage);
    await waitFor(() => gaps().length === 1, { what: 'the unguarded packets', state: () => node.log.slice(-2_000) });
    await node.killCollector();
    // The file as the binding writes it, before the packets are counted.
    const [file = ''] = readdirSync(node.stateDir, { recursive: true }).filter((f) => /\/\d+-\d+\.json$/.test(`${f}`));
    const at = path.join(node.stateDir, String(file));
    const bound = { ...JSON.parse(readFileSync(at, 'utf8')), packetsBeforeGuard: -1, gapReported: false };
    writeFileSync(at, JSON.stringify(bound));
    await node.send(pod, [from(pod, pod.ipv4)], 5);
    await node.startCollector();
    await waitFor(() => gaps().length === 2, { what: 'the same of the next process', state: () => gaps() });
    // And what the kernel of the pod sends.
    for (const gap of gaps()) expect(gap.packetsBeforeGuard).toBeGreaterThanOrEqual(57);
  });

  it('programs that are detached while it runs are reattached within seconds', async () => {
    const pod = await node.addPod();
    const collector = await node.startCollector();
    await node.waitForState(pod, 'provisional');
    const links = path.join(node.pinDir, 'links');
    const stands = () => /^State:\s+T/m.test(readFileSync(`/proc/${collector.pid}/status`, 'utf8'));
    const takeOff: [string, (pin: string) => unknown][] = [
      ['link detached', (pin) => exec('bpftool', ['link', 'detach', 'pinned', pin])],
      ['pin removed', (pin) => unlinkSync(pin)],
    ];
    for (const [what, by] of takeOff) {
      // The collector checks every two seconds. It is stopped until the test has seen the detached
      // programs.
      collector.kill('SIGSTOP');
      await waitFor(stands, { what: 'it to be stopped' });
      for (const pin of readdirSync(links)) await by(path.join(links, pin));
      expect((await rowOf(pod)).place).toBe('missing');
      collector.kill('SIGCONT');
      await waitFor(async () => (await rowOf(pod)).place === 'head', {
        what: `the program to be reattached after: ${what}`,
        timeoutMs: 15_000,
      });
    }
    const before = await rowOf(pod);
    await node.send(pod, [spoofed(pod)], 10);
    expect((await rowOf(pod)).droppedPackets - before.droppedPackets).toBe(10);
  });

  it('an interface that found the maps full is guarded as soon as another is removed', async () => {
    await node.startCollector({ args: ['--max-interfaces', '8', '--status-interval-ms', '250'] });
    const pods: TestPod[] = [];
    for (let n = 0; n < 9; n += 1) pods.push(await node.addPod());
    const last = pods.at(-1) as TestPod;
    await waitFor(
      async () => (await node.nodeStatus())?.interfaces.some((i) => i.reason.includes('raise maxInterfaces')),
      { what: 'the refusal in status' },
    );
    expect((await node.offlineStatus()).interfaces).toHaveLength(8);
    await node.removePod(pods[0] as TestPod);
    await waitFor(async () => (await node.offlineStatus()).interfaces.some((i) => i.mac === last.mac), {
      what: 'the waiting one to be guarded',
      timeoutMs: 15_000,
      state: () => node.offlineStatus(),
    });
    await node.send(last, [spoofed(last)], 10);
    await waitFor(() => node.ledger.packets({ podUid: last.uid, action: 'drop' }) === 10, { what: 'its count' });
  });

  it('only the counters pin lost - a new epoch counts from zero, and no total decreases or counts twice', async () => {
    const pod = await node.addPod();
    const drops = (n: number) =>
      waitFor(() => node.ledger.packets({ podUid: pod.uid, vector: 'ipv4-source', action: 'drop' }) === n, {
        what: `${n} packets`,
        state: () => [[...node.ledger.epochs.keys()], node.log.slice(-2_000)],
      });
    await node.startCollector();
    await node.putPods(1, (list) => {
      for (const one of list) one.allowedPrefixes = ['10.77.0.0/16'];
    });
    await node.waitForState(pod, 'programmed');
    await node.send(pod, [spoofed(pod)], 30);
    await drops(30);
    const before = await rowOf(pod);
    await node.killCollector();
    unlinkSync(path.join(node.pinDir, 'maps', 'counters'));
    const collector = await node.startCollector();
    expect(node.log).toContain('counting restarts as generation');
    const after = await rowOf(pod);
    expect(after).toMatchObject({ state: 'programmed', place: 'head', addresses: before.addresses });
    expect(after.generation).not.toBe(before.generation);
    await node.send(pod, [spoofed(pod)], 7);
    await drops(37);
    expect((await judged(pod, '10.77.1.1'))[0]).toBe(0);
    expect(collector.exitCode).toBeNull();
    await restart();
    expect((await rowOf(pod)).generation).toBe(after.generation);
    await node.send(pod, [spoofed(pod)], 5);
    await drops(42);
  });

  it('acknowledgements of another version - recreated; their counts are published again, which changes no total', async () => {
    const pod = await node.addPod();
    await node.startCollector();
    await node.waitForState(pod, 'provisional');
    await node.send(pod, [spoofed(pod)], 30);
    await waitFor(() => node.ledger.packets({ podUid: pod.uid }) === 30, { what: '30 packets' });
    await node.killCollector();
    const pin = path.join(node.pinDir, 'maps', 'acked');
    unlinkSync(pin);
    {
      using other = BpfMap.create({ type: MAP_TYPE.hash, keySizeBytes: 8, valueSizeBytes: 16, maxEntries: 64 });
      other.set(Buffer.alloc(8), Buffer.alloc(16));
      other.pin(pin);
    }
    await node.startCollector();
    expect(node.log).toContain('has values of 16 bytes');
    await node.send(pod, [spoofed(pod)], 5);
    await waitFor(() => node.ledger.packets() === 35, { what: '35 packets', state: () => node.log.slice(-2_000) });
    expect((await rowOf(pod)).place).toBe('head');
  });

  it('a second collector on the same pins is refused with 6 and changes nothing; a killed one is no obstacle', async () => {
    const pod = await node.addPod();
    const first = await node.startCollector();
    await node.waitForState(pod, 'provisional');
    const before = await rowOf(pod);
    const second = node.spawnCollector(['--state-dir', path.join(node.dir, 'other-state')]);
    // Not `exit`: the last output may arrive after it.
    await once(second, 'close');
    expect([second.exitCode, first.exitCode]).toEqual([6, null]);
    expect(node.log).toContain('another collector guards with');
    expect(await rowOf(pod)).toEqual(before);
    await node.killCollector('SIGKILL', first);
    await node.startCollector({ until: 'guarding' });
    expect(await rowOf(pod)).toMatchObject({ place: 'head', generation: before.generation });
  });

  it('detach --all with a wrong state directory still takes effect', async () => {
    const pod = await node.addPod();
    const args = ['--status-interval-ms', '250'];
    const collector = await node.startCollector({ args });
    await node.waitForState(pod, 'provisional');
    const dirs = ['--bpf-dir', node.pinDir, '--state-dir', path.join(node.dir, 'elsewhere')];
    await node.command(['detach', '--all', ...dirs]);
    await waitFor(async () => (await node.nodeStatus())?.interfaces[0]?.reason.includes('detached by an operator'), {
      what: 'status to report that it is detached',
      state: () => node.nodeStatus(),
    });
    expect(collector.exitCode).toBeNull();
    await node.killCollector();
    await node.startCollector({ args });
    expect(await rowOf(pod)).toMatchObject({ place: 'missing' });
    await node.command(['attach', ...dirs]);
    await node.waitForState(pod, 'provisional');
  });

  it('removed pins - end the process, so that the next one recreates them', async () => {
    const pod = await node.addPod();
    const collector = await node.startCollector({ args: ['--status-interval-ms', '250'] });
    await node.waitForState(pod, 'provisional');
    rmSync(node.pinDir, { recursive: true });
    await waitFor(() => collector.exitCode !== null, { what: 'the collector to end' });
    expect(collector.exitCode).not.toBe(0);
    await node.startCollector();
    await node.waitForState(pod, 'provisional');
  });
});
