/**
 * One node for the collector's tests: a network namespace with pods behind veths, a real
 * nats-server behind a relay, a bpffs, a CNI cache, and the collector as a process from its bundle.
 * The pods have no bridge: a packet counts as passed when it arrives at the host side.
 */
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, readFileSync, rmdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { type Bus, ensureTopology, openBucket } from '@bailiff/bus';
import { startNats, type TestNats, testUsers } from '@bailiff/bus/testing';
import {
  CHECKOUT,
  cgroup2Mount,
  createNetns,
  deleteNetns,
  ensureLabtool,
  exec,
  labtoolArgs,
  NODE_NATS_URL,
  netnsPath,
  type Relay,
  startLines,
  startRelay,
  stopLines,
  writeCacheRecord,
} from '@bailiff/lab/node';
import { encodeSnapshotValue, type NodeSnapshot, type NodeStatus } from '@bailiff/schemas';
import { sampleInterfaces, samplePodIdentity } from '@bailiff/schemas/testing';
import { waitFor } from '@bailiff/service/testing';
import { COLLECTOR_NODE_FLAGS } from '../../tools/node-flags.ts';
import { launch, type RunningProcess } from './process.ts';
import { StatusReader } from './status-reader.ts';
import { Ledger } from './violation-totals.ts';

export const NODE = 'node-a';
/** MAC address of every host side. Frames to it are addressed to the node. */
export const GATEWAY_MAC = '02:00:00:00:00:01';
const COLLECTOR = path.join(CHECKOUT, 'apps/collector/dist/main.mjs');

export interface TestPod {
  index: number;
  uid: string;
  namespace: string;
  name: string;
  netns: string;
  hostInterface: string;
  mac: string;
  ipv4: string;
  ipv6: string;
}

let made = 0;

export class TestNode implements AsyncDisposable {
  readonly netns: string;
  readonly dir: string;
  readonly nats: TestNats;
  readonly admin: Bus;
  readonly relay: Relay;
  readonly ledger: Ledger;
  readonly pods: TestPod[] = [];
  readonly #labtool: string;
  readonly #login: readonly string[];
  /** Every collector of the node, in order of their starts. */
  readonly #started: RunningProcess[] = [];
  #collector: ChildProcess | null = null;
  #statusReader: Promise<StatusReader> | null = null;
  /**
   * Command that wraps the collector's command, such as `setpriv …`. It must exec its arguments.
   */
  wrap: readonly string[] = [];
  /** The command that starts a collector, without its arguments. */
  program: readonly string[] = [process.execPath, ...COLLECTOR_NODE_FLAGS, COLLECTOR];
  /** A collector of an earlier version knows one folder of records. */
  hasMultus = false;

  private constructor(parts: {
    netns: string;
    dir: string;
    nats: TestNats;
    admin: Bus;
    relay: Relay;
    labtool: string;
    login: readonly string[];
  }) {
    this.netns = parts.netns;
    this.dir = parts.dir;
    this.nats = parts.nats;
    this.admin = parts.admin;
    this.relay = parts.relay;
    this.#labtool = parts.labtool;
    this.#login = parts.login;
    this.ledger = new Ledger(parts.admin);
  }

  /**
   * @param bus an existing server, with the flags by which the collector logs in; it is stopped
   * with the node. Default: a server of the node, and a password.
   */
  static async start(bus?: { nats: TestNats; login: readonly string[] }): Promise<TestNode> {
    const netns = `bct-${process.pid}-${made++}`;
    const dir = mkdtempSync(path.join(tmpdir(), 'bailiff-collector-'));
    for (const name of ['bpf', 'cni', 'state']) mkdirSync(path.join(dir, name));
    const labtool = await ensureLabtool();
    await createNetns(netns, true);
    await exec('mount', ['-t', 'bpf', 'bpf', path.join(dir, 'bpf')]);
    const nats = bus?.nats ?? (await startNats({ users: testUsers([NODE]) }));
    const admin = await nats.connect('admin');
    await ensureTopology(admin);
    writeFileSync(path.join(dir, 'password'), `password-of-collector-${NODE}`, { mode: 0o600 });
    const password = ['--nats-user', `collector-${NODE}`, '--nats-password-file', path.join(dir, 'password')];
    const relay = await startRelay(labtool, netns, nats.port);
    return new TestNode({ netns, dir, nats, admin, relay, labtool, login: bus?.login ?? password });
  }

  /** Output of all collectors, in order of their starts. */
  get log(): string {
    return this.#started.map((collector) => collector.out()).join('');
  }

  get pinDir(): string {
    return path.join(this.dir, 'bpf', 'bailiff');
  }
  get stateDir(): string {
    return path.join(this.dir, 'state');
  }
  get cniDir(): string {
    return path.join(this.dir, 'cni');
  }
  /** Where Multus writes its records, on a node that `hasMultus`; it does not exist before. */
  get multusDir(): string {
    return path.join(this.dir, 'cni-multus', 'results');
  }

