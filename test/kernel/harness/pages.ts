/**
 * Frames whose bytes change after they were sent: pages.c sends them from pages that it writes to
 * again. Also the places where a pod turns datagrams into such frames, and where a node delays them.
 */
import { release } from 'node:os';
import { createInterface } from 'node:readline';
import { waitFor } from '@bailiff/service/testing';
import { launch, type RunningProcess } from '../../support/process.ts';
import type { TestNode } from './node.ts';
import { commandIn, outerObject, pageHelper } from './processes.ts';

/** Senders of datagrams whose payload stays in pages of the sender. */
export const SENDERS = ['splice', 'sendfile', 'zerocopy', 'uring'] as const;
/** Before Linux 6.5, splice copies into a socket. */
const [MAJOR = 0, MINOR = 0] = release().split('.').map(Number);
export const SPLICE_COPIES = MAJOR < 6 || (MAJOR === 6 && MINOR < 5);
/** A sender that leaves its pages in the frame. */
export const SHARING = SPLICE_COPIES ? 'zerocopy' : 'splice';
/** Senders of whole frames. */
export const FRAME_SENDERS = ['packet', 'ring'] as const;
export type Sender = 'write' | (typeof SENDERS)[number] | (typeof FRAME_SENDERS)[number];

/** Destination port of datagrams whose payload leaves as a frame (outer.bpf.c). */
export const CARRIER_PORT = 9999;
/** Frames in flight at once, each in a page of its own. */
export const PAGES = 24;

/** A frame, or a payload, and the one byte of it that changes. */
export interface Change {
  readonly sent: Buffer;
  readonly later: Buffer;
}

/** The same bytes but one, so that no mixture of both exists. */
export function change(sent: Buffer, at: number, byte: number): Change {
  const later = Buffer.from(sent);
  later[at] = byte;
  return { sent, later };
}

export interface Route {
  readonly interface: string;
  readonly ports: readonly [source: number, destination: number];
}

/** The pod's own interface, with outer.bpf.c. */
export const CARRIER: Route = { interface: 'eth0', ports: [CARRIER_PORT, CARRIER_PORT] };

export class PageSender implements AsyncDisposable {
  readonly #process: RunningProcess;
  readonly #lines: AsyncIterator<string>;

  private constructor(netns: string, sender: Sender, route: Route) {
    const args = [`--net=/run/netns/${netns}`, pageHelper(), sender, route.interface, ...route.ports.map(String)];
    this.#process = launch('nsenter', args, { stdio: ['pipe', 'pipe', 'inherit'], maxOutput: 0 });
    this.#lines = createInterface({ input: this.#process.child.stdout! })[Symbol.asyncIterator]();
  }

  async #line(): Promise<string> {
    const { value, done } = await this.#lines.next();
    return done ? 'ended' : value;
  }

  /** @returns the sender, or what the kernel lacks */
  static async open(netns: string, sender: Sender, route: Route = CARRIER): Promise<PageSender | string> {
    const opened = new PageSender(netns, sender, route);
    const line = await opened.#line();
    if (line === 'ready') return opened;
    await opened[Symbol.asyncDispose]();
    if (!line.startsWith('lacking ')) throw new Error(`pages ${sender}: ${line}`);
    return line;
  }

  /**
   * Sends the frame so often. @param mode after: the page changes once the kernel has accepted the
   * frame; race: it changes all the time
   */
  async send({ sent, later }: Change, mode: 'after' | 'race', count = PAGES): Promise<void> {
    this.#process.child.stdin!.write(`${mode} ${count} ${sent.toString('hex')} ${later.toString('hex')}\n`);
    const line = await this.#line();
    if (line !== 'ok') throw new Error(`pages: ${line}`);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#process.kill();
  }
}

/** In the pod: datagrams to CARRIER_PORT leave as the frames that they carry. */
export function carryFrames(netns: string): Promise<string> {
  const commands = [
    'tc qdisc add dev eth0 clsact',
    `tc filter add dev eth0 egress bpf direct-action object-file ${outerObject()} section tc`,
  ];
  return commandIn(netns, 'sh', '-ec', commands.join('\n'));
}

/** In the pod: frames that arrive through VXLAN on loopback leave by eth0. */
export const VXLAN: Route = { interface: 'lo', ports: [CARRIER_PORT, 4789] };
export function tunnelFrames(netns: string): Promise<string> {
  const commands = [
    'ip link add vx0 type vxlan id 1 local 127.0.0.1 dstport 4789 nolearning',
    'ip link set vx0 up',
    'tc qdisc add dev vx0 clsact',
    'tc filter add dev vx0 ingress protocol all u32 match u32 0 0 action mirred egress redirect dev eth0',
  ];
  return commandIn(netns, 'sh', '-ec', commands.join('\n'));
}

/** A frame waits longer than the sender needs to change its page. A long run needs a higher rate. */
const SLOW = `tbf rate ${process.env['BAILIFF_RACE_FRAMES'] === undefined ? '500kbit' : '10mbit'} burst 400 limit 8mb`;

/** The node shapes what the interface sends to its pod. */
export const delayToPod = (node: TestNode, hostInterface: string): Promise<string> =>
  commandIn(node.netns, 'tc', ...`qdisc add dev ${hostInterface} root ${SLOW}`.split(' '));

/** The node shapes what the pod sends, as the CNI plugin `bandwidth` does. */
export function delayFromPod(node: TestNode, hostInterface: string): Promise<string> {
  const commands = [
    'ip link add ifb0 type ifb',
    'ip link set ifb0 up',
    `tc qdisc add dev ifb0 root ${SLOW}`,
    // The plugin uses an ingress qdisc, beside which kernels without tcx have no quarantine.
    `tc qdisc add dev ${hostInterface} clsact`,
    `tc filter add dev ${hostInterface} ingress protocol all u32 match u32 0 0 action mirred egress redirect dev ifb0`,
  ];
  return commandIn(node.netns, 'sh', '-ec', commands.join('\n'));
}

/** How many of the frames landed as they were sent, landed changed, or were dropped. */
export interface Outcome {
  readonly kept: number;
  readonly changed: number;
  readonly dropped: number;
}

/** Waits until each of `count` frames has landed or was dropped. */
export function outcomeOf(node: TestNode, dropped: () => Promise<number>, wanted: Change, count: number) {
  return waitFor(
    async (): Promise<Outcome> => ({
      dropped: await dropped(),
      kept: node.landedWith(wanted.sent),
      changed: node.landedWith(wanted.later),
    }),
    { what: `${count} frames`, until: ({ kept, changed, dropped }) => kept + changed + dropped === count },
  );
}
