// Frames in pages that the pod writes to while they are under way: what was checked is what lands.
// Unguarded they land changed, because the node delays them and the kernel copies nothing.
import { parseMac, type Vector } from '@bailiff/bpf';
import { dhcp, vxlan } from '@bailiff/lab/frames';
import { waitFor } from '@bailiff/service/testing';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { ATTACKER, allModes, type Guarded, noNetkit, TestNode, ZERO_MAC } from './harness/node.ts';
import { ALLOWED, KINDS, type Kind } from './harness/page-kinds.ts';
import {
  type Change,
  carryFrames,
  change,
  delayFromPod,
  delayToPod,
  FRAME_SENDERS,
  type Outcome,
  outcomeOf,
  PAGES,
  PageSender,
  type Route,
  SENDERS,
  type Sender,
  SHARING,
  SPLICE_COPIES,
  tunnelFrames,
  VXLAN,
} from './harness/pages.ts';
import { commandIn, xdpHelper } from './harness/processes.ts';

/** Frames that race with their change. */
const RACED = Number(process.env['BAILIFF_RACE_FRAMES'] ?? 100);
const PRINTS = process.env['BAILIFF_RACE_FRAMES'] !== undefined;
/** A DHCP request passes in audit only. */
const MODES = allModes('enforce', { 'dhcp-client': 'audit' });
const TRIES = 10;

/** A node, and senders in its attacker, which are opened when first needed. */
class Rig implements AsyncDisposable {
  readonly node: TestNode;
  readonly #senders = new Map<string, PageSender | string>();

  constructor(node: TestNode) {
    this.node = node;
  }

  /** @returns the sender, or what the kernel lacks */
  async sender(name: Sender, route?: Route): Promise<PageSender | string> {
    const key = JSON.stringify([name, route]);
    const sender = this.#senders.get(key) ?? (await PageSender.open(this.node.pods.attacker.netns, name, route));
    this.#senders.set(key, sender);
    return sender;
  }

  /** Sends, and waits until each frame has landed or is counted. */
  async send(sender: PageSender, kind: Kind, mode: 'after' | 'race', guarded: Guarded | null): Promise<Outcome> {
    const { vector, change: wanted, wrap = (bytes: Buffer) => bytes } = kind;
    const count = mode === 'race' ? RACED : PAGES;
    const before = await droppedOf(guarded, vector);
    this.node.forgetLanded();
    await sender.send({ sent: wrap(wanted.sent), later: wrap(wanted.later) }, mode, count);
    return outcomeOf(this.node, async () => (await droppedOf(guarded, vector)) - before, wanted, count);
  }

  /** Sends until a frame had this outcome: the machine may delay the guard until after the change. */
  async #sendUntil(wanted: keyof Outcome, ...args: Parameters<Rig['send']>): Promise<Outcome> {
    for (let tries = 1; ; tries += 1) {
      const outcome = await this.send(...args);
      if (outcome[wanted] > 0 || tries === TRIES) return outcome;
    }
  }

  /** Frames of one kind land changed unguarded, and never guarded. @returns what the kernel lacks */
  async show(kind: Kind, name: Sender, route?: Route): Promise<string | null> {
    if (SPLICE_COPIES && (name === 'splice' || name === 'sendfile'))
      return `optional: before Linux 6.5, ${name} copies`;
    const [sender, copier] = [await this.sender(name, route), await this.sender('write', route)];
    if (typeof sender === 'string' || typeof copier === 'string') return `optional: ${sender}`;
    const unguarded = await this.#sendUntil('changed', sender, kind, 'after', null);
    expect(unguarded.changed, 'control: changed frames land unguarded').toBeGreaterThan(0);

    await using guarded = await this.node.guard(this.node.pods.attacker, { modes: MODES, ...kind.record });
    const copied = await this.send(copier, kind, 'after', guarded);
    expect(copied, 'control: the kernel copied').toEqual({ kept: PAGES, changed: 0, dropped: 0 });
    const after = await this.#sendUntil('kept', sender, kind, 'after', guarded);
    const raced = await this.send(sender, kind, 'race', guarded);
    expect([after.changed, raced.changed], 'no changed frame lands').toEqual([0, 0]);
    expect(after.kept, 'frames were checked before they changed').toBeGreaterThan(0);
    if (PRINTS) process.stdout.write(`${JSON.stringify({ kind: kind.name, name, unguarded, after, raced })}\n`);
    return null;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const sender of this.#senders.values()) if (typeof sender !== 'string') await sender[Symbol.asyncDispose]();
    await this.node[Symbol.asyncDispose]();
  }
}

const droppedOf = async (guarded: Guarded | null, vector: Vector): Promise<number> =>
  (await guarded?.counts())?.[`${vector} drop`] ?? 0;

const [ARP] = KINDS as [Kind];
const named = (name: string): Kind => KINDS.find((kind) => kind.name === name) as Kind;

