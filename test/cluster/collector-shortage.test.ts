// Pods that start while their collector restarts or has no spare descriptor: with the CNI plugin
// they wait, and without it their guard follows as soon as the shortage ends.
import type { ChildProcess } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { waitFor } from '@bailiff/service/testing';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { exec } from '../lab/src/process/exec.ts';
import { CniNode, forged } from '../support/cni-node.ts';
import type { TestPod } from '../support/node.ts';

/** Far below the slow timer, which compares all interfaces every 30 s. */
const SOON_MS = 15_000;

describe('a collector that cannot guard at this moment', () => {
  let cni: CniNode;
  beforeEach(async () => {
    cni = await CniNode.create();
    cni.writePrimary('ptp');
  });
  afterEach(async () => cni[Symbol.asyncDispose]());

  const passed = () => (existsSync(cni.at('run/cni-passed')) ? readFileSync(cni.at('run/cni-passed'), 'utf8') : '');
  /** Sends forged packets to the node. @returns how many its stack received */
  const landed = async (pod: TestPod, count: number) => {
    const link = await exec('ip', ['-n', cni.node.netns, '-o', 'link', 'show', 'dev', pod.hostInterface]);
    const frame = forged(pod);
    Buffer.from(/link\/ether (\S+)/.exec(link)?.[1]?.replaceAll(':', '') ?? '', 'hex').copy(frame);
    const before = await cni.node.ipReceived();
    await cni.node.send(pod, [frame], count);
    return (await cni.node.ipReceived()) - before;
  };
  /** Limits the descriptors; those that are open stay. */
  const descriptors = ({ pid }: ChildProcess, limit: number) =>
    exec('prlimit', ['--pid', String(pid), `--nofile=${limit}:`]);
  const start = async (more: string[]) => {
    const collector = await cni.node.startCollector({ until: 'ready', args: cni.args('open', more) });
    await waitFor(() => existsSync(cni.at('net.d/0-bailiff.conflist')));
    return collector;
  };

  it('control - a pod that waits less than the restart takes starts without a guard, and its packets land', async () => {
    await start(['--cni-wait-ms', '200']);
    await cni.node.killCollector('SIGKILL');
    const { pod } = await cni.add();
    expect(passed()).toMatch(/^1 \d+ shop\/web-1 cannot connect/);
    expect(await landed(pod, 20)).toBeGreaterThanOrEqual(20);
  });

  it('a pod waits beyond the bound for a collector that was killed, and none of its first packets lands', async () => {
    const long = ['--cni-wait-ms', '200', '--cni-restart-wait-ms', '60000'];
    await start(long);
    await cni.node.killCollector('SIGKILL');
    const list = cni.list();
    const adding = cni.add(list);
    // A pod whose list has no second bound starts meanwhile: the first bound is over.
    const [primary, own] = list.plugins;
    await cni.add({ ...list, plugins: [primary ?? {}, { ...own, restartTimeoutMs: 1 }] } as typeof list);
    expect(passed()).toMatch(/^1 \d+ shop\/web-2 /);
    await cni.node.startCollector({ until: 'ready', args: cni.args('open', long) });
    const { pod } = await adding;
    expect(await landed(pod, 20)).toBe(0);
    await cni.isDropped(pod, 'programmed', 20);
    expect(passed()).toMatch(/^1 \d+ shop\/web-2 /);
  });

  it('control - without a spare descriptor and with a short wait, a pod starts without a guard', async () => {
    const collector = await start(['--cni-wait-ms', '200']);
    await descriptors(collector, 3);
    const { pod } = await cni.add();
    expect(passed()).toMatch(/^1 \d+ shop\/web-1 /);
    expect(await landed(pod, 20)).toBeGreaterThanOrEqual(20);
  });

  it('without a spare descriptor a pod waits, and starts behind its guard when there is one', async () => {
    const collector = await start(['--cni-wait-ms', '200', '--cni-restart-wait-ms', '60000']);
    await descriptors(collector, 3);
    const list = cni.list();
    const adding = cni.add(list);
    const [primary, own] = list.plugins;
    await cni.add({ ...list, plugins: [primary ?? {}, { ...own, restartTimeoutMs: 1 }] } as typeof list);
    await descriptors(collector, 1_024);
    const { pod } = await adding;
    expect(await landed(pod, 20)).toBe(0);
    await cni.isDropped(pod, 'programmed', 20);
    expect(passed()).toMatch(/^1 \d+ shop\/web-2 /);
  });

  it('an interface that appeared without a spare descriptor is guarded and bound soon after the limit is lifted', async () => {
    const collector = await start([]);
    const times: number[] = [];
    // The second one cannot be found by chance by the slow timer.
    for (const index of [1, 2]) {
      await descriptors(collector, 3);
      const { pod } = await cni.add(cni.list('10-lab.conflist'));
      await waitFor(() => new RegExp(`"subject":"${pod.hostInterface}".*EMFILE`).test(cni.node.log), {
        what: `a report of ${index}`,
        state: () => cni.node.log.slice(-3_000),
      });
      expect(await landed(pod, 20)).toBeGreaterThanOrEqual(20);
      await descriptors(collector, 1_024);
      const lifted = performance.now();
      await cni.node.waitForState(pod, 'provisional');
      times.push(performance.now() - lifted);
    }
    expect(times[1]).toBeLessThan(SOON_MS);
  });
});
