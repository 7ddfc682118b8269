import type { PodIdentity } from '@bailiff/schemas';
import { sampleInterfaces, samplePodIdentity } from '@bailiff/schemas/testing';
import { describe, expect, it } from 'vitest';
import type { CniRecord } from './cni-record.ts';
import {
  type Binding,
  bindByCni,
  checkSnapshot,
  disagreement,
  identityOf,
  type LinkFacts,
  macStandingOf,
  movedFrom,
  NOT_OWN_MAC,
  recordFor,
  replaces,
  rivalryOf,
  ZERO_MAC,
} from './identity.ts';

const link: LinkFacts = {
  ifindex: 7,
  name: 'veth1',
  kind: 'veth',
  mac: '16:00:00:00:00:02',
  linkNetnsid: 3,
  peerIfindex: 2,
};
const record: CniRecord = {
  file: 'f',
  containerId: 'c',
  plugin: '',
  isChosen: false,
  isMacChosen: false,
  ifName: 'eth0',
  podUid: 'u1',
  podNamespace: 'shop',
  podName: 'web-1',
  hostInterfaces: ['cni0', 'veth1'],
  podMac: '0a:00:00:00:00:01',
  addresses: ['10.0.0.2', 'fd00::2'],
  writtenAtMs: 10_000,
};
const binding = bindByCni(link, record, 9_990);
const query = { link, notBeforeMs: 8_990, isUsed: () => false };
const pod = (uid: string, addresses: string[], extra: Partial<PodIdentity> = {}): PodIdentity => {
  const interfaces = addresses.length > 0 ? sampleInterfaces(...addresses) : [];
  return samplePodIdentity({ uid, name: uid, interfaces, ...extra });
};
const snapshot = (pods: PodIdentity[]) => ({ nodeName: 'n', revision: 4, pods });
const bound = (uid: string, addresses: string[]): Binding => ({ ...binding, podUid: uid, addresses });

