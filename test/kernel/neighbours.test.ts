// Programs of other network plugins on the hook, in every order of start: they get the packets that
// the guard passes and no others, a forged packet is counted once, and the guard stays first.
import { FOREVER_NS, type PlacedAttachment } from '@bailiff/bpf';
import { afterEach, describe, expect, it } from 'vitest';
import { attachForeign, exchange, seenBy } from './harness/foreign-programs.ts';
import { datagram } from './harness/ipv4.ts';
import { ATTACKER } from './harness/node.ts';
import { useNode } from './harness/use-node.ts';

const plain = datagram(ATTACKER.ipv4);

/** BPF_F_BEFORE, BPF_F_AFTER, and a filter of a clsact qdisc. */
const PLACES = ['head', 'tail', 'clsact'] as const;
const PROGRAMS = ['count_packets', 'redirect_peer', 'redirect_egress'] as const;
const ORDERS = ['foreign first', 'guard first'] as const;
const ROWS = PROGRAMS.flatMap((program) =>
  PLACES.flatMap((place) => ORDERS.map((order) => ({ program, place, order }))),
);

describe('foreign programs', () => {
  const node = useNode();
  afterEach(() => node.agent.call('own.detachForeign'));

  const places = async () =>
    (await node.agent.call<PlacedAttachment[]>('object.verify')).map(({ direction, place }) => `${direction} ${place}`);
  const attach = (program: string, place: string, direction?: 'ingress' | 'egress') =>
    attachForeign(node, program, place, direction);
  const seen = (index: number) => seenBy(node, index);
  const atHead = async () => expect((await places()).sort()).toEqual(['in head', 'out head']);

  it.each(ROWS)('$program at $place, $order', async ({ program, place, order }) => {
    let foreign = order === 'foreign first' ? await attach(program, place) : -1;
    if (foreign >= 0) expect(await exchange(node), 'control: without the guard both land').toEqual([3, 2]);
    await using guarded = await node.guard(node.pods.attacker);
    const moveToHead = () => node.agent.call('object.reattach', { ...guarded.key, direction: 'in', mode: 'tcx' });
    if (order === 'guard first') foreign = await attach(program, place);

    const isAhead = order === 'guard first' && place === 'head';
    if (isAhead) {
      expect((await places()).sort()).toEqual(['in behind', 'out head']);
      // Control: a program before the guard that redirects keeps every packet from it.
      const bypassed = program === 'count_packets' ? 0 : 3;
      expect(await exchange(node)).toEqual([bypassed, 2]);
      expect(await guarded.counts()).toEqual(bypassed ? {} : { 'ipv4-source drop': 3 });
      expect(await moveToHead()).toBe(true);
    }
    let dropped = isAhead && program === 'count_packets' ? 3 : 0;
    for (const round of ['attached', 'detached', 'attached again']) {
      if (round === 'detached') await node.agent.call('own.detachForeign');
      if (round === 'attached again') {
        foreign = await attach(program, place);
        if (place === 'head') expect(await moveToHead()).toBe(true);
      }
      await atHead();
      const before = await seen(foreign);
      expect(await exchange(node), round).toEqual([0, 2]);
      dropped += 3;
      await guarded.counted({ 'ipv4-source drop': dropped });
      // Two plain packets and the fence.
      expect((await seen(foreign)) - before, round).toBe(round === 'detached' ? 0 : 3);
    }
    if (order === 'foreign first') return;
    await node.agent.call('object.detach', guarded.key);
    expect(await exchange(node), 'control: without the guard both land').toEqual([3, 2]);
  });

  it.each(ROWS.filter(({ program }) => program === 'count_packets'))(
    'to a pod at $place, $order',
    async ({ program, place, order }) => {
      const early = order === 'foreign first' ? await attach(program, place, 'egress') : -1;
      await using guarded = await node.guard(node.pods.receiver, { quarantineUntilNs: FOREVER_NS });
      const foreign = early >= 0 ? early : await attach(program, place, 'egress');
      if (order === 'guard first' && place === 'head') {
        expect((await places()).sort()).toEqual(['in head', 'out behind']);
        const attachment = { ...guarded.key, direction: 'out', mode: 'tcx' };
        expect(await node.agent.call('object.reattach', attachment)).toBe(true);
      }
      await atHead();
      await node.send(plain, 3);
      await guarded.counted({ 'quarantine-egress drop': 3 });
      expect(await seen(foreign), 'in quarantine').toBe(0);
      await guarded.update({ quarantineUntilNs: 0n });
      expect(await exchange(node), 'after its end').toEqual([3, 2]);
      // Five packets and the fence.
      expect(await seen(foreign)).toBe(6);
      await guarded.counted({ 'quarantine-egress drop': 3 });
    },
  );
});
