// A program of the pod that sends frames past the programs of a netkit pair (bpf_redirect_peer): they are
// dropped and counted. Without the program that finds them they land, which is the control, and the
// counters of interface and programs differ by their number, although GRO is on. Needs Linux 6.7.
import { mkdirSync, rmdirSync, unlinkSync } from 'node:fs';
import path from 'node:path';
import { BpfMap } from '@bailiff/bpf';
import { waitFor } from '@bailiff/service/testing';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { ATTACKER, type Guarded, noNetkit, TestNode } from './harness/node.ts';
import { FRAMES, RedirectingPod } from './harness/redirecting-pod.ts';
import { unjudgedOf } from './harness/unjudged.ts';

const why = noNetkit();
/** Of struct redirection: device and time, whose low bits are those of the interface index. */
const NOTE_BYTES = 16;
const INDEX_BITS = 16;

let node: TestNode;
beforeAll(async () => {
  if (why !== '') return;
  node = await TestNode.start({ stacks: true });
  await node.open();
  await RedirectingPod.listen(node);
});
afterAll(() => node?.[Symbol.asyncDispose]());

describe.each(['l2', 'l3'] as const)('netkit in mode %s', (mode) => {
  let guarded: Guarded;
  let pod: RedirectingPod;
  /** Note of a frame that went to the host side before spoof_redirected was attached there. */
  let left: { device: bigint; at: bigint };
  beforeAll(async () => {
    if (why !== '') return;
    pod = await RedirectingPod.start(node, mode);
    await pod.redirect();
    left = latestNote();
    guarded = await node.guard(node.pods.attacker);
  });
  afterAll(async () => {
    await pod?.[Symbol.asyncDispose]();
    await guarded?.[Symbol.asyncDispose]();
  });
  beforeEach((context) => {
    if (why !== '') context.skip(why);
  });

  const notes = () => BpfMap.openPinned(path.join(node.pinDir, 'maps/redirections'));
  const latestNote = () => {
    using map = notes();
    const value = map.get(Buffer.alloc(4))!;
    const all = Array.from({ length: value.length / NOTE_BYTES }, (_, cpu) => ({
      device: value.readBigUInt64LE(cpu * NOTE_BYTES),
      at: value.readBigUInt64LE(cpu * NOTE_BYTES + 8),
    }));
    return all.reduce((latest, one) => (one.at > latest.at ? one : latest));
  };
  /** On all processors, as if the kernel had dropped the frame after it. */
  const leaveNote = (device: bigint, ifindex: number) => {
    using map = notes();
    const at = ((process.hrtime.bigint() >> BigInt(INDEX_BITS)) - 1n) << BigInt(INDEX_BITS);
    const value = map.get(Buffer.alloc(4))!;
    for (let offset = 0; offset < value.length; offset += NOTE_BYTES) {
      value.writeBigUInt64LE(device, offset);
      value.writeBigUInt64LE(at | BigInt.asUintN(INDEX_BITS, BigInt(ifindex)), offset + 8);
    }
    map.set(Buffer.alloc(4), value);
  };

  const unjudged = () => unjudgedOf(guarded);
  const drops = async (vector: string) => (await guarded.counts())[`${vector} drop`] ?? 0;

  it('redirected frames land without the program that finds them, as the difference of the counters; with it they are dropped and counted', async () => {
    expect(await node.agent.call('bpf.isGroOn', node.pods.attacker.hostInterface)).toBe(true);
    const pin = path.join(node.pinDir, 'programs/note_peer-link');
    unlinkSync(pin);
    mkdirSync(pin); // nothing attaches it again
    const passes = async () => (await pod.redirect()) === FRAMES;
    await waitFor(passes, { what: 'the program is detached, which the kernel does later' });
    const base = await unjudged();
    const before = await drops('guard-bypass');
    expect(await pod.redirect()).toBe(FRAMES);
    await waitFor(unjudged, { what: 'the difference', until: (frames) => frames === base + FRAMES });
    rmdirSync(pin);
    expect(await node.agent.call('object.restoreNotes')).toBe(true);
    expect([await pod.redirect(), await drops('guard-bypass')]).toEqual([0, before + FRAMES]);
  });

  it('a note without its frame drops one frame of its interface, and none of another device at the same address', async () => {
    const { ifindex } = node.pods.attacker;
    expect(left.device).not.toBe(0n);
    expect(BigInt.asUintN(INDEX_BITS, left.at)).toBe(BigInt.asUintN(INDEX_BITS, BigInt(ifindex)));
    let texts = 0;
    const landed = async (noted: number) => {
      const text = `noted ${mode} ${++texts}`;
      leaveNote(left.device, noted);
      await node.send(pod.frame(ATTACKER.ipv4, text));
      leaveNote(0n, 0);
      return pod.landed(text);
    };
    const before = await drops('guard-bypass');
    await waitFor(() => landed(ifindex), { what: 'control: it is dropped', until: (frames) => frames === 0 });
    expect(await drops('guard-bypass')).toBe(before + 1);
    for (let times = 0; times < FRAMES; times++) expect(await landed(ifindex + 1)).toBe(1);
  });
});