describe('identity - binding', () => {
  it('by an older CNI record - in doubt, unless it has the MAC of the link; control: the MAC of every link', () => {
    const doubt = (hostMac: string, one = link) =>
      bindByCni(one, { ...record, hostMacs: { veth1: hostMac } }, record.writtenAtMs + 1).isDoubtful;
    expect(bindByCni(link, record, record.writtenAtMs + 1).isDoubtful).toBe(true);
    expect([doubt(link.mac), doubt('02:00:00:00:00:99')]).toEqual([false, true]);
    // Of Calico, and of netkit in mode L3.
    for (const mac of ['ee:ee:ee:ee:ee:ee', '00:00:00:00:00:00']) expect(doubt(mac, { ...link, mac })).toBe(true);
  });

  it('by CNI record - the one that names the link', () => {
    expect(binding).toMatchObject({
      source: 'cni',
      podUid: 'u1',
      mac: '0a:00:00:00:00:01',
      addresses: ['10.0.0.2', 'fd00::2'],
    });
  });
  it('in mode L3 of netkit - the MAC of all its frames, whatever the record says', () => {
    const layer3 = { ...link, kind: 'netkit', mac: ZERO_MAC };
    expect(bindByCni(layer3, record, 0).mac).toBe(ZERO_MAC);
    expect(bindByCni({ ...layer3, mac: link.mac }, record, 0).mac).toBe(record.podMac);
    expect(bindByCni({ ...layer3, kind: 'veth' }, record, 0).mac).toBe(record.podMac);
  });
  it('by CNI record - none when no record names the link', () => {
    expect(recordFor({ ...query, link: { ...link, name: 'veth9' } }, [record])).toBeNull();
  });
  it('by CNI record - the newest of those that name the link, in any order', () => {
    const older = { ...record, podUid: 'u0', writtenAtMs: 9_999 };
    expect(recordFor(query, [record, older])).toBe(record);
    expect(recordFor(query, [older, record])).toBe(record);
  });
  it('by CNI record - a record older than an announced interface belongs to an earlier one of that name', () => {
    const old = { ...record, writtenAtMs: query.notBeforeMs - 1 };
    expect(recordFor(query, [old])).toBeNull();
    expect(recordFor({ ...query, notBeforeMs: 0 }, [old])).toBe(old);
    expect(recordFor(query, [{ ...old, writtenAtMs: old.writtenAtMs + 1 }])).not.toBeNull();
  });
  it('by CNI record - the record of an interface that is gone does not match', () => {
    expect(recordFor({ ...query, isUsed: ({ file }) => file === record.file }, [record])).toBeNull();
  });
  it.each([
    ['another pod’s, newer, over a doubtful binding', {}, {}, true],
    ['the same pod’s', { podUid: 'u1' }, {}, false],
    ['older', { writtenAtMs: 9_000 }, {}, false],
    ['over a binding whose record came after its interface', {}, { isDoubtful: false }, false],
    ['over a binding that a call confirmed', {}, { fromCall: true }, false],
    ['over a binding without the time of its record', {}, { recordedAtMs: undefined }, false],
  ])('replaced by a record - %s', (_name, over, bindingOver, expected) => {
    const doubtful = { ...binding, isDoubtful: true, ...bindingOver };
    expect(replaces({ ...record, podUid: 'u2', writtenAtMs: 10_001, ...over }, doubtful)).toBe(expected);
  });
  it.each([
    ['the same link', {}, []],
    ['renamed', { name: 'veth2' }, ['name veth1 -> veth2']],
    ['host MAC changed', { mac: '16:00:00:00:00:ff' }, ['host MAC 16:00:00:00:00:02 -> 16:00:00:00:00:ff']],
    ['peer moved to another namespace', { linkNetnsid: 5 }, ['peer namespace id 3 -> 5']],
    ['peer moved to this namespace', { linkNetnsid: null }, ['peer namespace id 3 -> none']],
    ['peer gone, the pair is being torn down', { linkNetnsid: null, peerIfindex: null }, []],
  ])('moved - %s', (_name, change, expected) => {
    expect(movedFrom(binding, { ...link, ...change })).toEqual(expected);
  });
  it('moved - the first namespace id is no move', () => {
    const early = bindByCni({ ...link, linkNetnsid: null }, record, 9_990);
    expect(movedFrom(early, link)).toEqual([]);
  });
});

describe('identity - the bus confirms', () => {
  it('no binding - unknown, whatever the bus lists', () => {
    expect(identityOf(null, pod('u1', ['10.0.0.2'])).state).toBe('unknown');
  });
  it('not yet listed - provisional with the node’s addresses, enforced', () => {
    expect(identityOf(binding, null)).toEqual({
      state: 'provisional',
      mac: '0a:00:00:00:00:01',
      addresses: ['10.0.0.2', 'fd00::2'],
      allowedPrefixes: [],
      allowedMacs: [],
      allowedTunnels: [],
      allowedNeighbours: [],
    });
  });
  it('bound by a CNI call - programmed without the bus, whose addresses still win', () => {
    const called: Binding = { ...binding, fromCall: true };
    expect(identityOf(called, null)).toMatchObject({ state: 'programmed', addresses: ['10.0.0.2', 'fd00::2'] });
    expect(identityOf(called, pod('u1', []))).toMatchObject({ state: 'programmed', addresses: binding.addresses });
    expect(identityOf(called, pod('u1', ['10.0.0.77']))).toMatchObject({ addresses: ['10.0.0.77'] });
    expect(disagreement(called, pod('u1', ['10.0.0.77']))).toContain('10.0.0.77');
    expect(identityOf({ ...called, addresses: [] }, null).state, 'a result without addresses').toBe('provisional');
  });
  it('listed without addresses - still provisional', () => {
    expect(identityOf(binding, pod('u1', []))).toMatchObject({
      state: 'provisional',
      addresses: ['10.0.0.2', 'fd00::2'],
    });
  });
  it('listed with the same addresses - programmed', () => {
    expect(identityOf(binding, pod('u1', ['10.0.0.2', 'fd00::2'], { allowedPrefixes: ['10.9.0.0/16'] }))).toMatchObject(
      {
        state: 'programmed',
        allowedPrefixes: ['10.9.0.0/16'],
      },
    );
  });
  it('listed with other addresses - those of the bus win', () => {
    expect(identityOf(binding, pod('u1', ['10.0.0.77'])).addresses).toEqual(['10.0.0.77']);
    expect(disagreement(binding, pod('u1', ['10.0.0.77']))).toEqual(['10.0.0.77', '10.0.0.2', 'fd00::2']);
  });
  it('second interface - keeps its CNI addresses, which the bus does not list', () => {
    const second: Binding = { ...binding, ifName: 'net1', addresses: ['192.168.7.2'] };
    expect(identityOf(second, pod('u1', ['10.0.0.2']))).toMatchObject({
      state: 'programmed',
      addresses: ['192.168.7.2'],
    });
    expect(disagreement(second, pod('u1', ['10.0.0.2']))).toEqual([]);
  });
});