  /** Arguments that place a collector on this node. */
  collectorArgs(more: readonly string[] = []): string[] {
    const resultsDirs = this.hasMultus ? [this.cniDir, this.multusDir] : [this.cniDir];
    return [
      ...['--node-name', NODE, '--nats-url', NODE_NATS_URL, ...this.#login],
      ...['--bpf-dir', this.pinDir, '--state-dir', this.stateDir],
      ...[
        '--cni-results-dir',
        resultsDirs.join(','),
        '--cgroup-root',
        '/proc/nonexistent',
        '--metrics-address',
        '127.0.0.1:0',
        ...more,
      ],
    ];
  }

  /** Starts the collector without waiting. */
  spawnCollector(args: readonly string[] = []): ChildProcess {
    return this.#launchCollector(args).child;
  }

  #launchCollector(args: readonly string[]): RunningProcess {
    const command = ['run', '--', ...this.wrap, ...this.program, ...this.collectorArgs(args)];
    const collector = launch(this.#labtool, labtoolArgs({ netns: this.netns }, command));
    this.#started.push(collector);
    this.#collector = collector.child;
    return collector;
  }

  /**
   * Starts the collector. Resolves when it guards, or with `ready` when it is also connected to the
   * bus.
   */
  async startCollector(options: { until?: 'guarding' | 'ready'; args?: string[] } = {}): Promise<ChildProcess> {
    const collector = this.#launchCollector(options.args ?? []);
    await collector.logged(options.until ?? 'ready');
    return collector.child;
  }

  /** Runs a collector command on the node and waits for its end. */
  async command(args: readonly string[]): Promise<string> {
    const command = [...this.wrap, process.execPath, COLLECTOR, ...args];
    return exec(this.#labtool, labtoolArgs({ netns: this.netns }, ['run', '--', ...command]));
  }

  async killCollector(signal: NodeJS.Signals = 'SIGKILL', child = this.#collector): Promise<number | null> {
    if (!child) return null;
    if (child === this.#collector) this.#collector = null;
    if (child.exitCode === null && child.signalCode === null) {
      const ended = once(child, 'exit');
      child.kill(signal);
      await ended;
    }
    return child.exitCode;
  }

  /**
   * Creates a pod's namespace and interface. A runtime writes the CNI record after it creates the
   * link, and so does this; `cni: false` leaves the record out.
   */
  async addPod(options: { cni?: boolean; name?: string } = {}): Promise<TestPod> {
    const index = this.pods.length + 1;
    const hex = index.toString(16).padStart(2, '0');
    const pod: TestPod = {
      index,
      uid: `00000000-0000-4000-8000-0000000000${hex}`,
      namespace: 'shop',
      name: options.name ?? `web-${index}`,
      netns: `${this.netns}-p${index}`,
      hostInterface: `veth${index}`,
      mac: `0a:58:0a:f4:00:${hex}`,
      ipv4: `10.244.0.${index + 1}`,
      ipv6: `fd00:10:244::${(index + 1).toString(16)}`,
    };
    this.pods.push(pod);
    await createNetns(pod.netns);
    await this.#makeLink(pod);
    if (options.cni ?? true) await this.writeCni(pod);
    return pod;
  }

  async #makeLink(pod: TestPod, ifindex?: number): Promise<void> {
    await exec('ip', [
      '-n',
      this.netns,
      'link',
      'add',
      pod.hostInterface,
      ...(ifindex === undefined ? [] : ['index', String(ifindex)]),
      'address',
      GATEWAY_MAC,
      'type',
      'veth',
      'peer',
      'name',
      'eth0',
      'netns',
      pod.netns,
      'address',
      pod.mac,
    ]);
    const inside = [`addr add ${pod.ipv4}/24 dev eth0`, `addr add ${pod.ipv6}/64 dev eth0 nodad`, 'link set eth0 up'];
    await exec('ip', ['-n', pod.netns, '-batch', '-'], { input: `${inside.join('\n')}\n` });
    await exec('ip', ['-n', this.netns, 'link', 'set', pod.hostInterface, 'up']);
  }

  /**
   * Renames the host side of a pod to the name of a deleted interface, and gives it its index. CNI plugins that
   * hash names reuse them, and those that move a link from the pod's namespace reuse indexes.
   */
  async renameHostSide(pod: TestPod, name: string, ifindex?: number): Promise<void> {
    await exec('ip', ['-n', this.netns, 'link', 'del', pod.hostInterface]);
    pod.hostInterface = name;
    await this.#makeLink(pod, ifindex);
  }

  /**
   * Writes the CNI record of a pod. @param interfaces of its result: without the pod's MAC (AWS VPC
   * CNI), only the host side (Calico)
   */
  async writeCni(pod: TestPod, interfaces: 'all' | 'no-mac' | 'host-side' = 'all'): Promise<void> {
    const podSide = { name: 'eth0', sandbox: netnsPath(pod.netns) };
    const sides = {
      all: [
        { name: pod.hostInterface, mac: GATEWAY_MAC },
        { ...podSide, mac: pod.mac },
      ],
      'no-mac': [
        { name: pod.hostInterface, mac: '' },
        { ...podSide, mac: '' },
      ],
      'host-side': [{ name: pod.hostInterface, mac: '' }],
    };
    const index = interfaces === 'host-side' ? {} : { interface: 1 };
    await writeCacheRecord(
      this.cniDir,
      {
        conf: { cniVersion: '1.0.0', name: 'pods', plugins: [] },
        ifName: 'eth0',
        containerId: `c${pod.index}`,
        podUid: pod.uid,
        podNamespace: pod.namespace,
        podName: pod.name,
        podAnnotations: {},
        cgroupParent: `/kubepods/burstable/pod${pod.uid}`,
      },
      {
        cniVersion: '1.0.0',
        interfaces: sides[interfaces],
        ips: [
          { address: `${pod.ipv4}/24`, ...index },
          { address: `${pod.ipv6}/64`, ...index },
        ],
      },
    );
  }

  async removePod(pod: TestPod): Promise<void> {
    await exec('ip', ['-n', this.netns, 'link', 'del', pod.hostInterface]);
    await deleteNetns(pod.netns);
  }

  /** A process of the pod, in its namespace and in a cgroup with the kubelet's name for it. */
  async runInPod(pod: TestPod): Promise<AsyncDisposable & { root: string }> {
    const root = path.join(cgroup2Mount(), this.netns);
    const cgroup = path.join(root, 'kubepods', 'burstable', `pod${pod.uid}`, `c${pod.index}`);
    mkdirSync(cgroup, { recursive: true });
    const lines = await startLines(
      this.#labtool,
      labtoolArgs({ netns: pod.netns, cgroup }, ['run', '--', 'sleep', '600']),
    );
    await waitFor(() => readFileSync(path.join(cgroup, 'cgroup.procs'), 'utf8').includes(String(lines.pid)));
    return {
      root,
      async [Symbol.asyncDispose]() {
        await stopLines(lines, 'SIGKILL', 1_000);
        for (let dir = cgroup; dir.length >= root.length; dir = path.dirname(dir)) rmdirSync(dir);
      },
    };
  }

  /** Writes the node's snapshot to the bus, as ipam-sync does. */
  async putPods(revision: number, change: (pods: NodeSnapshot['pods']) => void = () => {}): Promise<void> {
    const pods: NodeSnapshot['pods'] = this.pods.map(({ uid, namespace, name, ipv4, ipv6 }) =>
      samplePodIdentity({ uid, namespace, name, interfaces: sampleInterfaces(ipv4, ipv6) }),
    );
    change(pods);
    const value = encodeSnapshotValue(JSON.stringify({ nodeName: NODE, revision, pods }));
    await openBucket(this.admin, 'bailiff_pods').put(NODE, value);
  }

  /** Sends frames from a pod. Resolves with the number of frames that the kernel accepted. */
  async send(pod: TestPod, frames: readonly Buffer[], count = frames.length, ratePerSecond = 0): Promise<number> {
    const sender = await this.startSending(pod, frames, count, ratePerSecond);
    return sender.sent;
  }

  startSending(pod: TestPod, frames: readonly Buffer[], count: number, ratePerSecond = 0, device = 'eth0') {
    return this.#startSender({ netns: pod.netns, device }, frames, count, ratePerSecond);
  }

  async #startSender(
    from: { netns: string; device: string },
    frames: readonly Buffer[],
    count: number,
    ratePerSecond: number,
  ) {
    let sent = -1;
    const lines = await startLines(
      this.#labtool,
      labtoolArgs({ netns: from.netns }, ['send', from.device, String(ratePerSecond), String(count)]),
      {
        onLine: (line) => {
          const reported = JSON.parse(line) as { sent?: number };
          if (typeof reported.sent === 'number') sent = reported.sent;
        },
      },
    );
    lines.closeInput(
      Buffer.concat(
        frames.flatMap((frame) => {
          const head = Buffer.alloc(2);
          head.writeUInt16BE(frame.length);
          return [head, frame];
        }),
      ),
    );
    return {
      hasEnded: lines.hasEnded,
      /** Ends it before its count is reached; `sent` still reports what went out. */
      stop: () => stopLines(lines, 'SIGTERM', 5_000),
      sent: lines.ended.then((status) => {
        if (status !== 0) throw new Error(`send ended with ${status}: ${lines.stderrTail()}`);
        return sent;
      }),
    };
  }

  /** Output of `collector status`, which reads the pins alone. */
  async offlineStatus(): Promise<{
    interfaces: {
      ifindex: number;
      interfaceName: string;
      pod: string;
      state: string;
      place: string;
      generation: number;
      addresses: string[];
      mac: string;
      droppedPackets: number;
      auditedPackets: number;
      passedBeforeGuard: number;
      quarantined: boolean;
      orphaned: boolean;
      auditOnly: boolean;
    }[];
  }> {
    const args = ['--json', '--bpf-dir', this.pinDir, '--state-dir', this.stateDir];
    if (this.wrap.length > 0) return JSON.parse(await this.command(['status', ...args]));
    this.#statusReader ??= StatusReader.start(this.#labtool, this.netns);
    return JSON.parse(await (await this.#statusReader).status(args));
  }

  /**
   * Sends frames out of the host side of a pod's interface, so that the pod receives them. Resolves
   * with the number of frames that the kernel accepted.
   */
  async sendTo(pod: TestPod, frames: readonly Buffer[], count = frames.length): Promise<number> {
    const sender = await this.#startSender({ netns: this.netns, device: pod.hostInterface }, frames, count, 0);
    return sender.sent;
  }

  /**
   * Value of one series in the collector's metrics, written as it is exposed:
   * `bailiff_collector_frames_total`.
   */
  async metric(series: string): Promise<number> {
    const reported = this.log.match(/"metricsAddress":"([^"]+)"/g)?.at(-1) ?? '';
    const url = `http://${/([\d.]+:\d+)/.exec(reported)?.[1]}/metrics`;
    const script = `fetch(${JSON.stringify(url)}).then(async (r) => console.log(await r.text()))`;
    const text = await exec('nsenter', [`--net=${netnsPath(this.netns)}`, process.execPath, '-e', script]);
    const line = text.split('\n').find((one) => one.startsWith(`${series} `));
    if (!line) throw new Error(`no ${series} in\n${text.slice(0, 2_000)}`);
    return Number(line.slice(series.length));
  }

  /**
   * IPv4 packets that the programs passed to the stack of the node or of a pod. TCP is excluded:
   * the relay uses it.
   */
  async ipReceived(netns = this.netns): Promise<number> {
    // The two counters are not read at the same time. If a segment arrives between the reads, the
    // next look differs.
    const look = async () => {
      const snmp = await exec('nsenter', [`--net=${netnsPath(netns)}`, 'cat', '/proc/net/snmp']);
      const read = (protocol: string, counter: string) => {
        const [names, values] = snmp.split('\n').filter((line) => line.startsWith(`${protocol}:`));
        return Number(values?.split(' ')[names?.split(' ').indexOf(counter) ?? -1]);
      };
      return read('Ip', 'InReceives') - read('Tcp', 'InSegs');
    };
    let last = await look();
    const isSteady = async () => {
      const before = last;
      last = await look();
      return last === before;
    };
    await waitFor(isSteady, { what: `the counters of ${netns} to agree`, intervalMs: 0, state: () => last });
    return last;
  }

  /** Newest status on the bus. */
  async nodeStatus(): Promise<NodeStatus | null> {
    const entry = await openBucket(this.admin, 'bailiff_nodes').get(NODE);
    return entry && (JSON.parse(entry.value.toString('utf8')) as NodeStatus);
  }

  /** Waits until the offline status shows a state for a pod's interface. */
  async waitForState(pod: TestPod, state: string): Promise<void> {
    let last: unknown;
    await waitFor(
      async () => {
        const status = await this.offlineStatus();
        last = status.interfaces;
        return status.interfaces.some(
          (i) => i.interfaceName === pod.hostInterface && i.state === state && i.place === 'head',
        );
      },
      {
        what: `${pod.hostInterface} to be ${state}`,
        state: () => ({ last, log: this.log.slice(-2000) }),
        intervalMs: 50,
      },
    );
  }

  /** Resident memory of the collector in MiB. */
  collectorRssMiB(): number {
    const status = readFileSync(`/proc/${this.#collector?.pid}/status`, 'utf8');
    return Number(/VmRSS:\s+(\d+)/.exec(status)?.[1]) / 1024;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.killCollector('SIGKILL');
    await (await this.#statusReader)?.close();
    await this.ledger.close();
    await this.relay.close();
    await this.nats.stop();
    for (const pod of this.pods) await deleteNetns(pod.netns);
    await deleteNetns(this.netns);
    await exec('umount', [path.join(this.dir, 'bpf')]);
    rmSync(this.dir, { recursive: true, force: true });
  }
}
