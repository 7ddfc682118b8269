// Frames that skip the guard at the host side, on a node with a real collector: dropped at the pod's
// end where it has a program, and counted as unjudged where it has none.
import { readdirSync } from 'node:fs';
import path from 'node:path';
import { openPinnedMaps } from '@bailiff/bpf';
import { exec, netnsPath } from '@bailiff/lab/node';
import { waitFor } from '@bailiff/service/testing';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ensureProgram, POD_ENDS } from '../../cni/build.ts';
import { CniNode, forged, own } from '../support/cni-node.ts';
import { throughIfb } from '../support/ifb.ts';
import type { TestPod } from '../support/node.ts';
import { launch, type RunningProcess } from '../support/process.ts';

const FRAMES = 20;
const FEATURES = path.resolve(import.meta.dirname, '../kernel/harness/features.py');
const SEGMENTATION = [
  ...['tx-generic-segmentation', 'tx-tcp-segmentation', 'tx-tcp6-segmentation', 'tx-tcp-ecn-segmentation'],
  ...['tx-tcp-mangleid-segmentation', 'tx-tcp-accecn-segmentation'],
];
const PORT = 9_999;
const BYTES = 4 << 20;
const SINK = `require('node:net').createServer((socket) => socket.resume()).listen(${PORT}, () => console.log('listening'))`;
const SEND = `require('node:net').connect(${PORT}, '10.244.0.1').end(Buffer.alloc(${BYTES})).resume()`;