describe('identity - found by namespace', () => {
  const found: Binding = { ...binding, source: 'netns', addresses: ['10.0.0.2'], ifName: 'x0' };
  const claim = (generation: number, mine: Binding | null, hostMac = '02:00:00:00:00:01') => ({
    generation,
    binding: mine,
    link: { mac: hostMac },
  });
  it('name of the pod’s side - ignored: the bus lists the addresses', () => {
    expect(identityOf(found, pod('u1', ['10.0.0.77']))).toMatchObject({
      state: 'programmed',
      addresses: ['10.0.0.77'],
    });
    expect(identityOf(found, null)).toMatchObject({ state: 'provisional', addresses: ['10.0.0.2'] });
  });
  it('MAC of another interface - replaced by one that no pod may use, also where an earlier version stored none', () => {
    expect(identityOf(found, null, true).mac).toBe(NOT_OWN_MAC);
    expect(identityOf({ ...found, mac: ZERO_MAC }, null).mac).toBe(NOT_OWN_MAC);
    const layer3 = { ...found, mac: ZERO_MAC, link: { ...found.link, mac: ZERO_MAC } };
    expect(identityOf(layer3, null).mac).toBe(ZERO_MAC);
    expect(identityOf(found, null).mac).toBe(found.mac);
  });
  const never = () => false;
  it('MACs that could not be read - are not contested', () => {
    const unread: Binding = { ...binding, mac: '', isMacRead: true };
    expect(macStandingOf(claim(5, unread), [claim(1, unread)], never)).toBeNull();
  });
  it.each([
    ['a record gives it to another, older or younger', [claim(1, binding), claim(9, binding)], 'others', 'own'],
    ['one that was found earlier has it', [claim(1, found)], 'others', 'own'],
    ['one that was found later has it', [claim(9, found)], 'own', 'own'],
    ['one whose record has no MAC was found earlier', [claim(1, { ...binding, isMacRead: true })], 'others', 'own'],
    ['one whose record has no MAC was found later', [claim(9, { ...binding, isMacRead: true })], 'own', 'own'],
    ['a host side has it', [claim(9, null, found.mac)], 'others', 'own'],
    ['it is alone', [claim(5, found), claim(9, { ...binding, mac: '0a:00:00:00:00:09' }), claim(8, null)], null, null],
  ])('MAC - %s', (_name, others, expected, ofGiven) => {
    expect(macStandingOf(claim(5, found), others, never)).toBe(expected);
    const read: Binding = { ...binding, isMacRead: true };
    expect(macStandingOf(claim(5, read), others, never), 'nor one that was read beside a record').toBe(expected);
    expect(macStandingOf(claim(5, binding), others, never), 'one with a record keeps it').toBe(ofGiven);
  });
  it.each([1, 9])('MAC - a pod that chooses that of another gets it from no pod, found at %d', (generation) => {
    const inNetwork = (network: string, ifName = 'net1'): Binding => ({
      ...binding,
      ifName,
      recordFile: `${network}-c1-${ifName}`,
    });
    const [chosen, given, elsewhere] = [inNetwork('a'), inNetwork('a'), inNetwork('b')];
    // Of a first interface, both the runtime and Multus write a record, each with a network of its own.
    const chosenFirst = inNetwork('pods', 'eth0');
    const both = (one: Binding, other: Binding) => {
      const isMacChosen = (of: Binding) => of === chosen || of === chosenFirst;
      const [a, b] = [claim(5, one), claim(generation, other)];
      return [macStandingOf(a, [b], isMacChosen), macStandingOf(b, [a], isMacChosen)];
    };
    expect(both(chosen, given), 'its plugin gave it to that of the same network').toEqual(['others', 'own']);
    // Nothing proves whose it is, and neither is judged for it.
    expect(both(chosen, elsewhere), 'one of another network').toEqual(['shared', 'shared']);
    expect(
      both(chosenFirst, inNetwork('multus-cni-network', 'eth0')),
      'a first interface, by the record of its runtime',
    ).toEqual(['others', 'own']);
    expect(both(chosen, chosen), 'both chose it').toEqual(['shared', 'shared']);
    expect(both(chosen, found), 'one whose MAC was read').toEqual(['shared', 'shared']);
  });
  it.each([1, 9])(
    'MAC - while no record of an interface was read, none loses it to that one, found at %d',
    (generation) => {
      const [starting, chosen, given] = [{ ...binding }, { ...binding }, { ...binding }];
      const kinds = new Map([
        [starting, null],
        [chosen, true],
        [given, false],
      ]);
      const isMacChosen = (of: Binding) => kinds.get(of as typeof binding) ?? null;
      for (const one of [chosen, given, found, starting])
        for (const [a, b] of [
          [claim(5, one), claim(generation, starting)],
          [claim(5, starting), claim(generation, one)],
        ] as const)
          expect(macStandingOf(a, [b], isMacChosen)).toBe('shared');
      const control = macStandingOf(claim(5, chosen), [claim(generation, given)], isMacChosen);
      expect(control, 'control: the record was read').toBe('others');
      const ofHost = [claim(generation, null, binding.mac)];
      expect(macStandingOf(claim(5, starting), ofHost, isMacChosen), 'a host side').toBe('own');
    },
  );
});

