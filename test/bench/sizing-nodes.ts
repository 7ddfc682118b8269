/**
 * The halves of collectors that talk to the bus, many in one process: two connections per node, the
 * documents of the node, its status, and frames of one flooding pod on some nodes. Runs
 * until it is killed. Its argument is a JSON file with `NodesPlan`. Prints `connected` when every node has its documents.
 */
import { readFileSync } from 'node:fs';
import { connectBus, encodeToken, FramePublisher, openBucket, userOf, violationSubject } from '@bailiff/bus';
import { packetSample, podRef, SimCollector } from '@bailiff/correlation/testing';
import { encodeViolationFrame } from '@bailiff/schemas';
import { BusDocuments } from '../../apps/collector/src/desired/bus-documents.ts';
import { healthyStatus } from '../cluster/cli/world.ts';

export interface NodesPlan {
  url: string;
  nodes: readonly { name: string; pods: readonly { uid: string; name: string }[]; isAttacked: boolean }[];
}

/** The default of the collector. */
const STATUS_MS = 10_000;
/** Measured in a flood of one pod (docs/benchmarks.md): 63 frames in 14.3 s, one violation in each. */
const FRAME_MS = 227;
/** Packets of a flood in that time. */
const PACKETS = 80_000;
/** Logins at the same time. */
const AT_ONCE = 20;

const plan = JSON.parse(readFileSync(process.argv[2] as string, 'utf8')) as NodesPlan;
const fail = (error: unknown) => {
  console.error(error);
  process.exit(1);
};

async function startNode({ name, pods, isAttacked }: NodesPlan['nodes'][number], index: number): Promise<void> {
  const connect = (role: 'collector' | 'push') =>
    connectBus({
      servers: [plan.url],
      name: `${role} ${name}`,
      waitForServer: true,
      user: userOf({ role, node: name }),
      password: `password-of-${userOf({ role: 'collector', node: name })}`,
    });
  const [reads, pushes] = await Promise.all([connect('collector'), connect('push')]);
  await new Promise<void>((resolve) => {
    new BusDocuments({ reads, pushes }, encodeToken(name), Date.now() * 1000, {
      onDocument: ({ what }) => (what === 'pods' ? resolve() : undefined),
      onRestart: () => undefined,
      onConfigSynced: () => undefined,
      onError: (_, error) => fail(error),
    });
  });
  const [one] = healthyStatus(name).interfaces;
  const interfaces = pods.map((pod, at) => ({ ...one, podUid: pod.uid, podName: pod.name, ifindex: 10 + at }));
  const status = openBucket(reads, 'bailiff_nodes');
  const report = () => status.put(encodeToken(name), JSON.stringify(healthyStatus(name, { interfaces } as object)));
  const phase = (every: number) => (every * (index % 97)) / 97;
  setTimeout(() => setInterval(() => report().catch(fail), STATUS_MS), phase(STATUS_MS));
  if (!isAttacked) return;
  const collector = new SimCollector(name);
  const publisher = new FramePublisher(reads);
  const [attacker] = pods as [(typeof pods)[number]];
  let sent = 0;
  const publish = async () => {
    sent += 1;
    const nowMicros = Date.now() * 1000;
    collector.spoof(podRef(attacker.name, { uid: attacker.uid }), PACKETS, {
      sample: packetSample({ observedAt: nowMicros, head: Buffer.alloc(60, 7) }),
    });
    const frame = collector.flush(nowMicros);
    if (frame)
      await publisher.publish(violationSubject(name, 'spoof'), encodeViolationFrame(frame), {
        msgId: `${name}-${sent}`,
      });
  };
  setTimeout(() => setInterval(() => publish().catch(fail), FRAME_MS), phase(FRAME_MS));
}

const waiting = [...plan.nodes.entries()];
await Promise.all(
  Array.from({ length: AT_ONCE }, async () => {
    for (let next = waiting.shift(); next; next = waiting.shift()) await startNode(next[1], next[0]);
  }),
).catch(fail);
console.log('connected');
