import { describe, expect, it } from 'vitest';
import type { Binding, Bound } from './identity.ts';
import {
  isReplaced,
  lifeOf,
  NEVER_SEEN,
  type PodLife,
  type PodSigns,
  type RecordSight,
  type Seen,
  type Sources,
  signsOf,
} from './pod-life.ts';

const signs = (cgroup: string, record: string, list: string, isReplaced = false, network = 'present'): PodSigns =>
  ({ cgroup, record, list, network, isReplaced }) as PodSigns;
const SEEN: Seen = { cgroup: true, record: true, folder: '/r' };
const binding = {
  source: 'cni',
  podUid: 'a',
  ifName: 'eth0',
  recordFile: 'pods-s1-eth0',
  recordedAtMs: 1_000,
} as Binding;

describe('life of a pod', () => {
  it.each<[name: string, signs: PodSigns, life: PodLife]>([
    ['cgroup and record are gone, without a bus', signs('absent', 'absent', 'unknown'), 'ended'],
    ['cgroup is gone and the list omits it, bound without a record', signs('absent', 'unknown', 'absent'), 'ended'],
    ['cgroup is gone and the list omits it, CNI failed to release it', signs('absent', 'present', 'absent'), 'ended'],
    ['the object has a finalizer: listed, but released', signs('absent', 'absent', 'present'), 'ended'],
    ['a later sandbox of it', signs('present', 'absent', 'present', true), 'ended'],
    ['a later sandbox, and its record was never on disk', signs('present', 'unknown', 'present', true), 'ended'],
    ['its pod lives and has left the network', signs('present', 'absent', 'present', false, 'absent'), 'ended'],
    [
      'its pod lives, no folder proves that it left',
      signs('present', 'absent', 'present', false, 'unknown'),
      'unknown',
    ],
    ['its pod has ended, no folder', signs('absent', 'absent', 'present', false, 'unknown'), 'ended'],
    ['everything knows it', signs('present', 'present', 'present'), 'alive'],
    ['deleted by force, its containers run on', signs('present', 'present', 'absent'), 'alive'],
    ['released, its last process has not ended', signs('present', 'absent', 'absent'), 'alive'],
    ['a later sandbox, CNI has not released this one', signs('present', 'present', 'present', true), 'alive'],
    ['its cgroup is missed for a moment', signs('absent', 'present', 'present'), 'alive'],
    ['only its cgroup is gone', signs('absent', 'unknown', 'unknown'), 'unknown'],
    ['only its cgroup is gone, the others cannot tell', signs('absent', 'present', 'unknown'), 'unknown'],
    ['no cgroup was seen, records were deleted', signs('unknown', 'absent', 'unknown'), 'unknown'],
    ['no cgroup was seen, the list is late', signs('unknown', 'present', 'absent'), 'unknown'],
    ['no cgroup was seen, neither other knows it', signs('unknown', 'absent', 'absent'), 'unknown'],
    ['nothing is known', signs('unknown', 'unknown', 'unknown'), 'unknown'],
  ])('%s', (_name, given, life) => {
    expect(lifeOf(given)).toBe(life);
  });

  it.each<[name: string, seen: Seen, cgroups: string[] | null, records: string[], wanted: unknown]>([
    ['a pod that starts', NEVER_SEEN, ['b'], [], ['unknown', 'unknown', NEVER_SEEN]],
    ['its record is on disk', NEVER_SEEN, ['a'], ['pods-s1-eth0'], ['present', 'present', SEEN]],
    ['its call is not over', NEVER_SEEN, ['a'], [], ['present', 'unknown', { cgroup: true, record: false }]],
    ['it was seen in both', SEEN, ['b'], ['pods-s2-eth0'], ['absent', 'absent', SEEN]],
    ['no complete listing of cgroups', SEEN, null, ['pods-s1-eth0'], ['unknown', 'present', SEEN]],
  ])('signs - %s', (_name, before, cgroups, records, wanted) => {
    const recordOf: Sources['recordOf'] = ({ recordFile = '' }) =>
      records.includes(recordFile) ? { folder: '/r' } : 'gone';
    const sources = { recordOf, list: () => 'unknown' as const };
    const found = signsOf(binding, before, { ...sources, cgroups: cgroups && new Set(cgroups) });
    expect([found.signs.cgroup, found.signs.record, found.seen]).toEqual(wanted);
  });

  it.each<[sight: RecordSight, seen: Seen, ifName: string, record: string, network: string]>([
    ['released', SEEN, 'net1', 'absent', 'absent'],
    ['gone', SEEN, 'net1', 'absent', 'unknown'],
    ['unread', SEEN, 'net1', 'unknown', 'unknown'],
    [{ folder: '/r' }, SEEN, 'net1', 'present', 'present'],
    ['gone', NEVER_SEEN, 'net1', 'unknown', 'present'],
    ['released', SEEN, 'eth0', 'absent', 'present'],
  ])('its network - %j, %j, %s', (sight, before, ifName, record, network) => {
    const { signs: found } = signsOf({ ...binding, ifName }, before, {
      cgroups: new Set('a'),
      recordOf: () => sight,
      list: () => 'present',
    });
    expect([found.record, found.network]).toEqual([record, network]);
  });

  it('replaced - by a later sandbox of the same pod and interface alone', () => {
    const at = (ifindex: number, change: Partial<Binding>): Bound => ({ ifindex, binding: { ...binding, ...change } });
    const own = at(3, {});
    const later = { recordFile: 'pods-s2-eth0', recordedAtMs: 2_000 };
    const by = (other: Bound) => isReplaced(own, [own, other]);
    expect(by(at(4, later))).toBe(true);
    expect(by(at(4, { ...later, podUid: 'b' })), 'another pod').toBe(false);
    expect(by(at(4, { ...later, ifName: 'net1', recordFile: 'left-s2-net1' })), 'another interface').toBe(false);
    expect(by(at(4, { recordFile: 'multus-s1-eth0', recordedAtMs: 2_000 })), 'another record of it').toBe(false);
    expect(by(at(4, { ...later, recordedAtMs: 500 })), 'the clock was set back').toBe(false);
    expect(by(at(2, later)), 'an older interface').toBe(false);
    expect(by(at(4, { recordFile: undefined, recordedAtMs: undefined })), 'without a record').toBe(false);
    expect(by({ ifindex: 4, binding: null })).toBe(false);
    // A pod joins a further network again.
    const net1 = { ifName: 'net1', recordFile: 'left-s1-net1' };
    const again = [at(4, { ...net1, recordedAtMs: 2_000 })];
    expect(isReplaced(at(3, net1), again)).toBe(true);
    expect(isReplaced(at(3, { ...net1, recordedAtMs: 2_000 }), again), 'one record names both').toBe(false);
  });
});
