/** Resident memory of a collector that guards 250 pods, idle and after a burst of violations from all of them. */
import { waitFor } from '@bailiff/service/testing';
import { COLLECTOR_NODE_FLAGS } from '../../tools/node-flags.ts';
import { udpFrame } from '../cluster/collector/frames.ts';
import { TestNode } from '../cluster/collector/test-node.ts';
import { fixed, type Section } from './report.ts';

const PODS = 250;

export async function bench(): Promise<Section> {
  await using node = await TestNode.start();
  const collector = await node.startCollector();
  const empty = node.collectorRssMiB();
  const pods = [];
  for (let i = 0; i < PODS; i += 1) pods.push(await node.addPod());
  await node.putPods(1);
  const all = async (state: string) =>
    (await node.offlineStatus()).interfaces.filter((i) => i.state === state).length === PODS;
  await waitFor(() => all('programmed'), { what: `${PODS} pods to be programmed`, timeoutMs: 60_000, intervalMs: 500 });
  const idle = node.collectorRssMiB();
  for (const pod of pods)
    await node.send(pod, [udpFrame({ sourceMac: pod.mac, source: '10.9.9.9', destination: '10.244.0.1' })], 20);
  await waitFor(() => node.ledger.packets({ action: 'drop' }) === PODS * 20, {
    what: 'all violations',
    timeoutMs: 60_000,
  });
  const busy = node.collectorRssMiB();
  const major = Number(process.versions.node.split('.')[0]);
  const budget = major >= 24 ? 72 : 62;
  void collector;
  return {
    title: 'Collector memory',
    method: `VmRSS of the bundled collector on Node ${process.versions.node} (${COLLECTOR_NODE_FLAGS.join(' ')}).`,
    header: ['state', 'RSS'],
    rows: [
      ['no pods', `${fixed(empty)} MiB`],
      [`${PODS} pods programmed`, `${fixed(idle)} MiB`],
      [`${PODS} pods, each breached`, `${fixed(busy)} MiB`],
    ],
    budgets: [
      {
        budget: `at most ${budget} MB at ${PODS} pods`,
        measured: `${fixed((busy * 2 ** 20) / 1e6)} MB`,
        met: (busy * 2 ** 20) / 1e6 <= budget,
      },
    ],
  };
}
