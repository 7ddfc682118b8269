// A program of the pod that sends frames past the programs of a netkit pair (bpf_redirect_peer): they are
// dropped and counted. Without the program that finds them they land, which is the control, and the
// counters of interface and programs differ by their number, although GRO is on. Needs Linux 6.7.
import { mkdirSync, rmdirSync, unlinkSync } from 'node:fs';
import path from 'node:path';
import { waitFor } from '@bailiff/service/testing';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { type Guarded, noNetkit, TestNode } from './harness/node.ts';
import { FRAMES, RedirectingPod } from './harness/redirecting-pod.ts';
import { unjudgedOf } from './harness/unjudged.ts';

const why = noNetkit();

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
  beforeAll(async () => {
    if (why !== '') return;
    pod = await RedirectingPod.start(node, mode);
    guarded = await node.guard(node.pods.attacker);
  });
  afterAll(async () => {
    await pod?.[Symbol.asyncDispose]();
    await guarded?.[Symbol.asyncDispose]();
  });
  beforeEach((context) => {
    if (why !== '') context.skip(why);
  });

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
});