describe('pages that change', () => {
  let rig: Rig;
  beforeAll(async () => {
    const node = await TestNode.start();
    rig = new Rig(node);
    await node.open();
    await node.agent.call('object.maps.tunnelPorts.replace', [{ port: 4789, kind: 'vxlan' }]);
    await node.agent.call('object.maps.allowedCidrs.replace', [`${ALLOWED}/32`]);
    await carryFrames(node.pods.attacker.netns);
    await tunnelFrames(node.pods.attacker.netns);
    await delayFromPod(node, node.pods.attacker.hostInterface);
  });
  afterAll(() => rig?.[Symbol.asyncDispose]());

  it.each(KINDS)('$name', async (kind) => {
    expect(await rig.show(kind, SHARING)).toBeNull();
  });

  it.for(SENDERS)('%s - ARP of the pod, then of the gateway', async (name, context) => {
    const lacking = await rig.show(ARP, name);
    if (lacking !== null) context.skip(lacking);
  });

  // It leaves the body of ARP and of ICMPv6 there; the kernel copies IP and UDP headers.
  it('vxlan - frames that a tunnel in the pod leaves in pages', async (context) => {
    for (const kind of KINDS.slice(0, 3)) {
      const lacking = await rig.show({ ...kind, wrap: vxlan }, 'splice', VXLAN);
      if (lacking !== null) context.skip(lacking);
    }
  });

  it.for(['splice', 'zerocopy'] as const)('%s - the hardware address of a DHCP request', async (name, context) => {
    const kind: Kind = { name: 'DHCP', vector: 'ipv4-source', change: change(dhcp(ATTACKER.mac), 33, 0x0b) };
    const lacking = await rig.show(kind, name, { interface: 'eth0', ports: [68, 67] });
    if (lacking !== null) context.skip(lacking);
  });

  it.each(FRAME_SENDERS)('%s - the kernel copies what it sends', async (name) => {
    const sender = (await rig.sender(name)) as PageSender;
    expect(await rig.send(sender, ARP, 'after', null)).toEqual({ kept: PAGES, changed: 0, dropped: 0 });
  });

  it('af_xdp - the kernel copies what it sends, and has no other mode for the interface', async () => {
    const { node } = rig;
    const { sent, later } = ARP.change;
    const xdp = (...args: string[]) => commandIn(node.pods.attacker.netns, xdpHelper(), 'eth0', ...args);
    node.forgetLanded();
    await xdp('8', '0', '0', sent.toString('hex'), later.toString('hex'));
    await node.fence();
    expect([node.landed(sent), node.landed(later)]).toEqual([8, 0]);
    // The kernel frees the queue of the former socket later: until then it is busy.
    const refusal = () => xdp('0', '0', '0', sent.toString('hex')).then(String, (error: Error) => error.message);
    await waitFor(refusal, { what: 'a refusal', until: (message) => /Operation not supported/.test(message) });
  });

  it('fast path - the payload of a datagram may change after it was checked, its headers cannot', async () => {
    const { node } = rig;
    const { attacker } = node.pods;
    await commandIn(attacker.netns, 'ip', 'addr', 'add', `${ATTACKER.ipv4}/32`, 'dev', 'eth0');
    const payload = change(Buffer.from('as it was sent'), 0, 0x41);
    await using guarded = await node.guard(attacker);
    const sender = (await rig.sender(SHARING, { interface: 'eth0', ports: [4000, 9] })) as PageSender;
    const kind: Kind = { name: 'payload', vector: 'ipv4-source', change: payload };
    const { changed } = await rig.send(sender, kind, 'after', guarded);
    expect(changed).toBeGreaterThan(0);
    const heads = node.allLanded().map((hex) => hex.slice(2 * 26, 2 * 38));
    expect(new Set(heads), 'addresses and ports').toEqual(new Set(['0a4d000affffffff0fa00009']));
    expect(await guarded.counts()).toEqual({});
  });
});

describe('pages that change under clsact, delayed on the way to the receiver', () => {
  let rig: Rig;
  beforeAll(async () => {
    const node = await TestNode.start();
    rig = new Rig(node);
    await node.open({ mode: 'clsact' });
    await carryFrames(node.pods.attacker.netns);
    await delayToPod(node, node.pods.receiver.hostInterface);
  });
  afterAll(() => rig?.[Symbol.asyncDispose]());

  it.each(['an IPv4 source', 'a neighbour advertisement of the pod, then of another pod'])('%s', async (name) => {
    expect(await rig.show(named(name), SHARING)).toBeNull();
  });
});

const why = noNetkit();

/** The receiver is a packet socket of the node, which reads a frame some time after it arrived. */
describe.each([
  ['l2', ATTACKER.mac, 'a neighbour advertisement of the pod, then of another pod'],
  ['l3', ZERO_MAC, 'an IPv4 source'],
] as const)('pages that change on netkit in mode %s', (mode, mac, name) => {
  let rig: Rig;
  beforeAll(async () => {
    if (why !== '') return;
    const node = await TestNode.start({ stacks: true });
    rig = new Rig(node);
    await node.useNetkit(mode);
    await node.open();
    await carryFrames(node.pods.attacker.netns);
  });
  beforeEach((context) => {
    if (why !== '') context.skip(why);
  });
  afterAll(() => rig?.[Symbol.asyncDispose]());

  it('are copied before they are checked', async () => {
    const kind = named(name);
    const of = (frame: Buffer): Buffer => Buffer.concat([frame.subarray(0, 6), parseMac(mac), frame.subarray(12)]);
    const wanted: Change = { sent: of(kind.change.sent), later: of(kind.change.later) };
    expect(await rig.show({ ...kind, change: wanted }, 'splice')).toBeNull();
  });
});
