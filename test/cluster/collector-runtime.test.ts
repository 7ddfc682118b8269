// If the runtime engine cannot run, the network guard still does. The node's status reports what is
// not enforced, why, and the remedy. test/lsm/collector.test.ts tests the runtime engine in the
// virtual machine.
import { mkdirSync, rmdirSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { probeLsm } from '@bailiff/bpf';
import { openBucket } from '@bailiff/bus';
import { cgroup2Mount } from '@bailiff/lab/node';
import type { NodeStatus } from '@bailiff/schemas';
import { waitFor } from '@bailiff/service/testing';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { TestNode, type TestPod } from '../support/node.ts';
import { udpFrame } from '../support/udp-frame.ts';

const KEY = 'runtime.cluster._.no-shell';
const lsm = probeLsm();
const spoofed = (pod: TestPod) => udpFrame({ sourceMac: pod.mac, source: '10.244.0.66', destination: '10.244.0.1' });

describe('collector - without a runtime engine', () => {
  let node: TestNode;
  beforeEach(async () => {
    node = await TestNode.start();
  });
  afterEach(async () => node[Symbol.asyncDispose]());

  const runtime = async (holds: (status: NonNullable<NodeStatus['runtime']>) => boolean) => {
    const found = await waitFor(
      async () => {
        const status = (await node.nodeStatus())?.runtime;
        return status && holds(status) ? status : null;
      },
      { what: 'a status of the runtime engine', state: () => node.log.slice(-2000) },
    );
    return found;
  };
  const putPolicy = () => openBucket(node.admin, 'bailiff_config').put(KEY, JSON.stringify({ revision: 3 }));
  const dropsSpoofed = async () => {
    const pod = await node.addPod();
    await node.waitForState(pod, 'provisional');
    await node.send(pod, [spoofed(pod)], 10);
    await waitFor(() => node.ledger.packets({ podUid: pod.uid, action: 'drop' }) === 10, { what: '10 packets' });
  };

  it('a kernel that refuses LSM programs - unavailable, with reason and remedy', async (context) => {
    context.skip(
      lsm.available,
      'optional: this kernel loads them; what it does then is tested in test/lsm/collector.test.ts',
    );
    const root = ['--cgroup-root', cgroup2Mount(), '--status-interval-ms', '250'];
    await node.startCollector({ args: root });
    const status = await runtime(({ state }) => state === 'unavailable');
    expect(status.reason).toContain(lsm.errnoName);
    expect(status.remedy).not.toBe('');
    await putPolicy();
    const { policies } = await runtime((reported) => reported.policies.length > 0);
    expect(policies).toEqual([{ key: KEY, revision: 3, state: 'refused', reason: status.reason, subjects: 0 }]);
    await dropsSpoofed();
  });

  it('an operator allows programs again while a pin of the guards cannot be read - operations start all the same', async () => {
    await node.startCollector({ args: ['--status-interval-ms', '250'] });
    await runtime(({ state }) => state === 'unsupported');
    const marker = path.join(node.stateDir, 'detached');
    writeFileSync(marker, '');
    await runtime(({ state, reason }) => state === 'off' && reason.includes('detached by an operator'));
    const unreadable = path.join(node.pinDir, 'links/link-1-1-in');
    mkdirSync(unreadable);
    rmSync(marker);
    await runtime(({ state }) => state === 'unsupported');
    // Its log arrives by another way than its status.
    const doGuardsFail = () => /"part":"guard".*link-1-1-in/.test(node.log);
    await waitFor(doGuardsFail, { what: 'control: the guards fail', state: () => node.log });
    rmdirSync(unreadable);
  });

  it('a node without cgroup v2 - unsupported: containers cannot be distinguished', async () => {
    await node.startCollector({ args: ['--status-interval-ms', '250'] });
    const status = await runtime(({ state }) => state === 'unsupported');
    expect(status).toMatchObject({
      reason: expect.stringContaining('not of cgroup v2'),
      missingHooks: [],
      subjects: 0,
    });
    await dropsSpoofed();
  });

  it('disabled - off, and nothing is loaded', async () => {
    const args = ['--runtime', 'off', '--cgroup-root', cgroup2Mount(), '--status-interval-ms', '250'];
    await node.startCollector({ args });
    expect((await runtime(({ state }) => state === 'off')).reason).toContain('configuration');
    expect(await node.offlineStatus()).toMatchObject({ runtime: null });
  });
});
