/**
 * A pod on a netkit pair that sends frames past the programs of the pair: a program of its own at a link
 * inside redirects them to the host side (bpf_redirect_peer). The node counts those that reach its socket.
 */
import { ETHERTYPE, ethernet, ipv4, PROTOCOL, udp } from '@bailiff/lab/frames';
import { waitFor } from '@bailiff/service/testing';
import { Agent } from './guard.ts';
import { ATTACKER, FrameSender, type NetkitMode, NODE, type TestNode, ZERO_MAC } from './node.ts';
import { command, commandIn, foreignObject } from './processes.ts';

/** Frames of one call of `redirect`. */
export const FRAMES = 20;
const FORGED = '10.77.0.99';
const PORT = 4444;

export class RedirectingPod implements AsyncDisposable {
  readonly #node: TestNode;
  readonly #mode: NetkitMode;
  readonly #agent: Agent;
  readonly #sender: FrameSender;
  #texts = 0;

  private constructor(node: TestNode, mode: NetkitMode, agent: Agent) {
    this.#node = node;
    this.#mode = mode;
    this.#agent = agent;
    this.#sender = new FrameSender(node.pods.attacker.netns, ['send', 'out0']);
  }

  /** Replaces the attacker's interface. The node has stacks, and no socket on the port. */
  static async start(node: TestNode, mode: NetkitMode): Promise<RedirectingPod> {
    await node.useNetkit(mode);
    const { netns } = node.pods.attacker;
    // `in0` receives what the pod sends to `out0`. Without IPv6 the pod's kernel sends nothing by itself.
    const inside = [
      `ip link show in0 >/dev/null 2>&1 || ip link add in0 address ${NODE.mac} type veth peer name out0`,
      'sysctl -qw net.ipv6.conf.eth0.disable_ipv6=1 net.ipv6.conf.in0.disable_ipv6=1 net.ipv6.conf.out0.disable_ipv6=1',
      'ip link set in0 up',
      'ip link set out0 up',
    ];
    await commandIn(netns, 'sh', '-ec', inside.join('\n'));
    return new RedirectingPod(node, mode, await Agent.start(netns));
  }

  /** For the node's socket. */
  frame(source: string, text: string, destination: string = this.#mode === 'l2' ? NODE.mac : ZERO_MAC): Buffer {
    const parties = { source, destination: NODE.ipv4 };
    const datagram = udp(4000, PORT, Buffer.from(text), parties);
    const mac = this.#mode === 'l2' ? ATTACKER.mac : ZERO_MAC;
    return ethernet(
      { source: mac, destination, type: ETHERTYPE.ipv4 },
      ipv4({ ...parties, protocol: PROTOCOL.udp }, datagram),
    );
  }

  /** Datagrams that the node's socket received with this text, after all that were sent before. */
  async landed(text: string): Promise<number> {
    const fence = `fence ${this.#mode} ${++this.#texts}`;
    await this.#node.send(this.frame(ATTACKER.ipv4, fence));
    const received = () => this.#node.agent.call<string[]>('own.datagrams');
    const all = await waitFor(received, { what: fence, until: (texts) => texts.includes(fence) });
    return all.filter((one) => one === text).length;
  }

  /** Sends forged frames past eth0. @returns how many of them land */
  async redirect(): Promise<number> {
    const { netns } = this.#node.pods.attacker;
    const text = `redirected ${this.#mode} ${++this.#texts}`;
    const [from, to] = [await ifindexOf(netns, 'in0'), await ifindexOf(netns, 'eth0')];
    const words = [foreignObject(), from, 'ingress', 'head', 'redirect_peer', to];
    const attached = await this.#agent.call<number>('own.attachForeign', ...words);
    // The host side keeps the packet's type, which `in0` derives from the MAC.
    await this.#sender.send(this.frame(FORGED, text, NODE.mac), FRAMES);
    await waitFor(() => this.#agent.call<bigint>('own.counted', attached), {
      what: 'every frame in the program',
      until: (count) => count >= BigInt(FRAMES),
    });
    await this.#agent.call('own.detachForeign');
    return this.landed(text);
  }

  /** A socket of the node, for `landed`. */
  static listen(node: TestNode): Promise<void> {
    return node.agent.call('own.bindUdp', PORT);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#sender[Symbol.asyncDispose]();
    await this.#agent.close();
  }
}

async function ifindexOf(netns: string, device: string): Promise<number> {
  return JSON.parse(await command('ip', '-n', netns, '-j', 'link', 'show', device))[0].ifindex;
}
