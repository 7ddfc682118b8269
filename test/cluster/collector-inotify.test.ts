// inotify is counted per user of the node: a pod whose processes run as the collector's user can
// use it up. A collector that starts then finds CNI records by polling, says so, and returns to
// inotify. All processes of this test run as a user of their own, to leave root's share alone.
import { chmodSync } from 'node:fs';
import { openBucket } from '@bailiff/bus';
import { exec, netnsPath } from '@bailiff/lab/node';
import type { NodeStatus } from '@bailiff/schemas';
import { waitFor } from '@bailiff/service/testing';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { NODE, TestNode, type TestPod } from '../support/node.ts';
import { launch } from '../support/process.ts';
import { udpFrame } from '../support/udp-frame.ts';

const USER = '54321';
const CAPABILITIES = ['bpf', 'perfmon', 'net_admin', 'dac_override'].map((name) => `+${name}`).join(',');
const AS_USER = ['setpriv', `--reuid=${USER}`, `--regid=${USER}`, '--clear-groups'];

/** Opens inotify instances until the kernel refuses, and keeps them. Prints the reason. */
const USE_UP = `
import ctypes, os, sys
libc = ctypes.CDLL(None, use_errno=True)
while libc.inotify_init1(0) >= 0: pass
print(os.strerror(ctypes.get_errno()), flush=True)
sys.stdin.read()`;

const spoofed = (pod: TestPod) => udpFrame({ sourceMac: pod.mac, source: '10.244.0.66', destination: '10.244.0.1' });

describe('collector without inotify', () => {
  let node: TestNode;
  beforeEach(async () => {
    node = await TestNode.start();
    // access(2) ignores capabilities of a user other than root.
    chmodSync(node.dir, 0o755);
    node.wrap = [...AS_USER, `--inh-caps=-all,${CAPABILITIES}`, `--ambient-caps=-all,${CAPABILITIES}`, '--'];
  });
  afterEach(async () => node[Symbol.asyncDispose]());

  /** A pod of the node uses up the instances of its user. */
  const attack = async (pod: TestPod) => {
    const program = ['/usr/bin/python3', '-c', USE_UP];
    const attacker = launch('nsenter', [`--net=${netnsPath(pod.netns)}`, ...AS_USER, '--', ...program], {
      stdio: ['pipe', 'pipe', 'pipe'],
    });
    await attacker.printed('Too many open files');
    return attacker;
  };
  /** How a process of the user watches a directory. */
  const watched = async () =>
    exec('setpriv', [
      ...AS_USER.slice(1),
      ...['--', process.execPath, '-e'],
      `try { require('fs').watch('/'); console.log('watched'); } catch (error) { console.log(error.code); } process.exit(0)`,
    ]);
  const inotify = () => node.metric('bailiff_collector_feature_available{feature="inotify"}');
  const reported = async () => {
    const entry = await openBucket(node.admin, 'bailiff_nodes').get(NODE);
    const { features } = JSON.parse(new TextDecoder().decode(entry?.value)) as NodeStatus;
    return features.find(({ name }) => name === 'inotify');
  };

  it('control - with inotify, records are read on their events, and status has the feature', async () => {
    expect(await watched()).toContain('watched');
    const before = await node.addPod();
    await node.startCollector({ args: ['--status-interval-ms', '500'] });
    const later = await node.addPod();
    for (const pod of [before, later]) await node.waitForState(pod, 'provisional');
    expect(await inotify()).toBe(1);
    await waitFor(reported, { until: (feature) => feature?.available === true });
  });

  it('a collector that starts while it is used up reads present and new records, without the bus', async () => {
    const before = await node.addPod();
    await using attacker = await attack(before);
    expect(await watched()).toContain('EMFILE');
    await node.startCollector({ args: ['--status-interval-ms', '500'] });
    // No list names these pods: only their records bind them.
    await node.waitForState(before, 'provisional');
    const later = await node.addPod();
    await node.waitForState(later, 'provisional');
    for (const pod of [before, later]) {
      await node.send(pod, [spoofed(pod)], 10);
      await waitFor(() => node.ledger.packets({ podUid: pod.uid, action: 'drop' }) === 10);
    }
    expect(await inotify()).toBe(0);
    await waitFor(reported, { until: (feature) => feature?.available === false && feature.reason === 'EMFILE' });

    await attacker.kill();
    await waitFor(async () => (await inotify()) === 1, { what: 'inotify to be used again' });
    const last = await node.addPod();
    await node.waitForState(last, 'provisional');
  });
});
