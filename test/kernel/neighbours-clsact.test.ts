// Programs of other agents beside the guard as clsact filters. tcx programs and newer filters of its
// priority run first, and one that redirects keeps forged packets from the guard: the place says so.
// The guard moves before filters, and becomes a tcx program where that is the mode now.
import type { PlacedAttachment } from '@bailiff/bpf';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { attachForeign, exchange, seenBy } from './harness/foreign-programs.ts';
import { datagram, FORGED } from './harness/ipv4.ts';
import { TestNode } from './harness/node.ts';
import { commandIn } from './harness/processes.ts';

const forged = datagram(FORGED);
const PROGRAMS = ['count_packets', 'redirect_peer', 'redirect_egress'] as const;
const FLOOD = 10_000;

describe('foreign programs beside clsact filters', () => {
  let node: TestNode;
  let hasTcx: boolean;
  beforeEach(async () => {
    node = await TestNode.start();
    hasTcx = (await node.open()).mode === 'tcx';
    await node.agent.call('own.close');
    await node.open({ mode: 'clsact' });
  });
  afterEach(() => node[Symbol.asyncDispose]());

  const places = async () =>
    (await node.agent.call<PlacedAttachment[]>('object.verify'))
      .map(({ direction, mode, place }) => `${direction} ${mode} ${place}`)
      .sort();
  const attach = (program: string, place: string) => attachForeign(node, program, place);
  const detach = () => node.agent.call('own.detachForeign');
  const seen = (index: number) => seenBy(node, index);
  const isChanged = async () => {
    const { ifindex } = node.pods.attacker;
    return (await node.agent.call<number[]>('own.placesChanged', [{ ifindex, kind: 'veth' }])).length > 0;
  };
  const HEAD = ['in clsact head', 'out clsact head'];
  const BEHIND = ['in clsact behind', 'out clsact head'];

  it.for(PROGRAMS)('%s at tcx - the filter is behind it until it is detached', async (program, context) => {
    if (!hasTcx) context.skip('optional: this kernel has no tcx');
    await using guarded = await node.guard(node.pods.attacker);
    expect([await places(), await exchange(node)], 'control: alone it is the head').toEqual([HEAD, [0, 2]]);
    await node.agent.call('own.watch', 'clsact');
    await isChanged();
    expect(await isChanged(), 'control: nothing changed').toBe(false);
    await attach(program, 'tail');
    expect(await isChanged()).toBe(true);
    const attachment = { ...guarded.key, direction: 'in', mode: 'clsact' };
    expect(await node.agent.call('object.reattach', attachment), 'no filter runs before tcx').toBe(false);
    expect(await places()).toEqual(BEHIND);
    expect(await exchange(node)).toEqual([program === 'count_packets' ? 0 : 3, 2]);
    await detach();
    expect(await isChanged()).toBe(true);
    expect([await places(), await exchange(node)]).toEqual([HEAD, [0, 2]]);
  });

  it('the guard of a process with clsact - one with tcx moves it before tcx programs', async (context) => {
    if (!hasTcx) context.skip('optional: this kernel has no tcx');
    await using guarded = await node.guard(node.pods.attacker);
    await attach('redirect_peer', 'head');
    expect([await places(), await exchange(node)]).toEqual([BEHIND, [3, 2]]);
    await node.agent.call('own.close');
    await node.open();
    expect(await places(), 'adopted as it is').toEqual(BEHIND);
    const attachment = { ...guarded.key, direction: 'in', mode: 'clsact' };
    expect(await node.agent.call('object.reattach', attachment)).toBe(true);
    expect([await places(), await exchange(node)]).toEqual([
      ['in tcx head', 'out clsact head'],
      [0, 2],
    ]);
    await detach();
    expect(await exchange(node)).toEqual([0, 2]);
  });

  it.each(PROGRAMS)('%s as a newer filter of the same priority - moved before it', async (program) => {
    await using guarded = await node.guard(node.pods.attacker);
    await node.agent.call('own.watch', 'clsact');
    await isChanged();
    expect(await isChanged(), 'control: nothing changed').toBe(false);
    const foreign = await attach(program, 'same priority');
    expect(await isChanged()).toBe(true);
    expect(await places()).toEqual(BEHIND);
    const bypassed = program === 'count_packets' ? 0 : 3;
    expect(await exchange(node), 'control: it decides first').toEqual([bypassed, 2]);

    // A program that redirects takes what arrives before the move.
    const flooded = program === 'count_packets' ? FLOOD : 0;
    node.forgetLanded();
    const flood = node.send(forged, flooded);
    const attachment = { ...guarded.key, direction: 'in', mode: 'clsact' };
    expect(await node.agent.call('object.reattach', attachment)).toBe(true);
    await flood;
    await node.fence();
    expect([await places(), node.landed(forged)], 'without a gap').toEqual([HEAD, 0]);
    const before = await seen(foreign);
    expect(await exchange(node)).toEqual([0, 2]);
    expect((await seen(foreign)) - before, 'the plain ones and the fence').toBe(3);
    await guarded.counted({ 'ipv4-source drop': 3 - bypassed + flooded + 3 });
    expect(await node.agent.call('object.reattach', attachment), 'at the head already').toBe(true);

    await detach();
    expect([await places(), await exchange(node)]).toEqual([HEAD, [0, 2]]);
    await node.agent.call('object.detach', guarded.key);
    expect(
      await commandIn(node.netns, 'tc', 'filter', 'show', 'dev', node.pods.attacker.hostInterface, 'ingress'),
    ).toBe('');
    expect(await exchange(node), 'control: without the guard both land').toEqual([3, 2]);
  });

  it('an older filter of the same priority - the guard attaches before it', async () => {
    const foreign = await attach('redirect_peer', 'same priority');
    expect(await exchange(node), 'control: without the guard both land').toEqual([3, 2]);
    await using _guarded = await node.guard(node.pods.attacker);
    expect([await places(), await exchange(node)]).toEqual([HEAD, [0, 2]]);
    expect(await seen(foreign)).toBe(9);
  });

  it('a move that did not end - the next process removes its second filter', async () => {
    await using guarded = await node.guard(node.pods.attacker);
    await attach('redirect_peer', 'same priority');
    await node.agent.call('own.leaveMove', node.pinDir, node.pods.attacker.ifindex);
    expect([await places(), await exchange(node)], 'the second filter judges').toEqual([BEHIND, [0, 2]]);
    await node.agent.call('own.close');
    await node.open({ mode: 'clsact' });
    expect([await places(), await exchange(node)], 'control: it is gone').toEqual([BEHIND, [3, 2]]);
    await node.agent.call('own.leaveMove', node.pinDir, node.pods.attacker.ifindex);
    await node.agent.call('object.detach', guarded.key);
    await detach();
    expect(await exchange(node), 'detaching removes it too').toEqual([3, 2]);
  });

  it('a qdisc that another agent deleted - its filters are missing, those of others stay, and both attach again', async () => {
    await using guarded = await node.guard(node.pods.attacker);
    await using _other = await node.guard(node.pods.receiver);
    await node.agent.call('own.watch', 'clsact');
    await isChanged();
    await commandIn(node.netns, 'tc', 'qdisc', 'del', 'dev', node.pods.attacker.hostInterface, 'clsact');
    expect(await isChanged()).toBe(true);
    expect(await places()).toEqual([...HEAD, 'in clsact missing', 'out clsact missing'].sort());
    expect(await exchange(node), 'control: nothing judges').toEqual([3, 2]);
    await node.agent.call('object.attach', guarded.key);
    expect([await places(), await exchange(node)]).toEqual([[...HEAD, ...HEAD].sort(), [0, 2]]);
  });
});
