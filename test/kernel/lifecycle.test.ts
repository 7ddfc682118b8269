// Once guarded, always guarded: restart, crash, upgrade, foreign programs, clsact, and detach.
import { existsSync, readdirSync } from 'node:fs';
import path from 'node:path';
import type { DetachReport, PlacedAttachment } from '@bailiff/bpf';
import { waitFor } from '@bailiff/service/testing';
import { afterAll, afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Agent } from './harness/guard.ts';
import { datagram, FORGED } from './harness/ipv4.ts';
import { ATTACKER, type Guarded, TestNode } from './harness/node.ts';
import { command, commandIn, foreignObject } from './harness/processes.ts';

const forged = datagram(FORGED);
const plain = datagram(ATTACKER.ipv4);

describe('lifecycle', () => {
  let node: TestNode;
  /** An interface was deleted: the next test needs another node. */
  let spoiled = true;
  beforeEach(async () => {
    if (!spoiled) return;
    node = await TestNode.start();
    spoiled = false;
  });
  afterEach(async () => {
    if (spoiled) await node[Symbol.asyncDispose]();
    else await node.reset();
  });
  afterAll(() => node?.[Symbol.asyncDispose]());

  const places = async () =>
    (await node.agent.call<PlacedAttachment[]>('object.verify'))
      .map(({ direction, mode, place }) => `${direction} ${mode} ${place}`)
      .sort();
  const other = (position: unknown, direction = 'ingress') =>
    node.agent.call<number>('own.attachForeign', foreignObject(), node.pods.attacker.ifindex, direction, position);
  const seenByOther = async (index: number) => Number(await node.agent.call<bigint>('own.counted', index));

  /** Forged packets are dropped and counted on top of `before`, plain ones land. */
  async function drops(guarded: Guarded, before: number): Promise<number> {
    node.forgetLanded();
    await node.send(forged, 3);
    await node.send(plain, 2);
    await node.fence();
    expect([node.landed(forged), node.landed(plain)]).toEqual([0, 2]);
    await guarded.counted({ 'ipv4-source drop': before + 3 });
    return before + 3;
  }

  for (const mode of ['tcx', 'clsact'] as const) {
    it(`${mode} - attach, drop, detach, and it lands again`, async () => {
      expect(await node.open({ mode })).toMatchObject({ mode, reused: false });
      {
        await using guarded = await node.guard(node.pods.attacker);
        await drops(guarded, 0);
        expect(await places()).toEqual([`in ${mode} head`, `out ${mode} head`]);
        await node.agent.call('object.attach', guarded.key);
        expect(await places(), 'attaching twice changes nothing').toHaveLength(2);
        await drops(guarded, 3);
      }
      expect(await places()).toEqual([]);
      node.forgetLanded();
      await node.send(forged);
      await node.fence();
      expect(node.landed(forged)).toBe(1);
    });

    it(`${mode} - a killed process leaves the guard, the next one adopts it with counts and settings`, async () => {
      await node.open({ mode });
      const guarded = await node.guard(node.pods.attacker);
      await node.agent.call('object.maps.setSettings', { sampleBurst: 5, samplesPerSecond: 6, unknownMode: 'enforce' });
      const generation = await node.agent.call<number>('object.maps.meta.allocateGeneration');
      const sequence = await node.agent.call<bigint>('object.maps.meta.allocateFrameSequences', 3);
      const counted = await drops(guarded, 0);

      await node.restartAgent();
      node.forgetLanded();
      await node.send(forged, 4);
      await node.fence();
      expect(node.landed(forged), 'dropped while no process holds the programs').toBe(0);

      expect(await node.open({ mode })).toMatchObject({ reused: true, updatedLinks: 2 });
      await drops(guarded, counted + 4);
      expect(await node.agent.call('object.maps.ifaces.get', guarded.key.ifindex)).toEqual(guarded.record);
      expect(await node.agent.call('object.maps.settings')).toMatchObject({ sampleBurst: 5, unknownMode: 'enforce' });
      expect(await node.agent.call('object.maps.meta.allocateGeneration')).toBe(generation + 1);
      expect(await node.agent.call('object.maps.meta.allocateFrameSequences', 1)).toBe(sequence + 3n);
      expect(await places()).toEqual([`in ${mode} head`, `out ${mode} head`]);
    });

    it(`${mode} - not one forged packet passes while the programs are replaced under a flood`, async () => {
      await node.open({ mode });
      const guarded = await node.guard(node.pods.attacker);
      node.forgetLanded();
      const flood = node.send(forged, 30_000);
      for (let i = 0; i < 3; i++) {
        await node.agent.call('own.close');
        expect(await node.open({ mode })).toMatchObject({ updatedLinks: 2 });
      }
      await flood;
      await node.fence();
      expect(node.landed(forged)).toBe(0);
      await guarded.counted({ 'ipv4-source drop': 30_000 });
    });

    it(`${mode} - detachAll without the object, beside a process that holds the links open`, async () => {
      await node.open({ mode });
      await node.guard(node.pods.attacker);
      await node.guard(node.pods.receiver);
      const second = await Agent.start(node.netns);
      expect(await second.call<PlacedAttachment[]>('bpf.verifyAttachments', node.pinDir)).toHaveLength(4);
      const report = await second.call<DetachReport>('bpf.detachAll', node.pinDir);
      expect(report).toMatchObject({ links: 4, programs: mode === 'tcx' ? 3 : 2, failures: [] });
      expect(existsSync(node.pinDir)).toBe(false);
      expect(await second.call('bpf.detachAll', node.pinDir)).toEqual({ links: 0, programs: 0, maps: 0, failures: [] });
      await second.close();
      node.forgetLanded();
      await node.send(forged);
      await node.fence();
      expect(node.landed(forged)).toBe(1);
      const qdiscs = await command('ip', 'netns', 'exec', node.netns, 'tc', 'qdisc', 'show', 'dev', 'ha');
      expect(qdiscs).not.toContain('clsact');
    });

    it(`${mode} - a link that has the index of a deleted one gets no program by the next open`, async () => {
      await node.open({ mode });
      const { key } = await node.guard(node.pods.receiver);
      spoiled = true;
      await command('ip', '-n', node.netns, 'link', 'delete', node.pods.receiver.hostInterface);
      const index = ['index', String(key.ifindex)];
      await command(
        'ip',
        '-n',
        node.netns,
        'link',
        'add',
        'other0',
        ...index,
        'type',
        'veth',
        'peer',
        'name',
        'other1',
      );
      await node.agent.call('own.close');
      expect(await node.open({ mode })).toMatchObject({ reused: true, updatedLinks: 0 });
      expect(await places()).toEqual([`in ${mode} missing`, `out ${mode} missing`]);
    });

    it(`${mode} - a deleted interface is reported, and its pins can be removed`, async () => {
      await node.open({ mode });
      const guarded = await node.guard(node.pods.receiver);
      spoiled = true;
      await command('ip', '-n', node.netns, 'link', 'delete', node.pods.receiver.hostInterface);
      expect(await places()).toEqual([`in ${mode} interface-gone`, `out ${mode} interface-gone`]);
      await node.agent.call('own.close');
      expect(await node.open({ mode })).toMatchObject({ reused: true, updatedLinks: 0 });
      expect(await node.agent.call('object.detach', guarded.key)).toBe(true);
      expect(await places()).toEqual([]);
      await expect(node.agent.call('object.attach', guarded.key)).rejects.toMatchObject({
        code: 'ERR_SPOOF_INTERFACE',
      });
    });
  }

  it('coexistence - another tcx program gets the passed packets and no others', async () => {
    const early = await node.open().then(() => other('tail'));
    await using guarded = await node.guard(node.pods.attacker);
    const late = await other('tail');
    expect(await places()).toEqual(['in tcx head', 'out tcx head']);
    const before = await seenByOther(early);
    await drops(guarded, 0);
    // two plain packets and the fence
    expect((await seenByOther(early)) - before).toBe(3);
    expect(await seenByOther(late)).toBe(3);
  });

  it('coexistence - a program before ours is reported; reattaching restores the head without a gap', async () => {
    await node.open();
    await using guarded = await node.guard(node.pods.attacker);
    const first = await other('head');
    expect(await places()).toEqual(['in tcx behind', 'out tcx head']);
    await drops(guarded, 0);
    expect(await seenByOther(first)).toBe(6);

    node.forgetLanded();
    const flood = node.send(forged, 20_000);
    const attachment = { ...guarded.key, direction: 'in', mode: 'tcx' };
    expect(await node.agent.call('object.reattach', attachment)).toBe(true);
    await flood;
    await node.fence();
    expect(node.landed(forged)).toBe(0);
    await guarded.counted({ 'ipv4-source drop': 20_003 });
    expect(await places()).toEqual(['in tcx head', 'out tcx head']);
    const seen = await seenByOther(first);
    await drops(guarded, 20_003);
    expect(await seenByOther(first)).toBe(seen + 3);
    expect(await node.agent.call('object.reattach', attachment), 'at the head already').toBe(true);
  });

  it('coexistence - under clsact a filter behind ours gets the passed packets, and stays when ours is removed', async () => {
    await node.open({ mode: 'clsact' });
    await using guarded = await node.guard(node.pods.attacker);
    const index = await other('clsact');
    await drops(guarded, 0);
    expect(await seenByOther(index)).toBe(3);
    await node.agent.call('object.detach', guarded.key);
    await node.send(plain);
    await node.fence();
    expect(await seenByOther(index)).toBe(5);
  });

  it('coexistence - under clsact beside an ingress qdisc, what the pod sends is guarded', async () => {
    await using own = await TestNode.start();
    const { attacker } = own.pods;
    await own.open({ mode: 'clsact' });
    await commandIn(own.netns, 'tc', 'qdisc', 'add', 'dev', attacker.hostInterface, 'ingress');
    await own.send(forged);
    await own.fence();
    expect(own.landed(forged), 'control: it lands unguarded').toBe(1);
    await expect(own.guard(attacker), 'the qdisc has no egress side').rejects.toThrow(/qdisc of kind ingress/);
    const placed = await own.agent.call<PlacedAttachment[]>('object.verify');
    expect(placed.map(({ direction, place }) => `${direction} ${place}`)).toEqual(['in head']);
    await own.send(forged);
    await own.send(plain);
    await own.fence();
    expect([own.landed(forged), own.landed(plain)]).toEqual([1, 1]);
  });

  it('detached - a link that another process detached is reported and reattached', async () => {
    await node.open();
    await using guarded = await node.guard(node.pods.attacker);
    const pin = path.join(node.pinDir, 'links', `link-${guarded.key.ifindex}-${guarded.key.generation}-in`);
    await command('bpftool', 'link', 'detach', 'pinned', pin);
    expect(await places()).toEqual(['in tcx missing', 'out tcx head']);
    node.forgetLanded();
    await node.send(forged);
    await node.fence();
    expect(node.landed(forged), 'control: it is really off').toBe(1);
    expect(await node.agent.call('object.reattach', { ...guarded.key, direction: 'in', mode: 'tcx' })).toBe(true);
    await drops(guarded, 0);
  });

  it('coexistence - the next open finishes a move to the head that a crash interrupted', async () => {
    await node.open();
    const guarded = await node.guard(node.pods.attacker);
    const pin = path.join(node.pinDir, 'links', `link-${guarded.key.ifindex}-${guarded.key.generation}-in`);
    await node.agent.call('own.beginMove', path.join(node.pinDir, 'programs/spoof_ingress'), pin, guarded.key.ifindex);
    await node.restartAgent();
    node.forgetLanded();
    await node.send(forged);
    await node.fence();
    expect(node.landed(forged)).toBe(0);
    expect(await node.open()).toMatchObject({ updatedLinks: 2 });
    expect(await places()).toEqual(['in tcx head', 'out tcx head']);
    expect(readdirSync(path.join(node.pinDir, 'links'))).toHaveLength(2);
    await drops(guarded, 1);
  });

  it('pins - names identify the programs, and foreign names are ignored', async () => {
    await node.open();
    const guarded = await node.guard(node.pods.attacker);
    const { ifindex, generation } = guarded.key;
    expect(readdirSync(path.join(node.pinDir, 'links')).sort()).toEqual([
      `link-${ifindex}-${generation}-in`,
      `link-${ifindex}-${generation}-out`,
    ]);
    expect(await node.agent.call('object.attached')).toEqual(
      (['in', 'out'] as const).map((direction) => ({ ifindex, generation, direction, mode: 'tcx' })),
    );
  });

  it('sizes - pinned maps keep their sizes', async () => {
    await node.open({ maxInterfaces: 16 });
    await node.agent.call('own.close');
    await node.open({ maxInterfaces: 64 });
    expect(await node.agent.call('object.maps.maxInterfaces')).toBe(16);
    expect(await node.agent.call('object.maps.fill')).toMatchObject({ ifaces: { entries: 0, maxEntries: 16 } });
  });

  it('full maps - the error names the map', async () => {
    await node.open({ maxInterfaces: 2 });
    const create = (generation: number) => node.agent.call('object.maps.counters.create', { ifindex: 1, generation });
    for (let generation = 1; generation <= 4; generation++) await create(generation);
    await expect(create(5)).rejects.toMatchObject({ code: 'ERR_SPOOF_MAP_FULL', message: /counters is full \(4\)/ });
    const key = { ifindex: 1, generation: 1 };
    const grants = Array.from({ length: 2 * 64 + 1 }, (_, i) => ({ cidr: `10.0.0.${i}`, neighbour: true }));
    await expect(node.agent.call('object.maps.addresses.replace', key, grants)).rejects.toMatchObject({
      code: 'ERR_SPOOF_MAP_FULL',
    });
  });

  it('abi - pinned maps of another version are rejected and left unchanged', async () => {
    await node.open();
    await using guarded = await node.guard(node.pods.attacker);
    await node.agent.call('own.setAbi', path.join(node.pinDir, 'maps/meta'), 99);
    await node.agent.call('own.close');
    await expect(node.open()).rejects.toMatchObject({ code: 'ERR_SPOOF_ABI' });
    await expect(node.agent.call('bpf.openPinnedMaps', node.pinDir)).rejects.toMatchObject({ code: 'ERR_SPOOF_ABI' });
    node.forgetLanded();
    await node.send(forged);
    await node.fence();
    expect(node.landed(forged), 'still guarded').toBe(0);
    await node.agent.call('own.setAbi', path.join(node.pinDir, 'maps/meta'), 2);
    await node.open();
    await drops(guarded, 1);
  });

  it('where - not on a bpffs, no object file: rejected with a code', async () => {
    await expect(node.open({ pinDir: '/tmp/nowhere-in-particular' })).rejects.toMatchObject({
      code: 'ERR_SPOOF_BPFFS',
    });
    await expect(node.open({ objectPath: '/proc/nonexistent.bpf.o' })).rejects.toMatchObject({
      code: 'ERR_SPOOF_OBJECT',
    });
  });

  it('samples - delivered by the loop while it runs', async () => {
    await node.open();
    await using guarded = await node.guard(node.pods.attacker);
    await node.agent.call('own.listen');
    await node.send(forged);
    await waitFor(() => node.agent.call<{ vector: string }[]>('own.received'), {
      what: 'a sample',
      until: (list) => list.length === 1,
    });
    await node.agent.call('own.unlisten');
    await guarded.counted({ 'ipv4-source drop': 1 });
  });
});
