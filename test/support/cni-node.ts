/**
 * A node with a container runtime for tests of the CNI plugin: directories of configurations and
 * plugins, the reference plugins, and calls along a configuration list.
 */
import { existsSync, mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { waitFor } from '@bailiff/service/testing';
import { ensureProgram } from '../../cni/build.ts';
import { collectorCapabilities, confined } from '../k8s/confined.ts';
import { type Attachment, podSide } from '../lab/src/cni/cache.ts';
import { type CniConfList, podNetwork } from '../lab/src/cni/conf.ts';
import { cniAdd, cniBinDir, cniDel } from '../lab/src/cni/plugin.ts';
import { netnsPath } from '../lab/src/names.ts';
import { createNetns } from '../lab/src/net/netns.ts';
import { exec } from '../lab/src/process/exec.ts';
import { TestNode, type TestPod } from './node.ts';
import { udpFrame } from './udp-frame.ts';

export const OWN = '0-bailiff.conflist';

/** A pod before its container: what a runtime makes before it calls the plugins. */
export interface Sandbox {
  pod: TestPod;
  attachment: Attachment;
}

export class CniNode implements AsyncDisposable {
  readonly node: TestNode;
  #sandboxes = 0;

  private constructor(node: TestNode) {
    this.node = node;
    node.hasMultus = true;
    for (const name of ['net.d', 'bin']) mkdirSync(this.at(name));
    const plugins = cniBinDir(['bridge', 'ptp', 'host-local']);
    for (const name of readdirSync(plugins)) symlinkSync(path.join(plugins, name), this.at('bin', name));
  }

  /** The collector has the capabilities of its manifest; a runtime starts the plugin with all. */
  static async create(): Promise<CniNode> {
    ensureProgram();
    const node = await TestNode.start();
    node.wrap = confined(collectorCapabilities());
    return new CniNode(node);
  }

  at(...names: string[]): string {
    return path.join(this.node.dir, ...names);
  }

  writePrimary(plugin: 'bridge' | 'ptp'): void {
    const ranges = { podCidr4: '10.244.0.0/24', podCidr6: 'fd00:10:244::/64', ipamDir: this.at('ipam') };
    writeFileSync(this.at('net.d/10-lab.conflist'), JSON.stringify(podNetwork({ plugin, ...ranges })));
  }

  args(policy: 'open' | 'closed', more: readonly string[] = []): string[] {
    const places = ['--cni-conf-dir', this.at('net.d'), '--cni-bin-dir', this.at('bin')];
    return [
      ...['--cni', 'on', ...places, '--cni-socket', this.at('run/cni.sock')],
      // Most tests have no kubelet that would restart a killed collector.
      ...['--cni-failure-policy', policy, '--cni-restart-wait-ms', '100', ...more],
    ];
  }

  list(name = OWN): CniConfList {
    return JSON.parse(readFileSync(this.at('net.d', name), 'utf8')) as CniConfList;
  }

  async start(policy: 'open' | 'closed', more: readonly string[] = []): Promise<void> {
    await this.node.startCollector({ until: 'ready', args: this.args(policy, more) });
    await waitFor(() => existsSync(this.at('net.d', OWN)), { what: OWN, state: () => this.node.log.slice(-3_000) });
  }

  attachment(index: number, conf: CniConfList): Attachment {
    const uid = `00000000-0000-4000-8000-0000000000${index.toString(16).padStart(2, '0')}`;
    const pod = { podUid: uid, podNamespace: 'shop', podName: `web-${index}`, podAnnotations: {} };
    return { conf, ifName: 'eth0', containerId: `c${index}`, ...pod, cgroupParent: `/kubepods/pod${uid}` };
  }

  async sandbox(conf = this.list()): Promise<Sandbox> {
    const index = ++this.#sandboxes;
    const attachment = this.attachment(index, conf);
    const pod: TestPod = {
      index,
      uid: attachment.podUid,
      namespace: 'shop',
      name: attachment.podName,
      netns: `${this.node.netns}-p${index}`,
      hostInterface: '',
      mac: '',
      ipv4: '',
      ipv6: '',
    };
    this.node.pods.push(pod);
    await createNetns(pod.netns);
    return { pod, attachment };
  }

  /** ADD along the sandbox's list. */
  async attach({ pod, attachment }: Sandbox): Promise<void> {
    const side = podSide(await cniAdd(this.host, attachment, pod.netns));
    const [ipv4 = '', ipv6 = ''] = side.addresses;
    Object.assign(pod, { hostInterface: side.hostInterface, mac: side.mac, ipv4, ipv6 });
  }

  async add(conf = this.list()): Promise<Sandbox> {
    const sandbox = await this.sandbox(conf);
    await this.attach(sandbox);
    return sandbox;
  }

  detach({ pod, attachment }: Sandbox): Promise<void> {
    return cniDel(this.host, attachment, pod.netns);
  }

  /** Waits until the bus has this count of forged packets of the pod. */
  isDropped(pod: Pick<TestPod, 'uid' | 'name'>, state: string, count: number): Promise<unknown> {
    const dropped = () =>
      [...this.node.ledger.epochs.values()]
        .filter((v) => v.pod?.uid === pod.uid && v.state === state && v.action === 'drop' && v.vector === 'ipv4-source')
        .reduce((sum, v) => sum + v.cumulativePackets, 0);
    return waitFor(() => dropped() === count, {
      what: `${count} packets of ${pod.name} dropped as ${state}`,
      state: () => ({ epochs: [...this.node.ledger.epochs.values()], log: this.node.log.slice(-3_000) }),
    });
  }

  /** One call of the plugin alone, as a runtime makes it in the chain. @throws Error with its stdout */
  async call(pod: TestPod, prevResult: object, more: { uid?: string; policy?: string } = {}): Promise<string> {
    const uid = more.uid ?? pod.uid;
    const conf = { cniVersion: '1.0.0', name: 'lab', type: 'bailiff-cni', socket: this.at('run/cni.sock') };
    return exec('nsenter', [`--net=${netnsPath(this.node.netns)}`, this.at('bin/bailiff-cni')], {
      input: JSON.stringify({ ...conf, failurePolicy: more.policy ?? 'closed', prevResult }),
      env: {
        CNI_COMMAND: 'ADD',
        CNI_CONTAINERID: `c${pod.index}`,
        CNI_NETNS: netnsPath(pod.netns),
        CNI_IFNAME: 'eth0',
        CNI_ARGS: `K8S_POD_NAMESPACE=shop;K8S_POD_NAME=${pod.name};K8S_POD_UID=${uid}`,
      },
    });
  }

  /** STATUS, as containerd 2 calls it. @throws Error with its stdout */
  status(policy: 'open' | 'closed'): Promise<string> {
    const conf = { cniVersion: '1.1.0', name: 'lab', type: 'bailiff-cni', socket: this.at('run/cni.sock') };
    const input = JSON.stringify({ ...conf, failurePolicy: policy });
    return exec(this.at('bin/bailiff-cni'), [], { input, env: { CNI_COMMAND: 'STATUS' } });
  }

  get host() {
    return { nodeNetns: this.node.netns, resultsDir: this.node.cniDir, binDir: this.at('bin') };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.node[Symbol.asyncDispose]();
  }
}

export const forged = (pod: TestPod) =>
  udpFrame({ sourceMac: pod.mac, source: '10.244.0.250', destination: '10.244.0.1' });
export const own = (pod: TestPod) => udpFrame({ sourceMac: pod.mac, source: pod.ipv4, destination: '10.244.0.1' });
