/**
 * A collector as a separate process from its bundle, with a real nats-server, on a node whose pods
 * are cgroups and containers of rig.ts. It tests the path from a policy on the bus to a container,
 * and from the container's operations to the bus.
 */
import { randomBytes } from 'node:crypto';
import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { detachAll, detachRuntime, openPinnedRuntimeMaps, type RuntimeSubject } from '@bailiff/bpf';
import { type Bus, ensureTopology, openBucket } from '@bailiff/bus';
import { startNats, type TestNats, testUsers } from '@bailiff/bus/testing';
import type { RuntimePolicyInput } from '@bailiff/policy';
import type { NodeSnapshot, NodeStatus, Violation } from '@bailiff/schemas';
import { samplePodIdentity } from '@bailiff/schemas/testing';
import { waitFor } from '@bailiff/service/testing';
import { COLLECTOR_NODE_FLAGS } from '../../../tools/node-flags.ts';
import { collectorCapabilities, confined } from '../../k8s/confined.ts';
import { launch, type RunningProcess } from '../../support/process.ts';
import { Ledger } from '../../support/violation-totals.ts';
import { EXEC_AND_OPEN_HOOKS, withHooksOnly } from './doctored.ts';
import { Container, LOAD_TIMEOUT_MS, podCgroup, type Running, removeCgroup } from './rig.ts';

export const NODE = 'node-a';
const COLLECTOR = path.resolve(import.meta.dirname, '../../../apps/collector/dist/main.mjs');
/** With exactly the rights that the manifest grants. */
const CONFINED = confined(collectorCapabilities());
/**
 * Of the operations here. Each start loads them, and with all hooks that takes four times as long;
 * the demo's collector loads all.
 */
const HOOKS = [...EXEC_AND_OPEN_HOOKS, 'socket_create', 'socket_post_create'];
const WAIT_MS = 60_000;
const LOAD_WAIT_MS = LOAD_TIMEOUT_MS;
/**
 * For a hook or test that starts several collectors: longer than their own waits, so that a failure
 * shows the wait's error.
 */
export const STARTS_TIMEOUT_MS = 3 * LOAD_WAIT_MS;
/**
 * Each poll costs more CPU than the status itself, so this polls as often as the status changes.
 */
const STATUS_INTERVAL_MS = 500;
const ASK_INTERVAL_MS = STATUS_INTERVAL_MS / 2;

/** A pod as on the bus, its cgroup and one container in it. */
export class NodePod implements Disposable {
  readonly uid: string;
  readonly identity: NodeSnapshot['pods'][number];
  readonly cgroup: string;
  readonly container: Container;

  /** @param uid of an earlier pod, 32 hex digits; default a new one */
  constructor(name: string, uid = randomBytes(16).toString('hex')) {
    this.uid = uid;
    this.cgroup = path.join('/sys/fs/cgroup', podCgroup(this.uid, 'cgroupfs'));
    mkdirSync(this.cgroup, { recursive: true });
    this.container = new Container(this.cgroup, 0);
    this.identity = samplePodIdentity({
      uid: this.uid.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5'),
      name,
      containers: [{ name: 'app', id: 'test://container-0' }],
    });
  }

  /** Removes its container and its cgroup. */
  [Symbol.dispose](): void {
    this.container[Symbol.dispose]();
    removeCgroup(this.cgroup);
  }
}

/** Runs acts in a container that runs already, one line of input per step. */
export class Steps {
  readonly #running: Running;
  #from = 0;

  constructor(pod: NodePod, ...steps: string[][]) {
    this.#running = pod.container.start(['/bin/acts', 'wait', ...steps.flatMap((words) => [...words, 'wait'])]);
  }

  async ready(): Promise<void> {
    await this.#running.line('ready');
    this.#from = this.#running.lines.length;
  }

  /** Output of the next step. */
  async next(): Promise<string[]> {
    const readyBefore = this.#running.lines.filter((line) => line === 'ready').length;
    this.#running.go();
    await this.#running.until((lines) => lines.filter((line) => line === 'ready').length > readyBefore);
    const printed = this.#running.lines.slice(this.#from).filter((line) => line.startsWith('run '));
    this.#from = this.#running.lines.length;
    return printed;
  }
}

