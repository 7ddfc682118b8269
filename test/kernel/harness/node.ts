/**
 * A node with two pods in network namespaces: a bridge, and a veth per pod with a guarded host side.
 *
 *   attacker eth0 ── hA ┐
 *                       ├─ br0 (node's own addresses)
 *   receiver eth0 ── hB ┘
 *
 * useNetkit() replaces the attacker's veth: hA is then the primary end of a netkit pair outside the
 * bridge, has the node's own addresses, and records the frames that land.
 *
 * `attacker` sends raw frames, `receiver` records the frames that land. Bridge netfilter and
 * multicast snooping are off, so that nothing but the guard drops. Without `stacks`, no side has an
 * address or IPv6, so that the kernels send nothing themselves and every packet is the test's. Names
 * contain the pid. Disposal removes everything, also after a failure.
 */

import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, rmdirSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type { CounterCell, IfaceRecord, Mode, SpoofObject, SpoofSample, Vector, VectorModes } from '@bailiff/bpf';
import { vectorModes } from '@bailiff/bpf';
import { ETHERTYPE, ethernet, ipv4, PROTOCOL, udp } from '@bailiff/lab/frames';
import { waitFor } from '@bailiff/service/testing';
import { ensureProgram, POD_ENDS } from '../../../cni/build.ts';
import { Agent } from './guard.ts';
import {
  ATTACKER,
  BRIDGE,
  type Identity,
  identityOn,
  type Layout,
  type NetkitMode,
  NODE,
  RECEIVER,
  ZERO_MAC,
} from './layouts.ts';
import { command, commandIn, frameHelper, LineProcess } from './processes.ts';

export { ATTACKER, type Identity, type NetkitMode, NODE, RECEIVER, ZERO_MAC } from './layouts.ts';

/** Why this machine has no netkit devices, as the reason of a skip; empty: it has. */
export function noNetkit(): string {
  const probe = spawnSync('unshare', ['-n', 'ip', 'link', 'add', 'probe0', 'type', 'netkit'], { encoding: 'utf8' });
  return probe.status === 0 ? '' : `optional: no netkit on this machine: ${probe.stderr.trim()}`;
}

/** Every vector in one mode. */
export function allModes(mode: Mode, but: Partial<Record<Vector, Mode>> = {}): VectorModes {
  return { ...vectorModes(() => mode), ...but };
}

/** Metadata that a packet socket passes with a frame (virtio_net_hdr). */
export interface Offload {
  readonly gso?: { readonly size: number; readonly type: number; readonly head: number };
  /**
   * A checksum that the kernel fills in: the first byte that it covers, and its offset from there.
   */
  readonly checksum?: { readonly start: number; readonly offset: number };
}

/** Result of opening the programs. */
export type Opened = Pick<SpoofObject, 'mode' | 'reused' | 'updatedLinks' | 'offload' | 'podEnd'>;

export const GSO = { none: 0, tcpv4: 1, ufo: 3, tcpv6: 4, udp: 5 } as const;

/** The checksum of the header that GSO repeats: of UDP or TCP, without TCP options. */
function checksumOf({ type, head }: NonNullable<Offload['gso']>): NonNullable<Offload['checksum']> {
  return type === GSO.udp ? { start: head - 8, offset: 6 } : { start: head - 20, offset: 16 };
}

/** Further words of ip(8) for both ends of a netkit pair. */
export interface EndWords {
  readonly primary: string;
  readonly peer: string;
}

export interface Pod {
  readonly netns: string;
  readonly hostInterface: string;
  readonly hostMac: string;
  readonly ifindex: number;
  readonly identity: Identity;
  readonly slot: number;
  /** Absent: a veth pair. */
  readonly netkit?: NetkitMode | undefined;
}

/** `{ 'malformed drop': 3 }`: the counters, in packets. */
export type Counts = Readonly<Record<string, number>>;

const inNetns = (netns: string, ...args: string[]) => [`--net=/run/netns/${netns}`, frameHelper(), ...args];

const NO_IPV6 = ['sysctl -qw net.ipv6.conf.all.disable_ipv6=1 net.ipv6.conf.default.disable_ipv6=1'];

let instances = 0;

export interface NodeOptions {
  /** All have addresses. */
  stacks?: boolean;
  layout?: Layout;
}

export class TestNode implements AsyncDisposable {
  readonly netns: string;
  readonly pinDir: string;
  readonly bpffs: string;
  readonly layout: Layout;
  readonly #stacks: boolean;
  readonly pods: { attacker: Pod; receiver: Pod } = null as never;
  agent: Agent = null as never;
  #sender: FrameSender = null as never;
  #sniffer: LineProcess = null as never;
  readonly #landed = new Map<string, number>();
  #generation = 0;
  #fences = 0;

