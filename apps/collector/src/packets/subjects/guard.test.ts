import { readdirSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import {
  COUNTER_NUMBERS,
  type IfaceKey,
  type LinkRecord,
  type PlacedAttachment,
  SpoofError,
  type SpoofObject,
} from '@bailiff/bpf';
import { temporaryDirectory, waitFor } from '@bailiff/service/testing';
import { beforeEach, describe, expect, it } from 'vitest';
import { CounterStore } from '../counting/counter-store.ts';
import { BEHIND_TCX } from './attachments.ts';
import { BindingStore } from './binding-store.ts';
import { Guard } from './guard.ts';
import { type GuardedInterface, newInterface } from './guarded-interface.ts';
import { Registry } from './registry.ts';

/** Of a link that a pod left. */
const LEFT_MAC = '02:00:00:00:00:77';
/** Instead of the 4,096 files of a node, which a disk makes slow. */
const MAX_ARCHIVED = 16;
/** Interface of a pod of its own, or of the pod in a namespace. */
const link = (ifindex: number, removed = false, linkNetnsid: number | null = ifindex): LinkRecord =>
  ({ ifindex, name: `veth${ifindex}`, kind: 'veth', mac: '', linkNetnsid, peerIfindex: 2, removed }) as LinkRecord;

describe('guard', () => {
  let dir: string;
  let registry: Registry;
  let guard: Guard;
  let counters: Map<number, Float64Array>;
  let attached: Set<number>;
  let refuse: Error | null;
  /** Programs of a netkit pair, the guard's included. */
  let fromPod: number;
  let room: number;
  let problems: string[];
  let forgotten: number[];
  let counts: CounterStore;
  let nowMs: number;
  /** Duration of an attach. */
  let attachMs: number;
  let whyNot: string;
  let refuseNotes: Error | null;
  let refuseGeneration: Error | null;
  /** Thrown by a look at the pins. */
  let unreadable: Error | null;
  let observed: number[];
  /** Differs from the head of tcx chains. */
  let behind: Partial<PlacedAttachment>;

  beforeEach(() => {
    dir = temporaryDirectory();
    registry = new Registry(8);
    counters = new Map();
    attached = new Set();
    refuse = null;
    room = 16;
    problems = [];
    forgotten = [];
    nowMs = 1_000;
    attachMs = 0;
    whyNot = '';
    observed = [];
    fromPod = 0;
    refuseNotes = null;
    refuseGeneration = null;
    unreadable = null;
    behind = {};
    let generation = MAX_ARCHIVED - 1;
    const table = {
      create: ({ generation: g }: IfaceKey) => {
        if (counters.size >= room) throw new SpoofError('ERR_SPOOF_MAP_FULL', 'map counters is full');
        counters.set(g, new Float64Array(COUNTER_NUMBERS).fill(5, 0, 1));
      },
      readInto: ({ generation: g }: IfaceKey, into: Float64Array) => {
        into.set(counters.get(g) ?? []);
        return counters.has(g);
      },
      read: ({ generation: g }: IfaceKey) => (counters.has(g) ? [] : undefined),
      delete: ({ generation: g }: IfaceKey) => counters.delete(g),
    };
    const object = {
      maps: {
        maxInterfaces: 8,
        meta: {
          allocateGeneration: () => {
            if (refuseGeneration) throw refuseGeneration;
            return ++generation;
          },
        },
        seen: () => 0n,
        addresses: { replace: () => 0 },
        probePorts: { replace: () => 0 },
        ifaces: { get: () => undefined, delete: () => true },
      },
      attach: ({ generation: g }: IfaceKey) => {
        nowMs += attachMs;
        if (refuse) throw refuse;
        attached.add(g);
      },
      directionsOf: () => ['in', 'out'],
      restoreNotes: () => {
        if (refuseNotes) throw refuseNotes;
        return false;
      },
      detach: ({ generation: g }: IfaceKey) => attached.delete(g),
      rekey: ({ generation: g }: IfaceKey, generation: number) => {
        if (attached.delete(g)) attached.add(generation);
      },
      verify: () => {
        if (unreadable) throw unreadable;
        return [...attached].flatMap((g) =>
          ['in', 'out'].map(
            (direction) => ({ generation: g, direction, place: 'head', ...behind }) as PlacedAttachment,
          ),
        );
      },
      reattach: () => false,
    } as unknown as SpoofObject;
    counts = new CounterStore({
      dir,
      counters: table as never,
      acked: { read: () => undefined, write: () => {}, delete: () => {}, keys: () => [] },
      maxArchived: MAX_ARCHIVED,
      onProblem: (_, reason) => problems.push(reason),
    });
    guard = new Guard({
      object,
      registry,
      places: {
        changed: (watched) => [...watched].map(({ ifindex }) => ifindex),
        forget: () => {},
        fromPod: () => fromPod,
      },
      store: new BindingStore(dir, 'boot'),
      counters: counts,
      exclude: /^eth0$/,
      isLeft: ({ mac }) => mac === LEFT_MAC,
      whyNotAttach: () => whyNot,
      nowMs: () => nowMs,
      announcement: () => ({ readAtMs: 0, notBeforeMs: 0 }),
      events: {
        appeared: () => 'unchanged',
        adopted: () => {},
        changed: () => {},
        guarded: (afterMs) => observed.push(afterMs),
        gone: () => {},
        forgotten: (iface) => forgotten.push(iface.generation),
      },
      onProblem: (_, reason) => problems.push(reason),
    });
  });
  const live = (ifindex: number) => registry.live(ifindex) as GuardedInterface;

  it('failed attach - shown and retried until it works; attached programs are left alone', () => {
    refuse = new Error('no memory');
    guard.update([link(3)]);
    expect([live(3).attachError, attached.size]).toEqual(['no memory', 0]);
    expect(guard.checkPlaces()).toBe(0);
    expect(live(3).attachError).toBe('no memory');
    refuse = null;
    expect(guard.checkPlaces()).toBe(1);
    expect([live(3).attachError, attached.size]).toEqual(['', 1]);
    expect(guard.checkPlaces()).toBe(0);
  });

  it.each<[string, Partial<LinkRecord>, string]>([
    ['the primary end of a netkit pair', { kind: 'netkit', netkit: { primary: true, peerDrops: false } }, 'guarded'],
    ['the peer end of one', { kind: 'netkit', netkit: { primary: false, peerDrops: false } }, 'not-covered'],
    ['a macvlan', { kind: 'macvlan' }, 'not-applicable'],
    ['an excluded name', { name: 'eth0' }, 'not-applicable'],
    ['a link that a pod left, under an excluded name', { kind: '', name: 'eth0', mac: LEFT_MAC }, 'not-covered'],
  ])('kinds of interfaces - %s', (_name, facts, coverage) => {
    guard.update([{ ...link(3), ...facts }]);
    expect(registry.live(3) ? 'guarded' : registry.others.get(3)?.coverage).toBe(coverage);
  });

  it('an operator detaches everything - shown while the pins disappear; afterwards attached again, and not counted as displaced', () => {
    guard.update([link(3)]);
    unreadable = new Error('no such pin');
    expect(() => guard.checkPlaces(), 'control: without the operator the pins are read').toThrow('no such pin');
    whyNot = 'detached';
    expect([guard.checkPlaces(), live(3).attachError]).toEqual([0, 'detached']);
    // Read while frames pass, which are not unjudged by accident.
    live(3).conservation.base = 7;
    whyNot = '';
    unreadable = null;
    attached.clear();
    expect([guard.checkPlaces(), live(3).attachError, attached.size]).toEqual([0, '', 1]);
    expect(live(3).conservation.base).not.toBe(7);
    attached.clear();
    expect(guard.checkPlaces(), 'control: without the operator it is').toBe(1);
  });

  it('clsact filters behind tcx programs of another agent - shown, reported once, not counted as restored', () => {
    guard.update([link(3)]);
    behind = { mode: 'clsact', place: 'behind' };
    for (const _round of [1, 2])
      expect([guard.checkPlaces(), live(3).isBehind, live(3).attachError]).toEqual([0, true, '']);
    expect(problems).toEqual([BEHIND_TCX]);
    behind = {};
    expect([guard.checkPlaces(), live(3).isBehind]).toEqual([0, false]);
  });

  it('the kernel refuses the program that finds redirections on netkit - reported, interfaces are attached again', () => {
    guard.update([link(3)]);
    refuseNotes = new Error('no trampoline');
    attached.clear();
    expect([guard.checkChangedPlaces(), problems.includes('no trampoline')]).toEqual([1, true]);
  });

  it('a netkit pair that drops without programs - guarded beside another program only, so that it opens nothing', () => {
    const pair = { ...link(3), kind: 'netkit', netkit: { primary: true, peerDrops: true } };
    guard.update([pair]);
    expect([attached.size, live(3).attachError]).toEqual([0, expect.stringContaining('blackhole')]);
    expect([guard.checkPlaces(), attached.size]).toEqual([0, 0]);
    fromPod = 1;
    guard.update([pair]);
    expect([attached.size, live(3).attachError]).toEqual([1, '']);
    fromPod = 2;
    expect([guard.checkPlaces(), attached.size, live(3).attachError]).toEqual([0, 1, '']);
    fromPod = 1;
    guard.checkPlaces();
    expect([attached.size, live(3).attachError]).toEqual([0, expect.stringContaining('blackhole')]);
    fromPod = 1;
    expect([guard.checkPlaces(), attached.size, live(3).attachError]).toEqual([1, 1, '']);
  });

  it('a netkit pair that drops without programs - guarded soon after its CNI attached one', async () => {
    guard.update([{ ...link(3), kind: 'netkit', netkit: { primary: true, peerDrops: true } }]);
    expect(attached.size).toBe(0);
    fromPod = 1;
    await waitFor(() => attached.size === 1, { what: 'the guard' });
    expect(live(3).attachError).toBe('');
  });

  it('a netkit pair that passes without programs - guarded alone', () => {
    guard.update([{ ...link(3), kind: 'netkit', netkit: { primary: true, peerDrops: false } }]);
    fromPod = 1;
    expect([guard.checkPlaces(), attached.size, live(3).attachError]).toEqual([0, 1, '']);
  });

  it('time to a guard - from reading the event, also for later links of the same event', () => {
    attachMs = 10;
    guard.update([link(1), link(2), link(3)]);
    expect(observed).toEqual([10, 20, 30]);
    expect([1, 2, 3].map((n) => live(n).guardedAfterMs)).toEqual([10, 20, 30]);
  });

  it('time to a guard - until an attach succeeds, reported once', () => {
    refuse = new Error('no memory');
    guard.update([link(3)]);
    nowMs += 500;
    guard.checkPlaces();
    expect([live(3).guardedAfterMs, observed]).toEqual([null, []]);
    nowMs += 500;
    refuse = null;
    guard.checkPlaces();
    expect([live(3).guardedAfterMs, observed]).toEqual([1_000, [1_000]]);
    attached.clear();
    guard.checkPlaces();
    expect([attached.size, observed]).toEqual([1, [1_000]]);
  });

  it('time to a guard - includes the time of a detach by an operator', () => {
    whyNot = 'detached by an operator';
    guard.update([link(3)]);
    nowMs += 3_000;
    guard.checkPlaces();
    expect([live(3).attachError, observed]).toEqual([whyNot, []]);
    whyNot = '';
    guard.checkPlaces();
    expect([live(3).attachError, observed]).toEqual(['', [3_000]]);
  });

  it('time to a guard - includes waiting for a slot', () => {
    const LATE = 2 ** 30; // no interface of the machine has this number
    for (let n = 1; n <= 8; n += 1) guard.update([link(n)]);
    guard.update([link(LATE)]);
    expect([registry.liveCount, registry.others.get(LATE)?.coverage, observed.length]).toEqual([8, 'not-covered', 8]);
    nowMs += 2_000;
    guard.update([link(LATE)]);
    expect(observed).toHaveLength(8);
    nowMs += 2_000;
    guard.update([link(4, true), link(LATE)]);
    expect([live(LATE)?.ifindex, observed.slice(8)]).toEqual([LATE, [4_000]]);
  });

  describe('a pod that requests more networks than a node guards', () => {
    const GREEDY = 100;
    const ofGreedy = (ifindex: number, linkNetnsid = GREEDY) => link(ifindex, false, linkNetnsid);
    const greedyHas = () =>
      [...registry.allLive()].filter(({ link: { linkNetnsid } }) => linkNetnsid === GREEDY).length;

    it('has a share, and its neighbours are guarded; the same interfaces as those of many pods leave no slot', () => {
      const many = Array.from({ length: 20 }, (_, n) => 10 + n);
      guard.update(many.map((n) => ofGreedy(n)));
      expect(greedyHas()).toBe(3);
      expect(registry.others.get(13)).toMatchObject({
        coverage: 'not-covered',
        reason: expect.stringMatching(/^its pod has 3 other interfaces, its share of 8 on this node: request fewer/),
      });
      guard.update([1, 2, 3, 4, 5].map((n) => link(n)));
      expect([1, 2, 3, 4, 5].filter((n) => !registry.live(n))).toEqual([]);

      for (const { ifindex } of [...registry.allLive()]) guard.update([link(ifindex, true)]);
      registry.others.clear();
      guard.update([...many.map((n) => link(n)), link(1)]);
      expect([registry.liveCount, registry.live(1)]).toEqual([8, undefined]);
    });

    it('cannot hide interfaces in a namespace that it makes: they count for the pod that they are bound to', () => {
      guard.update([ofGreedy(10), ofGreedy(11)]);
      for (const n of [10, 11]) live(n).binding = { podUid: 'greedy' } as GuardedInterface['binding'];
      guard.update([ofGreedy(11, 200)]);
      expect(registry.guardedWith(GREEDY)).toBe(2);
      live(11).binding = null;
      expect(registry.guardedWith(GREEDY)).toBe(1);
    });

    it('leaves slots to other namespaces, however many such pods run; pods of as many namespaces leave none', () => {
      const node = (namespaceOf: (pod: number) => string) => {
        const own = new Registry(32);
        let ifindex = 0;
        const add = (pod: number, namespace: string): boolean => {
          const slot = own.hasShare(pod) ? own.freeSlot() : null;
          if (slot === null) return false;
          ifindex += 1;
          const iface = newInterface(
            { ifindex, generation: ifindex, slot, seenBase: 0, link: link(ifindex, false, pod) },
            0,
          );
          iface.binding = { podUid: `pod-${pod}`, podNamespace: namespace } as GuardedInterface['binding'];
          own.add(iface);
          return true;
        };
        let pod = 1;
        while (add(pod, namespaceOf(pod)) && add(pod, namespaceOf(pod))) pod += 1;
        const SHOP = 1_000;
        return { pods: pod, further: own.furtherBeside(1), shop: [1, 2, 3].map(() => add(SHOP, 'shop')) };
      };
      expect(node(() => 'tenant')).toEqual({ pods: 9, further: 8, shop: [true, true, true] });
      expect(node((pod) => `namespace-${pod}`)).toEqual({ pods: 12, further: 1, shop: [true, false, false] });
    });

    it('keeps its slot when its identity is replaced, also beyond the share', () => {
      const LOOPBACK = 1; // exists on the machine, without a namespace at another end
      guard.update([LOOPBACK, 10, 11].map((n) => link(n, false, null)));
      guard.update([link(2), link(3)]);
      expect([registry.hasShare(null), registry.freeSlot()]).toEqual([false, 5]);
      const { slot, generation } = live(LOOPBACK);
      guard.renew(live(LOOPBACK));
      expect([live(LOOPBACK).slot, live(LOOPBACK).generation > generation]).toEqual([slot, true]);
    });

    it('takes the slot of the oldest interface whose pod has ended, also later, once what that one sends is dropped', () => {
      const [LOOPBACK, GONE] = [1, 2 ** 30];
      const all = [...Array(8)].map((_, n) => GONE + n);
      guard.update(all.map((n) => link(n)));
      const end = (n: number, mode: 'enforce' | 'audit', auditUntilNs = 0n) => {
        const record = { modes: { orphaned: mode }, auditUntilNs } as NonNullable<GuardedInterface['kernel']>['record'];
        Object.assign(live(n), { orphaned: true, kernel: { record, grants: [], probePorts: [] } });
      };
      const guarded = () => [...registry.allLive()].map(({ ifindex }) => ifindex).sort((a, b) => a - b);
      end(GONE, 'audit');
      end(GONE + 1, 'enforce', 1n);
      guard.update([link(LOOPBACK)]);
      expect(guarded(), 'control: their packets pass').toEqual(all);
      for (const n of [5, 4]) end(GONE + n, 'enforce');
      guard.update([link(GONE + 9)]);
      expect(guarded(), 'control: a link that is gone').toEqual(all);
      guard.update([link(GONE + 9, true), link(LOOPBACK)]);
      expect(guarded()).toEqual([LOOPBACK, ...all.filter((n) => n !== GONE + 4)]);
    });

    it('goes to the first that waits and exists: one whose link is gone, and not announced as that, keeps it from no other', () => {
      const [LOOPBACK, GONE] = [1, 2 ** 30];
      guard.update([...Array(8)].map((_, n) => link(GONE + n)));
      guard.update([link(GONE + 9), link(LOOPBACK)]);
      const waits = () => [...registry.others].flatMap(([n, { waitsForSlot }]) => (waitsForSlot ? [n] : []));
      expect(waits(), 'control: no slot').toEqual([GONE + 9, LOOPBACK]);
      guard.update([link(GONE, true)]);
      // Read again, the loopback is no interface of a pod.
      expect(waits()).toEqual([GONE + 9]);
    });

    it('is named at once if no other generation of it begins', () => {
      const LOOPBACK = 1;
      guard.update([link(LOOPBACK, false, null)]);
      refuseGeneration = new Error('no generation');
      guard.renew(live(LOOPBACK));
      expect([registry.live(LOOPBACK), registry.others.get(LOOPBACK)]).toEqual([
        undefined,
        { name: 'veth1', coverage: 'not-covered', reason: 'cannot guard it: no generation', isShort: false },
      ]);
      expect(problems).toEqual(['cannot guard it: no generation']);
    });

    it('gets a further slot when one is free beyond the share', () => {
      const LATE = 2 ** 30;
      guard.update([1, 2, 3, 4].map((n) => link(n)));
      guard.update([ofGreedy(10), ofGreedy(LATE)]);
      expect([greedyHas(), registry.others.has(LATE)]).toEqual([1, true]);
      guard.update([link(1, true), link(2, true), ofGreedy(LATE)]);
      expect([greedyHas(), registry.others.has(LATE)]).toEqual([2, false]);
    });
  });

  it('without a slot - its programs find no record; they are those of its generation when it has one, or go with it', () => {
    const LATE = 2 ** 30;
    guard.update([1, 2, 3, 4, 5, 6, 7, 8].map((n) => link(n)));
    guard.update([link(LATE), { ...link(LATE + 1), kind: 'netkit', netkit: { primary: true, peerDrops: true } }]);
    guard.update([link(LATE)]);
    expect([registry.liveCount, attached.size]).toEqual([8, 9]);
    guard.update([link(LATE, true)]);
    expect(attached.size).toBe(8);

    guard.update([link(LATE)]);
    guard.update([link(1, true), link(LATE)]);
    expect([attached.size, attached.has(live(LATE).generation)]).toEqual([8, true]);

    whyNot = 'detached by an operator';
    guard.update([link(9)]);
    expect([registry.others.get(9)?.coverage, attached.size]).toEqual(['not-covered', 8]);
  });

  it('no room for counts in kernel and on disk - the oldest are reported as forgotten, the new interface is guarded', () => {
    const archived = { ifindex: 9, counters: [[0, 5]], acked: [] };
    for (let generation = 1; generation < MAX_ARCHIVED; generation += 1)
      writeFileSync(path.join(dir, `owed-9-${generation}.json`), JSON.stringify({ ...archived, generation }));
    expect(counts.load()).toHaveLength(MAX_ARCHIVED - 1);
    room = 1;
    for (let n = 1; n <= 4; n += 1) {
      guard.update([link(n)]);
      expect(live(n)?.ifindex, problems.at(-1)).toBe(n);
      if (n < 4) guard.update([link(n, true)]);
    }
    // The first one took the last free file; each one after it replaces the one before.
    const first = MAX_ARCHIVED;
    expect([counts.archivedCount, counts.isArchived(first + 2)]).toEqual([MAX_ARCHIVED, true]);
    expect([forgotten, problems]).toEqual([[first, first + 1], []]);
    expect([...counters.keys()]).toEqual([first + 3]);
    expect([...registry.all()].map((iface) => iface.generation)).toEqual([first + 2, first + 3]);
    expect(readdirSync(dir).filter((f) => f.startsWith('owed-'))).toHaveLength(MAX_ARCHIVED);
  });

  it('no room on disk - a namespace that replaces many pods displaces its own counts; in one namespace, the oldest', () => {
    const replacePods = (namespaceOf: (n: number) => string) => {
      for (let n = 1; n <= 3 * MAX_ARCHIVED; n += 1) {
        guard.update([link(n)]);
        live(n).binding = { podUid: `pod-${n}`, podNamespace: namespaceOf(n) } as GuardedInterface['binding'];
        guard.update([link(n, true)]);
      }
      return [...registry.all()].filter(({ generation }) => counts.isArchived(generation));
    };
    counts.load();
    room = 1;
    const isOfShop = (n: number) => n <= 3;
    const kept = replacePods((n) => (isOfShop(n) ? 'shop' : 'tenant'));
    expect(kept.filter(({ ifindex }) => isOfShop(ifindex)).map(({ ifindex }) => ifindex)).toEqual([1, 2, 3]);
    expect([kept.length, forgotten.length, problems]).toEqual([MAX_ARCHIVED, 2 * MAX_ARCHIVED - 1, []]);

    for (const iface of kept) counts.remove(iface);
    for (const iface of [...registry.all()]) registry.forget(iface);
    counters.clear();
    expect(replacePods(() => 'one').filter(({ ifindex }) => isOfShop(ifindex))).toEqual([]);
  });

  it('no disk - a namespace that replaces many pods displaces its own counts; control: they are the newer ones', () => {
    // No file can be written under a file.
    rmSync(dir, { recursive: true });
    writeFileSync(dir, '');
    room = 6;
    const isOfShop = (n: number) => n <= 2;
    for (let n = 1; n <= 20; n += 1) {
      guard.update([link(n)]);
      const podNamespace = isOfShop(n) ? 'shop' : 'tenant';
      live(n).binding = { podUid: `pod-${n}`, podNamespace } as GuardedInterface['binding'];
      guard.update([link(n, true)]);
    }
    const kept = [...registry.all()].map(({ ifindex }) => ifindex).sort((a, b) => a - b);
    expect(kept.slice(0, 2)).toEqual([1, 2]);
    expect(kept.length).toBe(room);
    expect(kept.at(-1), 'control').toBe(20);
    expect(counts.archivedCount).toBe(0);
  });
});
