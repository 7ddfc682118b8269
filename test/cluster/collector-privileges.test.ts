// The collector with exactly the capabilities of its manifest: it can guard, restart and detach.
// Each capability is needed. test/lsm tests the runtime engine, which needs SYS_PTRACE and SYSLOG, in
// the virtual machine with the same capabilities.

import { once } from 'node:events';
import { waitFor } from '@bailiff/service/testing';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { collectorCapabilities, confined } from '../k8s/confined.ts';
import { TestNode, type TestPod } from '../support/node.ts';
import { udpFrame } from '../support/udp-frame.ts';

const NETWORK_HALF = collectorCapabilities().filter((name) => !['SYS_PTRACE', 'SYSLOG'].includes(name));

const spoofed = (pod: TestPod) => udpFrame({ sourceMac: pod.mac, source: '10.244.0.66', destination: '10.244.0.1' });

describe('collector privileges', () => {
  let node: TestNode;
  beforeEach(async () => {
    node = await TestNode.start();
  });
  afterEach(async () => node[Symbol.asyncDispose]());
  const dropped = (pod: TestPod, count: number) =>
    waitFor(() => node.ledger.packets({ podUid: pod.uid, action: 'drop' }) === count, {
      what: `${count} dropped packets of ${pod.name}`,
      state: () => node.log.slice(-2000),
    });

  it('the capabilities of the manifest suffice: by record and by cgroup, across a kill, with both kinds of hook, to the end', async () => {
    node.wrap = confined(NETWORK_HALF);
    const recorded = await node.addPod();
    const bare = await node.addPod({ cni: false });
    await using process = await node.runInPod(bare);
    const args = ['--cgroup-root', process.root];
    await node.startCollector({ args });
    await node.putPods(1);
    for (const pod of [recorded, bare]) {
      await node.waitForState(pod, 'programmed');
      await node.send(pod, [spoofed(pod)], 10);
      await dropped(pod, 10);
    }
    await node.killCollector();
    await node.send(recorded, [spoofed(recorded)], 5);
    await node.startCollector({ args });
    await node.send(recorded, [spoofed(recorded)], 5);
    await dropped(recorded, 20);
    await node.killCollector('SIGTERM');
    expect(await node.command(['detach', '--all', '--bpf-dir', node.pinDir, '--state-dir', node.stateDir])).toMatch(
      /^removed 4 links/,
    );
  });

  it('the capabilities of the manifest suffice for clsact too', async () => {
    node.wrap = confined(NETWORK_HALF);
    const pod = await node.addPod();
    await node.startCollector({ args: ['--hook', 'clsact'] });
    await node.send(pod, [spoofed(pod)], 10);
    await dropped(pod, 10);
  });

  it.each(NETWORK_HALF)('without %s it does not start, and names the missing right', async (name) => {
    node.wrap = confined(NETWORK_HALF.filter((other) => other !== name));
    const child = node.spawnCollector();
    // Not `exit`: the last output may arrive after it.
    const [code] = await once(child, 'close');
    expect([code, node.log]).toEqual([4, expect.any(String)]);
    const [message = ''] = node.log.split('\n');
    expect(message).toMatch(/^collector: .*CAP_/);
    expect(message).toContain(`CAP_${name}`);
  });
});
