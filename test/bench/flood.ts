/** A flood from one pod: whether every packet is dropped and counted, and the CPU of the collector. */
import { waitFor } from '@bailiff/service/testing';
import { TestNode } from '../support/node.ts';
import { udpFrame } from '../support/udp-frame.ts';
import { cpuSeconds } from './app-process.ts';
import { fixed, type Section, thousands } from './report.ts';

const PACKETS = 5_000_000;
export async function bench(): Promise<Section> {
  await using node = await TestNode.start();
  const pod = await node.addPod();
  const collector = await node.startCollector();
  await node.waitForState(pod, 'provisional');
  const before = cpuSeconds(collector.pid as number);
  const began = performance.now();
  const landedBefore = await node.ipReceived();
  const frame = udpFrame({ sourceMac: pod.mac, source: '10.244.0.66', destination: '10.244.0.1' });
  const sent = await node.send(pod, [frame], PACKETS);
  const seconds = (performance.now() - began) / 1000;
  const cpu = (cpuSeconds(collector.pid as number) - before) / seconds;
  await waitFor(() => node.ledger.packets({ podUid: pod.uid }) >= sent, { what: 'the count', timeoutMs: 30_000 });
  const counted = node.ledger.packets({ podUid: pod.uid, action: 'drop' });
  const dropped = (await node.offlineStatus()).interfaces[0]?.droppedPackets ?? 0;
  const landed = (await node.ipReceived()) - landedBefore;
  return {
    title: 'A flood from one pod',
    method:
      "Spoofed packets as fast as the machine sends; a reader of the bus sums the counts. IP packets received by the node meanwhile can only be the collector's traffic with the bus.",
    header: [
      'sent',
      'packets/s',
      'dropped',
      'counted on the bus',
      'IP packets received meanwhile',
      'frames',
      'collector CPU',
    ],
    rows: [
      [
        thousands(sent),
        thousands(sent / seconds),
        thousands(dropped),
        thousands(counted),
        thousands(landed),
        String(node.ledger.frames.length),
        `${fixed(cpu * 100)} % of a core`,
      ],
    ],
    budgets: [
      { budget: 'every packet dropped', measured: `${dropped} of ${sent}`, met: dropped === sent },
      { budget: 'count on the bus exact', measured: `${counted} of ${sent}`, met: counted === sent },
      { budget: 'collector at most 3 % of a core', measured: `${fixed(cpu * 100)} %`, met: cpu <= 0.03 },
    ],
  };
}