describe("collector - the pod's end", () => {
  let cni: CniNode;
  let podEnds: RunningProcess | null = null;
  beforeAll(async () => {
    cni = await CniNode.create();
    cni.writePrimary('bridge');
    await cni.start('closed', ['--pod-ends', 'on', '--sweep-interval-ms', '250', '--status-interval-ms', '250']);
  });
  afterAll(async () => {
    await podEnds?.kill();
    await cni?.[Symbol.asyncDispose]();
  });

  const inPod = (pod: TestPod, lines: readonly string[]) =>
    exec('nsenter', [`--net=${netnsPath(pod.netns)}`, 'sh', '-ec', lines.join('\n')]);
  const packets = (pod: TestPod, vector: string) =>
    [...cni.node.ledger.epochs.values()]
      .filter((violation) => violation.pod?.uid === pod.uid && violation.vector === vector)
      .reduce((sum, { cumulativePackets }) => sum + cumulativePackets, 0);
  /** Frames that the pod's ifb device has sent, also those of the pod's kernel. */
  const sentByIfb = async (pod: TestPod) => {
    const text = await exec('ip', ['-n', pod.netns, '-s', '-j', 'link', 'show', 'ifb9']);
    const [{ stats64 }] = JSON.parse(text) as [{ stats64: { tx: { packets: number } } }];
    return stats64.tx.packets;
  };
  /** Sends through the ifb device and waits until these vectors have all that it has sent. */
  const sendAndCount = async (pod: TestPod, vectors: readonly string[]) => {
    const before = await sentByIfb(pod);
    await cni.node.send(pod, [forged(pod), own(pod)], FRAMES);
    const looked = async () => {
      const counted = vectors.reduce((sum, vector) => sum + packets(pod, vector), 0);
      return { counted, sent: await sentByIfb(pod) };
    };
    await waitFor(looked, {
      what: `every frame of ${pod.name} that ifb sent as ${vectors.join(' or ')}`,
      until: ({ counted, sent }) => sent >= before + FRAMES && counted === sent,
      timeoutMs: 30_000,
      state: () => ({ epochs: [...cni.node.ledger.epochs.values()], log: cni.node.log.slice(-3_000) }),
    });
  };
  const statusOf = async (pod: TestPod) =>
    (await cni.node.nodeStatus())?.interfaces.find(({ interfaceName }) => interfaceName === pod.hostInterface);

  it('a pod that the CNI plugin started - its marked frames are dropped and counted, its own pass', async () => {
    const { pod } = await cni.add();
    await inPod(pod, throughIfb('eth0'));
    await sendAndCount(pod, ['guard-bypass']);
    expect(packets(pod, 'unjudged')).toBe(0);
  });

  it('without a program at its end - the frames pass, their exact number is published, and it is partial until bailiff-pod-ends runs', async () => {
    // By the primary's own list, as without the plugin.
    const { pod } = await cni.add(cni.list('10-lab.conflist'));
    await cni.node.waitForState(pod, 'provisional');
    await inPod(pod, throughIfb('eth0'));
    await sendAndCount(pod, ['unjudged']);
    expect([packets(pod, 'ipv4-source'), packets(pod, 'guard-bypass')]).toEqual([0, 0]);
    const shown = await waitFor(() => statusOf(pod), {
      what: 'the status of the interface',
      until: (row) => row?.coverage === 'partial' && (row.unjudgedFrames ?? 0) > 0,
      timeoutMs: 30_000,
    });
    expect(shown?.reason).toMatch(/no program at the pod's end/);

    // A collector that restarts continues the count.
    await cni.node.killCollector('SIGKILL');
    await cni.node.send(pod, [forged(pod)], FRAMES);
    await cni.node.startCollector({
      until: 'ready',
      args: cni.args('closed', ['--pod-ends', 'on', '--sweep-interval-ms', '250', '--status-interval-ms', '250']),
    });
    await sendAndCount(pod, ['unjudged']);

    podEnds = launch('nsenter', [
      ...[`--net=${netnsPath(cni.node.netns)}`, ensureProgram(POD_ENDS)],
      ...['--pins', cni.node.pinDir],
    ]);
    // A collector that has just started gives each interface some time without such a program.
    const pins = () => readdirSync(path.join(cni.node.pinDir, 'links'));
    await waitFor(() => statusOf(pod), {
      what: 'the interface to be guarded at both ends',
      until: (row) => row?.coverage === 'guarded' && pins().includes(`link-${row.ifindex}-${row.generation}-pod-end`),
    });
    const unjudged = packets(pod, 'unjudged');
    await sendAndCount(pod, ['unjudged', 'guard-bypass']);
    expect(packets(pod, 'guard-bypass')).toBeGreaterThanOrEqual(FRAMES);
    expect(packets(pod, 'unjudged') - unjudged).toBeLessThan(FRAMES);
  });

  it('a host side that merges frames after it has counted them - nothing is reported as unjudged, and status says that nothing is compared', async () => {
    const { pod } = await cni.add();
    const feature = (netns: string, device: string, ...wanted: string[]) =>
      exec('nsenter', [`--net=${netnsPath(netns)}`, 'python3', FEATURES, device, ...wanted]);
    // The host side merges only what no segmentation offload of the pod's end can have made.
    await feature(pod.netns, 'eth0', ...SEGMENTATION.map((name) => `${name}=off`));
    const isCompared = (wanted: boolean) =>
      waitFor(() => statusOf(pod), {
        what: `its frames to be ${wanted ? '' : 'not '}compared`,
        until: (row) => row !== undefined && (row.notCompared === undefined) === wanted,
      });
    await isCompared(true);
    await feature(cni.node.netns, pod.hostInterface, 'rx-gro=on');
    await using server = launch('nsenter', [`--net=${netnsPath(cni.node.netns)}`, process.execPath, '-e', SINK]);
    await server.printed('listening');
    await exec('nsenter', [`--net=${netnsPath(pod.netns)}`, process.execPath, '-e', SEND]);
    const link = await exec('ip', ['-n', cni.node.netns, '-s', '-j', 'link', 'show', pod.hostInterface]);
    const [{ ifindex, stats64 }] = JSON.parse(link) as [{ ifindex: number; stats64: { rx: { packets: number } } }];
    using pinned = openPinnedMaps(cni.node.pinDir);
    const judged = Number(pinned?.maps.seen(pinned.maps.ifaces.get(ifindex)?.slot ?? 0));
    expect(stats64.rx.packets - judged, 'control: frames were merged').toBeGreaterThan(100);
    expect((await isCompared(false))?.notCompared).toMatch(/^GRO of the host side/);
    const { updatedAt = '' } = (await cni.node.nodeStatus()) ?? {};
    await waitFor(() => cni.node.nodeStatus(), {
      what: 'several sweeps',
      until: (status) => Date.parse(status?.updatedAt ?? '') - Date.parse(updatedAt) > 2_000,
    });
    expect(packets(pod, 'unjudged')).toBe(0);
  });
});