export class CollectorNode implements AsyncDisposable {
  readonly dir: string;
  readonly pinDir: string;
  readonly nats: TestNats;
  readonly admin: Bus;
  readonly ledger: Ledger;
  /** Every collector of the node, in order of their starts. */
  readonly #started: RunningProcess[] = [];
  readonly #object = withHooksOnly(HOOKS);
  #collector: RunningProcess | null = null;
  #revision = 0;

  private constructor(dir: string, nats: TestNats, admin: Bus) {
    this.dir = dir;
    // Separate for each node: the marker of a detach stays among the pins.
    this.pinDir = `/sys/fs/bpf/${path.basename(dir)}`;
    this.nats = nats;
    this.admin = admin;
    this.ledger = new Ledger(admin);
  }

  static async start(): Promise<CollectorNode> {
    const dir = mkdtempSync(path.join(tmpdir(), 'bailiff-runtime-'));
    mkdirSync(path.join(dir, 'state'));
    const nats = await startNats({ users: testUsers([NODE]) });
    const admin = await nats.connect('admin');
    await ensureTopology(admin);
    writeFileSync(path.join(dir, 'password'), `password-of-collector-${NODE}`, { mode: 0o600 });
    return new CollectorNode(dir, nats, admin);
  }

  /** Output of all collectors, in order of their starts. */
  get log(): string {
    return this.#started.map((collector) => collector.out()).join('');
  }

  /** Of the collector that was started last. */
  get collectorPid(): number {
    return this.#collector?.pid ?? 0;
  }

  get placeArgs(): string[] {
    return ['--bpf-dir', this.pinDir, '--state-dir', path.join(this.dir, 'state')];
  }

  /** Resolves when its runtime engine is available. */
  async startCollector(): Promise<void> {
    const beganMs = Date.now();
    await this.startLoading();
    // The bus may still have the status of an earlier collector.
    const own = ({ startedAt }: NodeStatus) => Date.parse(startedAt) >= beganMs;
    await this.reported(
      'the runtime engine',
      (status) => own(status) && status.runtime?.state === 'available',
      LOAD_WAIT_MS,
    );
  }

  /** Resolves when it guards interfaces and still loads its runtime programs. */
  async startLoading(): Promise<void> {
    const args = [
      ...['--node-name', NODE, '--nats-url', this.nats.url, '--nats-user', `collector-${NODE}`],
      ...['--nats-password-file', path.join(this.dir, 'password'), ...this.placeArgs],
      ...['--cni-results-dir', this.dir, '--metrics-address', '127.0.0.1:0'],
      ...['--exclude-interfaces', '^lo$'],
      ...['--status-interval-ms', `${STATUS_INTERVAL_MS}`, '--sweep-interval-ms', '500'],
    ];
    const [command = '', ...words] = [...CONFINED, process.execPath, ...COLLECTOR_NODE_FLAGS, COLLECTOR, ...args];
    this.#collector = launch(command, words, { env: { ...process.env, BAILIFF_RUNTIME_OBJECT: this.#object } });
    this.#started.push(this.#collector);
    await this.#collector.logged('guarding', LOAD_WAIT_MS);
  }

  async killCollector(signal: NodeJS.Signals = 'SIGKILL'): Promise<void> {
    await this.#collector?.kill(signal);
    this.#collector = null;
  }