  constructor({ layout = BRIDGE, stacks = false }: NodeOptions = {}) {
    this.netns = `bk${process.pid}n${instances++}`;
    this.layout = layout;
    this.#stacks = stacks;
    this.bpffs = path.join(tmpdir(), `bailiff-bpffs-${this.netns}`);
    this.pinDir = path.join(this.bpffs, 'spoof');
  }

  static async start(options: NodeOptions = {}): Promise<TestNode> {
    const node = new TestNode(options);
    await node.create();
    return node;
  }

  /** Makes the node; a part of it does not stay. */
  async create(): Promise<void> {
    try {
      await this.#create(this.#stacks);
    } catch (error) {
      await this[Symbol.asyncDispose]();
      throw error;
    }
  }

  async #create(stacks: boolean): Promise<void> {
    mkdirSync(this.bpffs);
    await command('mount', '-t', 'bpf', 'bpf', this.bpffs);
    const nsenter = `--net=/run/netns/${this.netns}`;
    await command('ip', 'netns', 'add', this.netns);
    const setup = [
      'ip link set lo up',
      ...(stacks ? [] : NO_IPV6),
      'for t in arptables ip6tables iptables; do sysctl -qw net.bridge.bridge-nf-call-$t=0 2>/dev/null || true; done',
      ...this.layout.node,
      ...(stacks ? this.layout.stacks : []),
    ];
    await command('nsenter', nsenter, 'sh', '-ec', setup.join('\n'));
    const attacker = await this.#addPod('a', ATTACKER, 0, stacks);
    const receiver = await this.#addPod('b', RECEIVER, 1, stacks);
    Object.assign(this, { pods: { attacker, receiver } });

