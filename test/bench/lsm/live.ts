/**
 * Runs in the virtual machine with a real collector and bus: time until a policy change is in force on a
 * running pod, and whether a flood of denied operations is counted exactly on the bus.
 */
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import type { RuntimePolicyInput } from '@bailiff/policy';
import { waitFor } from '@bailiff/service/testing';
import { CollectorNode, NodePod } from '../../lsm/harness/collector-node.ts';
import { compileProgram } from '../../vm/compile.ts';
import { cpuSeconds } from '../app-process.ts';

export interface LivePlan {
  readonly edits: number;
  readonly floodMs: number;
}

export interface LiveReport {
  /** From the put on the bus until the kernel map names the new set. */
  readonly inForceMs: readonly number[];
  readonly flood: {
    readonly seconds: number;
    /** Attempts; all were refused. */
    readonly tried: number;
    readonly onTheBus: number;
    readonly samples: number;
    readonly frames: number;
    /** CPU of the collector, as a share of one core. */
    readonly collectorCpu: number;
  };
}

const WAIT_MS = 120_000;
const VECTOR = 'bench/secret';

const policy = (revision: number): RuntimePolicyInput => ({
  mode: 'enforce',
  revision,
  message: `revision ${revision}`,
  rules: [
    { name: 'secret', action: 'block', file: { paths: ['/etc/secret'], operations: ['read'] } },
    // Another rule in each revision, so that each set is new.
    { name: 'other', action: 'block', file: { paths: [`/etc/other-${revision}`], operations: ['read'] } },
  ],
});

async function flood(node: CollectorNode, pod: NodePod, floodMs: number): Promise<LiveReport['flood']> {
  const framesBefore = node.ledger.frames.length;
  const running = pod.container.start(['/bin/hammer', '1', '/etc/secret']);
  await running.line('hammering');
  const [began, cpuBefore] = [performance.now(), cpuSeconds(node.collectorPid)];
  await new Promise((resolve) => setTimeout(resolve, floodMs));
  const [seconds, cpu] = [(performance.now() - began) / 1000, cpuSeconds(node.collectorPid) - cpuBefore];
  running.go();
  assert.equal(await running.exit(), 0, running.lines.join(' | '));
  const [, tried, refused] = /tried (\d+) refused (\d+) landed 0$/m.exec(running.lines.join('\n')) ?? [];
  assert.equal(tried, refused, running.lines.join(' | '));
  const onTheBus = () => node.ledger.packets({ vector: VECTOR });
  await waitFor(() => onTheBus() >= Number(tried), { what: `${tried} operations on the bus`, timeoutMs: WAIT_MS });
  const frames = node.ledger.frames.slice(framesBefore);
  const samples = frames.flatMap((frame) => frame.violations).filter(({ operation }) => operation !== null).length;
  return {
    seconds,
    tried: Number(tried),
    onTheBus: onTheBus(),
    samples,
    frames: frames.length,
    collectorCpu: cpu / seconds,
  };
}

export async function measureLive({ edits, floodMs }: LivePlan): Promise<LiveReport> {
  await using node = await CollectorNode.start();
  await node.startCollector();
  using pod = new NodePod('web-0');
  const hammer = path.join(import.meta.dirname, '../../lsm/programs/hammer.c');
  pod.container.install(compileProgram(hammer, { flags: ['-static'] }), '/bin/hammer');
  writeFileSync(pod.container.image('/etc/secret'), 'secret');
  await node.putPods(pod);
  await node.untilFlipped(pod, () => node.putPolicy('bench', policy(0)));
  const inForceMs: number[] = [];
  for (let revision = 1; revision <= edits; revision++)
    inForceMs.push(await node.untilFlipped(pod, () => node.putPolicy('bench', policy(revision))));
  return { inForceMs, flood: await flood(node, pod, floodMs) };
}
