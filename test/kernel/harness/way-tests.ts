/**
 * Tests of ways.ts, one for each way and kind of link. No frame lands from a guarded pod, and each is
 * counted. Without the guard it lands, and a marked one does on a veth that is guarded at its host side
 * alone: those are the controls.
 */
import { ETHERTYPE } from '@bailiff/lab/frames';
import { waitFor } from '@bailiff/service/testing';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { FORGED } from './ipv4.ts';
import { FrameSender, type NetkitMode, noNetkit, type Pod, TestNode } from './node.ts';
import { commandIn } from './processes.ts';
import { cleanup, datagramFrom, MARKER, TIMES, WAYS, type Way } from './ways.ts';

export interface Link {
  readonly name: string;
  /** Mode of the programs. Default: tcx. */
  readonly mode?: 'clsact';
  /** Default: a veth pair. */
  readonly netkit?: NetkitMode;
  /** Protocol of the frames that the node records. Default: all that have no mark. */
  readonly sniffed?: number;
  /** Default: all. */
  readonly has?: (name: string, way: Way) => boolean;
}

/** Marked frames pass the host side under clsact (guard-bypass.test.ts). */
export const VETHS: readonly Link[] = [
  { name: 'veth' },
  { name: 'veth under clsact', mode: 'clsact', has: (_name, { isMarked }) => !isMarked },
];
/**
 * The guard is one of the programs of the pair, which the kernel runs on marked frames too. With traffic control, it
 * skips packet sockets of all protocols at the host side, so the node records marked frames by a socket of IPv4.
 */
export const NETKITS: readonly Link[] = (['l2', 'l3'] as const).flatMap((netkit) => [
  { name: `netkit in mode ${netkit}`, netkit, has: (_name, { isMarked }) => !isMarked },
  {
    ...{ name: `netkit in mode ${netkit}, marked frames`, netkit, sniffed: ETHERTYPE.ipv4 },
    has: (_name, { isMarked }) => isMarked === true,
  },
]);

/** A node whose attacker has such a link. */
async function startNode({ mode, netkit, sniffed }: Link): Promise<{ node: TestNode; lacks: string }> {
  if (netkit !== undefined && noNetkit() !== '') return { node: null as never, lacks: noNetkit() };
  const node = await TestNode.start({ stacks: netkit !== undefined });
  const { podEnd } = await node.open(mode === undefined ? {} : { mode });
  if (netkit !== undefined) {
    await node.useNetkit(netkit, sniffed === undefined ? {} : { sniffed });
    // What the pod's kernel sends by itself would count too.
    await commandIn(node.pods.attacker.netns, 'sysctl', '-qw', 'net.ipv6.conf.all.disable_ipv6=1');
    await commandIn(node.pods.attacker.netns, 'sysctl', '-qw', 'net.ipv6.conf.default.disable_ipv6=1');
  } else if (mode === undefined && !podEnd.available)
    return { node, lacks: `optional: this kernel lacks guard-bypass: ${podEnd.hint}` };
  return { node, lacks: '' };
}

/** Sends the frame of a way some times, and again in each call. */
async function senderOf({ device = 'eth0', send }: Way, pod: Pod, frame: Buffer) {
  const sender = send === undefined ? new FrameSender(pod.netns, ['push', device, '0']) : null;
  return {
    send: async () => (sender === null ? send?.(pod, frame) : sender.send(frame, TIMES)),
    [Symbol.asyncDispose]: async () => sender?.[Symbol.asyncDispose](),
  };
}

/** Defines the tests. @param isWanted by name */
export function testWays(links: readonly Link[], isWanted: (name: string) => boolean): void {
  describe.each(links)('ways to the guard of $name', (link) => {
    const { netkit, has = () => true } = link;
    const rows = Object.entries(WAYS).filter(([name, way]) => isWanted(name) && has(name, way));
    if (rows.length === 0) return;
    let node: TestNode;
    let lacks = '';
    const inPod = (lines: readonly string[]) => commandIn(node.pods.attacker.netns, 'sh', '-ec', lines.join('\n'));
    beforeAll(async () => {
      ({ node, lacks } = await startNode(link));
    });
    beforeEach((context) => {
      if (lacks !== '') context.skip(lacks);
    });
    afterAll(() => node?.[Symbol.asyncDispose]());

    it.for(rows)('%s', async ([_name, way], context) => {
      const { attacker } = node.pods;
      const { mac } = attacker.identity;
      // The kernel refuses to change a MAC in mode L3.
      const lacking = await inPod([...cleanup(netkit === 'l3' ? null : mac), ...way.setup]).then(
        () => '',
        ({ stderr }: { stderr: string }) => stderr.trim(),
      );
      if (lacking !== '') context.skip(`optional: not possible here: ${lacking}`);
      await using sender = await senderOf(way, attacker, datagramFrom(way.source ?? FORGED, mac));
      node.forgetLanded();
      const lands = (times: number, what: string) =>
        waitFor(() => node.landedWith(MARKER), { what, until: (landed) => landed === times });
      await sender.send();
      await lands(TIMES, 'control: frames of an unguarded pod');

      await using guarded = await node.guard(attacker);
      const isPast = way.isMarked === true && netkit === undefined;
      if (isPast) {
        await sender.send();
        await lands(2 * TIMES, 'control: marked frames, past the host side');
        expect(await guarded.counts()).toEqual({});
        await node.guardPodEnds();
      }
      node.forgetLanded();
      await sender.send();
      const judged = (netkit === undefined ? undefined : way.onNetkit) ?? way.vector ?? 'ipv4-source';
      await guarded.counted({ [`${isPast ? 'guard-bypass' : judged} drop`]: TIMES });
      expect(node.landedWith(MARKER)).toBe(0);
    });
  });
}