    const send = this.layout.netkit === undefined ? ['send', 'eth0'] : ['push', 'eth0', '0'];
    await this.#openSockets(send, receiver.netns, ['eth0']);
    this.agent = await Agent.start(this.netns);
  }

  /**
   * Replaces the attacker's interface by a netkit pair. Needs a node with stacks on a bridge.
   * `scrub` is that of the pod's end. `sniffed` is the protocol of the frames that are recorded; default: all that
   * have no mark.
   */
  async useNetkit(
    mode: NetkitMode,
    { scrub, sniffed, ends }: { scrub?: 'default' | 'none'; sniffed?: number; ends?: EndWords } = {},
  ): Promise<void> {
    await this.#closeSockets();
    const { attacker, receiver } = this.pods;
    const { netns, hostInterface } = attacker;
    // The kernel refuses to change a MAC in mode L3.
    const ofMode = (mac: string) => (mode === 'l2' ? `address ${mac}` : '');
    const node = [
      `ip link del ${hostInterface}`,
      'ip addr flush dev br0',
      `ip link add ${hostInterface} type netkit mode ${mode} ${ends?.primary ?? ''} peer ${scrub ? `scrub ${scrub} ` : ''}${ends?.peer ?? ''} name eth0 netns ${netns}`,
      `ip link set ${hostInterface} ${ofMode(NODE.mac)} up`,
      `ip addr add ${NODE.ipv4}/24 dev ${hostInterface}`,
      `ip addr add ${NODE.ipv6}/64 dev ${hostInterface} nodad`,
    ];
    await commandIn(this.netns, 'sh', '-ec', node.join('\n'));
    const identity = identityOn(ATTACKER, mode);
    const hostMac = mode === 'l2' ? NODE.mac : ZERO_MAC;
    const setup = [`ip link set eth0 ${ofMode(identity.mac)} up`, ...BRIDGE.pod(identity, hostMac)];
    await commandIn(netns, 'sh', '-ec', setup.join('\n'));
    const text = await command('ip', '-n', this.netns, '-j', 'link', 'show', hostInterface);
    const [{ ifindex }] = JSON.parse(text) as [{ ifindex: number }];
    Object.assign(this, { pods: { attacker: { ...attacker, ifindex, hostMac, identity, netkit: mode }, receiver } });
    const words = [hostInterface, ...(sniffed === undefined ? [] : [String(sniffed)])];
    await this.#openSockets(['push', 'eth0', '0'], this.netns, words);
    this.forgetLanded();
  }

  /** Ends the process in the attacker's namespace. */
  async closeSender(): Promise<void> {
    await this.#sender[Symbol.asyncDispose]();
  }

  openSender(): void {
    this.#sender = new FrameSender(this.pods.attacker.netns, ['send', 'eth0']);
  }

  async #openSockets(send: readonly string[], netns: string, sniff: readonly string[]): Promise<void> {
    this.#sender = new FrameSender(this.pods.attacker.netns, send);
    await new Promise<void>((resolve) => {
      this.#sniffer = new LineProcess('nsenter', inNetns(netns, 'sniff', ...sniff), (line) => {
        if (line === 'ready') resolve();
        else this.#landed.set(line, (this.#landed.get(line) ?? 0) + 1);
      });
    });
  }

  async #closeSockets(): Promise<void> {
    await this.#sender?.[Symbol.asyncDispose]();
    await this.#sniffer?.close();
  }

  async #addPod(suffix: string, of: Identity, slot: number, stacks: boolean): Promise<Pod> {
    const netns = `${this.netns}${suffix}`;
    const { netkit } = this.layout;
    const identity = identityOn(of, netkit);
    const hostInterface = this.layout.hostInterface(suffix);
    const type = netkit === undefined ? ['veth'] : ['netkit', 'mode', netkit];
    const pair = ['type', ...type, 'peer', 'name', 'eth0', 'netns', netns];
    const hostMac = this.layout.hostMac === undefined ? [] : ['address', this.layout.hostMac];
    await command('ip', 'netns', 'add', netns);
    await command('ip', '-n', this.netns, 'link', 'add', hostInterface, ...hostMac, ...pair);
    await commandIn(this.netns, 'sh', '-ec', this.layout.host(hostInterface, identity).join('\n'));
    const text = await command('ip', '-n', this.netns, '-j', 'link', 'show', hostInterface);
    const [{ ifindex, address }] = JSON.parse(text) as [{ ifindex: number; address: string }];
    const setup = [
      ...(stacks ? [] : NO_IPV6),
      'ip link set lo up',
      // The kernel refuses to change a MAC in mode L3.
      `ip link set eth0 ${netkit === 'l3' ? '' : `address ${identity.mac}`} up`,
      ...(stacks ? this.layout.pod(identity, address) : []),
    ];
    await commandIn(netns, 'sh', '-ec', setup.join('\n'));
    return { netns, hostInterface, hostMac: address, ifindex, identity, slot, netkit };
  }

  /** The record of a pod as the collector would program it; `change` overrides fields. */
  record(pod: Pod, generation: number, change: Partial<IfaceRecord> = {}): IfaceRecord {
    const { mac, ipv4: address4, ipv6: address6 } = pod.identity;
    return {
      generation,
      slot: pod.slot,
      state: 'programmed' as const,
      mac,
      ipv4: address4,
      ipv6: address6,
      hasMore: false,
      modes: allModes('enforce'),
      sampling: null,
      quarantineUntilNs: 0n,
      auditUntilNs: 0n,
      ...(pod.netkit === undefined ? {} : { netkit: true }),
      ...change,
    };
  }

  /** Opens the programs, unless they are open. */
  async open(options: Record<string, unknown> = {}): Promise<Opened> {
    return this.agent.call('own.open', { pinDir: this.pinDir, maxInterfaces: 16, ...options });
  }

  /** Detaches and removes everything, so that the next test starts on a clean node. */
  async reset(): Promise<void> {
    await this.agent.call('own.reset');
    await this.agent.call('bpf.detachAll', this.pinDir);
    this.forgetLanded();
  }

  /** Kills the process that holds the programs and starts another that holds none. */
  async restartAgent(): Promise<void> {
    await this.agent.kill();
    this.agent = await Agent.start(this.netns);
  }

  /** Guards a pod under a new generation. @returns its handle */
  async guard(pod: Pod, change: Partial<IfaceRecord> = {}): Promise<Guarded> {
    const key = { ifindex: pod.ifindex, generation: ++this.#generation };
    const record = this.record(pod, key.generation, change);
    await this.agent.call('object.maps.counters.create', key);
    await this.agent.call('object.maps.ifaces.set', pod.ifindex, record);
    await this.agent.call('object.attach', key);
    return new Guarded(this, pod, key, record);
  }

  /** Attaches the programs of the pods' ends to all guarded interfaces, as on a node. */
  async guardPodEnds(): Promise<void> {
    await commandIn(this.netns, ensureProgram(POD_ENDS), '--pins', this.pinDir, '--once');
  }

  /**
   * Sends from the attacker; resolves when the kernel has accepted all of them. Rejects with the
   * errno.
   */
  send(frame: Buffer, count = 1, offload: Offload = {}): Promise<void> {
    return this.#sender.send(frame, count, offload);
  }

  /** How often exactly this frame arrived at the receiver so far. */
  landed(frame: Buffer): number {
    return this.#landed.get(frame.toString('hex')) ?? 0;
  }

  /** How many frames arrived so far that contain these bytes. */
  landedWith(bytes: Buffer): number {
    const part = bytes.toString('hex');
    return [...this.#landed].reduce((sum, [hex, count]) => (hex.includes(part) ? sum + count : sum), 0);
  }

  /** From now on the kernel fills in checksums before a frame leaves the node for this pod. */
  async fillChecksums(pod: Pod): Promise<void> {
    await commandIn(this.netns, frameHelper(), 'fill', pod.hostInterface);
  }

  forgetLanded(): void {
    this.#landed.clear();
  }

  /** All frames that arrived, as hex. */
  allLanded(): string[] {
    return [...this.#landed.keys()];
  }

  /**
   * Sends a legal packet after the others and waits for it: a frame that has not landed by then
   * never will.
   */
  async fence(): Promise<void> {
    const addresses = { source: ATTACKER.ipv4, destination: RECEIVER.ipv4 };
    const payload = Buffer.from(`fence ${++this.#fences}`);
    const packet = ipv4({ ...addresses, protocol: PROTOCOL.udp }, udp(40_000, 40_000, payload, addresses));
    const { mac } = this.pods.attacker.identity;
    const frame = ethernet({ source: mac, destination: RECEIVER.mac, type: ETHERTYPE.ipv4 }, packet);
    await this.send(frame);
    await waitFor(() => this.landed(frame), { what: `fence ${this.#fences}`, until: (count) => count === 1 });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#closeSockets();
    await this.agent?.call('bpf.detachAll', this.pinDir).catch(() => undefined);
    await this.agent?.close();
    for (const netns of [`${this.netns}a`, `${this.netns}b`, this.netns]) {
      await command('ip', 'netns', 'delete', netns).catch(() => undefined);
    }
    await command('umount', this.bpffs).catch(() => undefined);
    if (existsSync(this.bpffs)) rmdirSync(this.bpffs);
  }
}

/** Raw frames through a packet socket in a namespace, by frames.c. */
export class FrameSender implements AsyncDisposable {
  readonly #process: LineProcess;
  readonly #answers: ((line: string) => void)[] = [];

  constructor(netns: string, args: readonly string[]) {
    this.#process = new LineProcess('nsenter', inNetns(netns, ...args), (line) => this.#answers.shift()?.(line));
  }

  /** Resolves when the kernel has accepted all of them. Rejects with the errno. */
  async send(frame: Buffer, count = 1, { gso, checksum }: Offload = {}): Promise<void> {
    const { size, type, head } = gso ?? { size: 0, type: 0, head: 0 };
    const { start, offset } = checksum ?? (gso === undefined ? { start: 0, offset: 0 } : checksumOf(gso));
    const answer = new Promise<string>((resolve) => this.#answers.push(resolve));
    this.#process.write(`${count} ${size} ${type} ${head} ${start} ${offset} ${frame.toString('hex')}`);
    const line = await answer;
    if (line !== 'ok') throw new Error(`send: ${line} for ${frame.length} bytes`);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#process.close();
  }
}

/** A guarded pod: its counters and samples. Disposal ends the guard. */
export class Guarded implements AsyncDisposable {
  readonly node: TestNode;
  readonly pod: Pod;
  readonly key: { readonly ifindex: number; readonly generation: number };
  readonly record: IfaceRecord;

  constructor(node: TestNode, pod: Pod, key: { ifindex: number; generation: number }, record: IfaceRecord) {
    this.node = node;
    this.pod = pod;
    this.key = key;
    this.record = record;
  }

  /** Replaces the record, as user space does for every change. */
  async update(change: Partial<IfaceRecord>): Promise<void> {
    await this.node.agent.call('object.maps.ifaces.set', this.pod.ifindex, { ...this.record, ...change });
  }

  cells(): Promise<CounterCell[]> {
    return this.node.agent.call('object.maps.counters.read', this.key);
  }

  async counts(): Promise<Counts> {
    const cells = await this.cells();
    return Object.fromEntries(cells.map(({ vector, action, packets }) => [`${vector} ${action}`, Number(packets)]));
  }

  /** Waits until the counters have exactly these values. */
  counted(wanted: Counts): Promise<Counts> {
    const text = JSON.stringify(Object.entries(wanted).sort());
    return waitFor(() => this.counts(), {
      what: 'counters',
      until: (counts) => JSON.stringify(Object.entries(counts).sort()) === text,
    });
  }

  async samples(): Promise<SpoofSample[]> {
    const samples = await this.node.agent.call<SpoofSample[]>('own.drain');
    return samples.filter(({ ifindex, generation }) => {
      return ifindex === this.key.ifindex && generation === this.key.generation;
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.node.agent.call('object.detach', this.key);
    await this.node.agent.call('object.maps.ifaces.delete', this.pod.ifindex);
    await this.node.agent.call('object.maps.counters.delete', this.key);
  }
}
