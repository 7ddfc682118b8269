/**
 * The CNI plugin under load: what an ADD call adds, and under which identity the kernel judges a pod's first packet. Pods start a few
 * at a time through the reference plugin `ptp`, and the collector is killed and started again in the middle.
 */
import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { ensureProgram, PLUGIN } from '../../cni/build.ts';
import { podSide } from '../lab/src/cni/cache.ts';
import { type CniConfList, podNetwork } from '../lab/src/cni/conf.ts';
import { cniBinDir } from '../lab/src/cni/plugin.ts';
import { netnsPath } from '../lab/src/names.ts';
import { createNetns, deleteNetns } from '../lab/src/net/netns.ts';
import { exec } from '../lab/src/process/exec.ts';
import { TestNode, type TestPod } from '../support/node.ts';
import { udpFrame } from '../support/udp-frame.ts';
import { fixed, quantile, type Section } from './report.ts';

const PODS = Number(process.env['BAILIFF_BENCH_PODS'] ?? 1_000);
/** A kubelet starts several pods at the same time. */
const AT_ONCE = 4;
/** A call that asks the collector, beside one that only starts the process. */
const MOST_OF_FLOOR = 2;
const STARTS = 200;
const START_BUDGET_MS = 2;
/** Longer than a restart of the collector on a busy machine. */
const WAIT_MS = 60_000;

type CniResult = Parameters<typeof podSide>[0];

/** A node with a primary plugin and ours. */
class BenchNode {
  readonly node: TestNode;
  readonly #primary: CniConfList;
  readonly primaryMs: number[] = [];
  readonly addMs: number[] = [];
  readonly floorMs: number[] = [];
  /** Calls that waited for the collector's restart. */
  waited = 0;
  isRestarting = false;

  constructor(node: TestNode) {
    this.node = node;
    for (const name of ['net.d', 'bin']) mkdirSync(path.join(node.dir, name));
    const ipamDir = path.join(node.dir, 'ipam');
    this.#primary = podNetwork({ plugin: 'ptp', podCidr4: '10.244.0.0/16', podCidr6: 'fd00:10:244::/64', ipamDir });
  }

  get socket(): string {
    return path.join(this.node.dir, 'run/cni.sock');
  }

  start(): Promise<unknown> {
    const at = (name: string) => path.join(this.node.dir, name);
    const args = [
      '--cni',
      'on',
      '--cni-conf-dir',
      at('net.d'),
      '--cni-bin-dir',
      at('bin'),
      '--cni-socket',
      this.socket,
    ];
    return this.node.startCollector({ until: 'ready', args });
  }

  async restart(): Promise<void> {
    this.isRestarting = true;
    await this.node.killCollector('SIGKILL');
    await this.start();
    this.isRestarting = false;
  }

  #call(program: string, command: string, pod: TestPod, input: object): Promise<string> {
    return exec('nsenter', [`--net=${netnsPath(this.node.netns)}`, program], {
      input: JSON.stringify(input),
      timeoutMs: WAIT_MS * 2,
      env: {
        CNI_COMMAND: command,
        CNI_CONTAINERID: `c${pod.index}`,
        CNI_NETNS: netnsPath(pod.netns),
        CNI_IFNAME: 'eth0',
        CNI_PATH: cniBinDir(['ptp', 'host-local']),
        CNI_ARGS: `IgnoreUnknown=1;K8S_POD_NAMESPACE=${pod.namespace};K8S_POD_NAME=${pod.name};K8S_POD_UID=${pod.uid}`,
      },
    });
  }

  async #primaryCall(command: 'ADD' | 'DEL', pod: TestPod): Promise<string> {
    const { cniVersion, name, plugins } = this.#primary;
    const [plugin] = plugins;
    if (!plugin) throw new Error('the network has no plugin');
    const program = path.join(cniBinDir([plugin.type]), plugin.type);
    return this.#call(program, command, pod, { cniVersion, name, ...plugin });
  }

  /** Starts a pod, and sends a forged packet as its first act. */
  async startPod(index: number): Promise<TestPod> {
    const pod: TestPod = {
      index,
      uid: `00000000-0000-4000-8000-${index.toString(16).padStart(12, '0')}`,
      namespace: 'shop',
      name: `web-${index}`,
      netns: `${this.node.netns}-p${index}`,
      hostInterface: '',
      mac: '',
      ipv4: '',
      ipv6: '',
    };
    await createNetns(pod.netns);
    this.node.pods.push(pod);
    const primaryAt = performance.now();
    const prevResult = JSON.parse(await this.#primaryCall('ADD', pod)) as CniResult;
    this.primaryMs.push(performance.now() - primaryAt);
    const { cniVersion, name } = this.#primary;
    const conf = {
      cniVersion,
      name,
      type: 'bailiff-cni',
      socket: this.socket,
      failurePolicy: 'closed',
      timeoutMs: WAIT_MS,
    };
    const floorAt = performance.now();
    await this.#call(PLUGIN, 'VERSION', pod, {});
    this.floorMs.push(performance.now() - floorAt);
    const restartBefore = this.isRestarting;
    const startedAt = performance.now();
    await this.#call(PLUGIN, 'ADD', pod, { ...conf, prevResult });
    if (restartBefore || this.isRestarting) this.waited += 1;
    else this.addMs.push(performance.now() - startedAt);
    const side = podSide(prevResult);
    Object.assign(pod, { hostInterface: side.hostInterface, mac: side.mac });
    const forged = udpFrame({ sourceMac: pod.mac, source: '10.99.0.1', destination: '10.244.0.1' });
    await this.node.send(pod, [forged], 1);
    return pod;
  }

  /**
   * Waits for the violation of the pod's packet. Other packets of the pod are those of its kernel.
   * @returns whether it was dropped once, as `programmed`
   */
  async isJudged(pod: TestPod): Promise<boolean> {
    const judged = () =>
      [...this.node.ledger.epochs.values()].filter((v) => v.pod?.uid === pod.uid && v.vector === 'ipv4-source');
    const endsAt = performance.now() + WAIT_MS;
    while (judged().length === 0 && performance.now() < endsAt) await setTimeout(20);
    const [one, ...more] = judged();
    return more.length === 0 && one?.state === 'programmed' && one.action === 'drop' && one.cumulativePackets === 1;
  }

  async removePod(pod: TestPod): Promise<void> {
    await this.#primaryCall('DEL', pod);
    await deleteNetns(pod.netns);
    this.node.pods.splice(this.node.pods.indexOf(pod), 1);
  }
}