describe('identity - wrong snapshot', () => {
  const bindings = [bound('a', ['10.0.0.1']), bound('b', ['10.0.0.2']), bound('c', ['10.0.0.3'])];
  it.each([
    [
      'all agree',
      [
        ['a', '10.0.0.1'],
        ['b', '10.0.0.2'],
        ['c', '10.0.0.3'],
      ],
      true,
    ],
    [
      'one of three differs',
      [
        ['a', '10.0.0.9'],
        ['b', '10.0.0.2'],
        ['c', '10.0.0.3'],
      ],
      true,
    ],
    [
      'two of three differ',
      [
        ['a', '10.0.0.9'],
        ['b', '10.0.0.8'],
        ['c', '10.0.0.3'],
      ],
      false,
    ],
    ['the only comparable one differs', [['a', '10.0.0.9']], true],
    [
      'both comparable ones differ',
      [
        ['a', '10.0.0.9'],
        ['b', '10.0.0.8'],
      ],
      false,
    ],
    ['empty', [], true],
  ])('%s', (_name, pods, accepted) => {
    const check = checkSnapshot(
      snapshot((pods as [string, string][]).map(([uid, address]) => pod(uid, [address]))),
      bindings,
    );
    expect(check.accepted).toBe(accepted);
    if (!check.accepted) expect(check.reason).toMatch(/disagrees with the CNI records of 2 of [23] interfaces/);
  });
  it('pods with more addresses than the API server has of each family - never a reason either', () => {
    const chosen = [bound('a', ['10.0.0.1', '10.0.0.11']), bound('b', ['10.0.0.2', '10.0.0.12'])];
    const listing = (a: string, b: string) => checkSnapshot(snapshot([pod('a', [a]), pod('b', [b])]), chosen).accepted;
    expect([listing('10.0.0.1', '10.0.0.2'), listing('10.0.0.3', '10.0.0.4')]).toEqual([true, false]);
  });
  it('bindings by namespace - never a reason to reject', () => {
    const read = bindings.map((b) => ({ ...b, source: 'netns' as const }));
    expect(checkSnapshot(snapshot([pod('a', ['1.1.1.1']), pod('b', ['1.1.1.2'])]), read).accepted).toBe(true);
  });
});

