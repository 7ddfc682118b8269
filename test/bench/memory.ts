/** Memory of a collector with 250 pods, idle and after violations from all of them; its idle CPU. */
import { waitFor } from '@bailiff/service/testing';
import { COLLECTOR_NODE_FLAGS } from '../../tools/node-flags.ts';
import { TestNode } from '../support/node.ts';
import { udpFrame } from '../support/udp-frame.ts';
import { anonymousMb, cpuSeconds, residentMb } from './app-process.ts';
import { fixed, type Section } from './report.ts';

const PODS = 250;
/** Includes four reads of all counters and two status reports. */
const IDLE_MS = 20_000;

export async function bench(): Promise<Section> {
  await using node = await TestNode.start();
  const collector = await node.startCollector();
  const pid = collector.pid as number;
  const atStart = residentMb(pid);
  await waitFor(() => residentMb(pid) < atStart * 0.8, {
    what: 'the pages of the start to be released',
    timeoutMs: 30_000,
    intervalMs: 250,
  });
  const empty = residentMb(pid);
  const pods = [];
  for (let i = 0; i < PODS; i += 1) pods.push(await node.addPod());
  await node.putPods(1);
  const all = async (state: string) =>
    (await node.offlineStatus()).interfaces.filter((i) => i.state === state).length === PODS;
  await waitFor(() => all('programmed'), { what: `${PODS} pods to be programmed`, timeoutMs: 60_000, intervalMs: 500 });
  const idle = residentMb(pid);
  const cpuBefore = cpuSeconds(pid);
  await new Promise((resolve) => setTimeout(resolve, IDLE_MS));
  const idleCpu = (cpuSeconds(pid) - cpuBefore) / (IDLE_MS / 1000);
  for (const pod of pods)
    await node.send(pod, [udpFrame({ sourceMac: pod.mac, source: '10.9.9.9', destination: '10.244.0.1' })], 20);
  await waitFor(() => node.ledger.packets({ action: 'drop' }) === PODS * 20, {
    what: 'all violations',
    timeoutMs: 60_000,
  });
  const busy = residentMb(pid);
  const own = anonymousMb(pid);
  const major = Number(process.versions.node.split('.')[0]);
  const budget = major >= 24 ? 68 : 58;
  return {
    title: 'Collector at rest: memory and CPU',
    method: `Resident memory (VmRSS, MB of 10^6 bytes) of the bundled collector with its usual flags ${COLLECTOR_NODE_FLAGS.join(' ')}. Idle CPU is the average of ${IDLE_MS / 1000} s. After ten seconds a collector unmaps the pages of Node’s text and constants.`,
    header: ['', 'measured'],
    rows: [
      ['no pods, at the start', `${fixed(atStart)} MB`],
      ['no pods', `${fixed(empty)} MB`],
      [`${PODS} pods programmed`, `${fixed(idle)} MB`],
      [`${PODS} pods, each with violations`, `${fixed(busy)} MB`],
      ['of these, anonymous memory', `${fixed(own)} MB`],
      [`CPU, ${PODS} pods, idle`, `${fixed(idleCpu * 100, 2)} % of a core`],
    ],
    budgets: [
      {
        budget: `at most ${budget} MB at ${PODS} pods`,
        measured: `${fixed(busy)} MB`,
        met: busy <= budget,
      },
      {
        budget: `at most 1 % of a core at ${PODS} idle pods`,
        measured: `${fixed(idleCpu * 100, 2)} %`,
        met: idleCpu <= 0.01,
      },
    ],
  };
}
