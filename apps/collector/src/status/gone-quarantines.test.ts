import { samplePodIdentity } from '@bailiff/schemas/testing';
import { describe, expect, it } from 'vitest';
import { DesiredState } from '../desired/desired-state.ts';
import type { Binding } from '../identity/identity.ts';
import { type GuardedInterface, newInterface } from '../packets/subjects/guarded-interface.ts';
import { Registry } from '../packets/subjects/registry.ts';
import { GONE_AFTER_MS, GoneQuarantines, MAX_GONE_LISTED } from './gone-quarantines.ts';

const binding = (podUid: string) => ({ podUid, mac: '' }) as Binding;

/** A node whose list has the given pods, with all quarantined pods and one observer. */
function node(quarantined: string[], listed: string[], omitted = 0) {
  const desired = new DesiredState('n');
  const registry = new Registry(16);
  let revision = 0;
  const list = (uids: string[], more = {}) => {
    revision += 1;
    const pods = uids.map((uid) => samplePodIdentity({ uid, name: uid }));
    desired.receivePods(JSON.stringify({ nodeName: 'n', revision, pods, ...more }), registry.bindings());
  };
  list(listed, omitted > 0 ? { omitted } : {});
  const entries = quarantined.map((podUid) => ({
    podUid,
    podNamespace: 'shop',
    podName: podUid,
    verdictId: 'v',
    until: '',
    reason: '',
  }));
  desired.receiveQuarantine(JSON.stringify({ nodeName: 'n', revision: 1, entries }));
  const gone = new GoneQuarantines();
  return {
    desired,
    registry,
    list,
    at: (ms: number) => gone.observe(desired, registry, ms),
    add: (ifindex: number, more: Partial<GuardedInterface>): GuardedInterface => {
      const link = { ifindex, name: `v${ifindex}`, kind: 'veth', mac: '', linkNetnsid: 1, peerIfindex: 2 };
      const own = { ifindex, generation: ifindex, slot: ifindex, seenBase: 0, link };
      const iface = { ...newInterface(own, 0), ...more };
      registry.add(iface);
      return iface;
    },
  };
}

describe('quarantined pods that are gone', () => {
  it('neither listed nor with an interface, for the whole time - gone; the others are not', () => {
    const rig = node(['gone', 'listed', 'force-deleted', 'unlisted'], ['listed']);
    rig.add(1, { binding: binding('force-deleted') });
    rig.add(2, { unlistedPod: 'unlisted' });
    rig.add(3, { binding: binding('gone'), orphaned: true });
    expect(rig.at(0)).toEqual([]);
    expect(rig.at(GONE_AFTER_MS - 1)).toEqual([]);
    expect(rig.at(GONE_AFTER_MS)).toEqual(['gone']);
  });

  it('an interface that ends - its pod is gone only some time after it', () => {
    const rig = node(['force-deleted'], []);
    const iface = rig.add(1, { binding: binding('force-deleted') });
    expect(rig.at(0)).toEqual([]);
    expect(rig.at(10 * GONE_AFTER_MS)).toEqual([]);
    rig.registry.markGone(iface);
    expect(rig.at(11 * GONE_AFTER_MS)).toEqual([]);
    expect(rig.at(12 * GONE_AFTER_MS)).toEqual(['force-deleted']);
  });

  it('a pod that the list names without an object - gone like one that it does not name', () => {
    const rig = node(['p'], []);
    const pods = [samplePodIdentity({ uid: 'p', name: 'p', ended: true })];
    rig.list([], { pods });
    rig.at(0);
    expect(rig.at(GONE_AFTER_MS)).toEqual(['p']);
  });

  it('a pod that returns meanwhile - the time starts again', () => {
    const rig = node(['p'], []);
    rig.at(0);
    rig.list(['p']);
    rig.at(1);
    rig.list([]);
    expect(rig.at(GONE_AFTER_MS)).toEqual([]);
    expect(rig.at(2 * GONE_AFTER_MS)).toEqual(['p']);
  });

  it('new pods, whose interface is unknown at each look in between - the time goes on; not if it is the interface of the pod', () => {
    const rig = node(['p', 'q'], ['other']);
    rig.at(0);
    for (let n = 1; n < 10; n += 1) {
      const iface = rig.add(n, {});
      expect(rig.at((n * GONE_AFTER_MS) / 10)).toEqual([]);
      iface.binding = binding(n === 5 ? 'q' : 'other');
      if (n === 5) rig.at(GONE_AFTER_MS / 2);
    }
    for (const iface of rig.registry.allLive()) if (iface.binding?.podUid === 'q') rig.registry.markGone(iface);
    expect(rig.at(GONE_AFTER_MS)).toEqual(['p']);
    expect(rig.at(2 * GONE_AFTER_MS)).toEqual(['p', 'q']);
  });

  it.each<[string, (rig: ReturnType<typeof node>) => void, number]>([
    ['control: nothing is unknown', () => {}, 1],
    ['an interface whose pod is unknown', ({ add }) => add(1, {}), 0],
    [
      'an interface without a slot',
      ({ registry }) => {
        const waitsForSlot = { seen: { eventAtMs: null, announced: null }, linkNetnsid: null, programs: null };
        registry.others.set(9, { name: 'v9', coverage: 'not-covered', reason: '', waitsForSlot });
      },
      0,
    ],
    [
      'an interface beyond the share of a pod that is present',
      ({ add, registry }) => {
        add(1, { binding: binding('present') });
        const waitsForSlot = { seen: { eventAtMs: null, announced: null }, linkNetnsid: 1, programs: null };
        registry.others.set(9, { name: 'v9', coverage: 'not-covered', reason: '', waitsForSlot });
      },
      1,
    ],
    ['a list that omits pods', ({ list }) => list([], { omitted: 1 }), 0],
    ['a rejected list', ({ desired }) => desired.receivePods('{', []), 0],
  ])('%s', (_name, change, expected) => {
    const rig = node(['p'], []);
    change(rig);
    rig.at(0);
    expect(rig.at(GONE_AFTER_MS)).toHaveLength(expected);
  });

  it('no list yet - nothing is gone', () => {
    const gone = new GoneQuarantines();
    const desired = new DesiredState('n');
    const entry = { podUid: 'p', podNamespace: '', podName: '', verdictId: '', until: '', reason: '' };
    desired.receiveQuarantine(JSON.stringify({ nodeName: 'n', revision: 1, entries: [entry] }));
    gone.observe(desired, new Registry(1), 0);
    expect(gone.observe(desired, new Registry(1), GONE_AFTER_MS)).toEqual([]);
  });

  it('many - the status lists a bounded number at a time', () => {
    const rig = node(
      Array.from({ length: 512 }, (_, n) => `p${n}`),
      [],
    );
    rig.at(0);
    expect(rig.at(GONE_AFTER_MS)).toHaveLength(MAX_GONE_LISTED);
  });
});