describe('addresses of two interfaces', () => {
  const at = (ifindex: number, change: Partial<Binding> = {}) => {
    return { ifindex, binding: { ...binding, podUid: `u${ifindex}`, ...change } as Binding | null };
  };
  type One = ReturnType<typeof at>;
  const rivalry = (own: One, others: One[], held: One[] = []) =>
    rivalryOf(own, own.binding?.addresses ?? [], [own, ...others], (older) => held.includes(older));
  const reused = (own: One, ...others: One[]) => rivalry(own, others).reused;
  const { addresses } = binding;
  it('nothing was chosen, or CNI released the older one - the newer record has them; without two records, the higher ifindex', () => {
    expect(reused(at(9, { recordedAtMs: 1 }), at(3, { recordedAtMs: 2 }))).toEqual(addresses);
    expect(reused(at(3, { recordedAtMs: 2 }), at(9, { recordedAtMs: 1 }))).toEqual([]);
    expect(reused(at(3, { recordedAtMs: undefined }), at(9))).toEqual(addresses);
    expect(reused(at(9, { recordedAtMs: undefined }), at(3), { ifindex: 10, binding: null })).toEqual([]);
  });
  it('a pod chose, and CNI holds the older one - neither loses an address, and only those that both have are named', () => {
    const older = at(3, { recordedAtMs: 1 });
    const newer = at(9, { recordedAtMs: 2, addresses: ['10.0.0.2', '10.0.0.9'] });
    const shared = { reused: [], shared: ['10.0.0.2'] };
    expect([rivalry(older, [newer], [older]), rivalry(newer, [older], [older])]).toEqual([shared, shared]);
    expect(rivalry(older, [newer], [newer]), 'control: not the older one').toEqual({
      reused: ['10.0.0.2'],
      shared: [],
    });
    const third = at(10, { recordedAtMs: 3, podUid: 'u3' });
    expect(rivalry(older, [newer, third], [older]), 'a later sandbox of the same pod').toEqual({
      reused: addresses,
      shared: [],
    });
  });
  it('networks - addresses of another one are no matter', () => {
    const net = (network: string, ifindex: number, recordedAtMs: number) =>
      at(ifindex, { ifName: 'net1', recordFile: `${network}-c${ifindex}-net1`, recordedAtMs });
    expect(reused(net('left', 3, 1), net('right', 4, 2))).toEqual([]);
    expect(reused(net('left', 3, 1), net('left', 4, 2))).toEqual(addresses);
    expect(reused(net('left', 3, 1), at(4, { recordedAtMs: 2 }))).toEqual([]);
    expect(reused(at(3, { ifName: 'net1', recordFile: undefined }), at(4, { ifName: 'net1' }))).toEqual([]);
    const apart = (isApart: boolean) =>
      rivalryOf(
        net('left', 3, 1),
        addresses,
        [net('left', 4, 2)],
        () => false,
        () => isApart,
      ).reused;
    expect([apart(true), apart(false)]).toEqual([[], addresses]);
  });
});