  async putPods(...pods: NodePod[]): Promise<void> {
    this.#revision += 1;
    const snapshot: NodeSnapshot = { nodeName: NODE, revision: this.#revision, pods: pods.map((pod) => pod.identity) };
    await openBucket(this.admin, 'bailiff_pods').put(NODE, JSON.stringify(snapshot));
  }

  async putConfig(key: string, value: object): Promise<void> {
    await openBucket(this.admin, 'bailiff_config').put(key, JSON.stringify(value));
  }

  async putPolicy(name: string, policy: RuntimePolicyInput): Promise<void> {
    await this.putConfig(`runtime.cluster._.${name}`, policy);
  }

  async status(): Promise<NodeStatus | null> {
    const entry = await openBucket(this.admin, 'bailiff_nodes').get(NODE);
    return entry ? (JSON.parse(Buffer.from(entry.value).toString('utf8')) as NodeStatus) : null;
  }

  /** Waits for a status with this property. */
  async reported(what: string, holds: (status: NodeStatus) => boolean, timeoutMs = WAIT_MS): Promise<NodeStatus> {
    let last: NodeStatus | null = null;
    await waitFor(
      async () => {
        last = await this.status();
        return last !== null && holds(last);
      },
      {
        what,
        timeoutMs,
        intervalMs: ASK_INTERVAL_MS,
        state: () => `${JSON.stringify(last?.runtime)}\n${this.log.slice(-2000)}`,
      },
    );
    return last as unknown as NodeStatus;
  }

  /** The pod's subject in the kernel; null if there is none. */
  subject(pod: NodePod): RuntimeSubject | null {
    using pinned = openPinnedRuntimeMaps(this.pinDir);
    return pinned?.maps.pods.get(pod.uid) ?? null;
  }

  /**
   * Runs an action, then waits for another subject of the pod, or for its flag. @returns
   * milliseconds
   */
  async untilFlipped(
    pod: NodePod,
    action: () => Promise<void>,
    by: 'generation' | 'hasContainers' = 'generation',
  ): Promise<number> {
    using pinned = openPinnedRuntimeMaps(this.pinDir);
    const now = () => pinned?.maps.pods.get(pod.uid)?.[by];
    const before = now();
    await action();
    const began = performance.now();
    await this.#until('a policy to be in force', () => now() !== before);
    return performance.now() - began;
  }

  /** Waits until the kernel samples operations at this rate. */
  async untilSampling(burst: number, perSecond: number): Promise<void> {
    using pinned = openPinnedRuntimeMaps(this.pinDir);
    const isSo = () => {
      const settings = pinned?.maps.settings();
      return settings?.sampleBurst === burst && settings.samplesPerSecond === perSecond;
    };
    await this.#until('the sampling to be in force', isSo);
  }

  async untilAudited(pod: NodePod): Promise<void> {
    await this.#until('a break-glass', () => (this.subject(pod)?.auditUntilNs ?? 0n) > 0n);
  }

  /** Waits until no break-glass is active for the pod. */
  async untilEnforced(pod: NodePod): Promise<void> {
    await this.#until('no break-glass', () => this.subject(pod)?.auditUntilNs === 0n);
  }

  /** Number of cgroups that the kernel has bound to this pod. */
  boundCgroups(pod: NodePod): number {
    using pinned = openPinnedRuntimeMaps(this.pinDir);
    return (pinned?.maps.cgroups.entries() ?? []).filter(([, uid]) => uid === pod.uid).length;
  }

  async untilGone(pod: NodePod): Promise<void> {
    await this.#until('a pod to be forgotten', () => this.subject(pod) === null);
  }

  /** Waits until the bus has acknowledged all counts: the counter files are gone. */
  async untilSettled(): Promise<void> {
    const dirs = () => readdirSync(path.join(this.dir, 'state'), { recursive: true, encoding: 'utf8' });
    await this.#until('all counts to be acknowledged', () => !dirs().some((name) => /account-\d+\.json$/.test(name)));
  }

  async #until(what: string, holds: () => boolean): Promise<void> {
    await waitFor(holds, { what, timeoutMs: WAIT_MS, state: () => this.log.slice(-2000) });
  }

  /** Waits for operations of a vector on the bus. */
  async counted(vector: string, count: number): Promise<void> {
    await waitFor(() => this.ledger.packets({ vector }) >= count, {
      what: `${count} operations of ${vector} on the bus`,
      timeoutMs: WAIT_MS,
      state: () => `${JSON.stringify([...this.ledger.epochs.values()])}\n${this.log.slice(-2000)}`,
    });
  }

  /** The final violation of a replaced generation. */
  async lastWord(vector: string): Promise<Violation> {
    return waitFor(() => this.ledger.violations(vector).find((violation) => violation.final), {
      what: `the final violation of ${vector}`,
      timeoutMs: WAIT_MS,
      state: () => this.log.slice(-2000),
    });
  }

  /** Runs a command of the collector to its end. @returns its output */
  async command(...args: string[]): Promise<string> {
    const command = launch(process.execPath, [COLLECTOR, ...args, ...this.placeArgs]);
    await command.exit;
    return command.out();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.killCollector();
    await this.ledger.close();
    await this.nats.stop();
    detachRuntime(this.pinDir);
    detachAll(this.pinDir);
    rmSync(this.dir, { recursive: true, force: true });
  }
}