/** CPU time of one start of a program, user and system, as the average of many. */
function startCpuMs(program: string): number {
  const script = `i=0; while [ $i -lt ${STARTS} ]; do "$0" > /dev/null; i=$((i+1)); done; times`;
  const env = { PATH: process.env['PATH'], CNI_COMMAND: 'VERSION' };
  const printed = execFileSync('sh', ['-c', script, program], { encoding: 'utf8', env });
  // The second line is the time of the children: user and system, `0m0.249s 0m0.054s`.
  const times = [...(printed.split('\n')[1] ?? '').matchAll(/(\d+)m([\d.]+)s/g)];
  if (times.length !== 2) throw new Error(`sh printed no times of its children: ${printed}`);
  const seconds = times.reduce((sum, [, minutes, rest]) => sum + Number(minutes) * 60 + Number(rest), 0);
  return (seconds * 1_000) / STARTS;
}

export async function bench(): Promise<Section> {
  ensureProgram();
  const [startMs, floorMs] = [startCpuMs(PLUGIN), startCpuMs('/bin/true')];
  await using node = await TestNode.start();
  const bench = new BenchNode(node);
  await bench.start();
  let next = 0;
  let programmed = 0;
  const missed: string[] = [];
  let restart: Promise<void> | null = null;
  const work = async () => {
    while (next < PODS) {
      const index = ++next;
      if (index === Math.ceil(PODS / 2)) restart = bench.restart();
      const pod = await bench.startPod(index);
      if (await bench.isJudged(pod)) programmed += 1;
      else missed.push(pod.name);
      await bench.removePod(pod);
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, work));
  await restart;
  const load = readFileSync('/proc/loadavg', 'utf8').split(' ')[0] ?? '';
  const added = quantile(bench.addMs, 0.99);
  const floor = quantile(bench.floorMs, 0.99);
  const metric = (part: string) => node.metric(`bailiff_collector_cni_request_seconds_${part}`);
  const insideMs = (1_000 * (await metric('sum'))) / (await metric('count'));
  const row = (what: string, values: readonly number[]) => [
    ...[what, String(values.length), fixed(quantile(values, 0.5)), fixed(quantile(values, 0.99))],
  ];
  return {
    title: 'CNI plugin',
    method: `${PODS} pods, ${AT_ONCE} at a time, each with a forged packet as its first act, while the collector is killed and started once. Times include the start of the process by \`nsenter\`; the floor is the command VERSION, which asks no collector. ${bench.waited} calls that waited for the restart are not in the times. After the restart, the collector itself took ${fixed(insideMs)} ms for a call on average. Load of the machine at the end: ${load}.`,
    header: ['call', 'calls', 'p50 ms', 'p99 ms'],
    rows: [
      row('ADD of the primary plugin alone', bench.primaryMs),
      row('ADD of bailiff-cni, behind it', bench.addMs),
      row('VERSION of bailiff-cni (floor: start of a process)', bench.floorMs),
    ],
    budgets: [
      {
        budget: 'the first packet of every pod is judged as `programmed`',
        measured: `${programmed} of ${PODS}${missed.length > 0 ? `; not ${missed.slice(0, 10).join(', ')}` : ''}`,
        met: programmed === PODS,
      },
      {
        budget: `ADD takes at most ${MOST_OF_FLOOR} × the floor, p99`,
        measured: `${fixed(added / floor, 2)}`,
        met: added <= MOST_OF_FLOOR * floor,
      },
      {
        budget: `a start takes at most ${START_BUDGET_MS} ms of CPU`,
        measured: `${fixed(startMs, 2)} ms; \`true\` ${fixed(floorMs, 2)} ms`,
        met: startMs <= START_BUDGET_MS,
      },
    ],
  };
}
