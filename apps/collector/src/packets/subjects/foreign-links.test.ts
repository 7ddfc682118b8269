import { describe, expect, it } from 'vitest';
import type { CniRecord } from '../../identity/cni-record.ts';
import { ForeignLinks, MAX_LINKS, MAX_LINKS_PER_LOOK } from './foreign-links.ts';
import type { GuardedInterface } from './guarded-interface.ts';

type Iface = Pick<GuardedInterface, 'binding' | 'foreignLinks' | 'hasUnreadLinks' | 'link'>;
type Link = { ifindex: number; kind: string; linkNetnsid: number | null; name: string; peerIfindex: number | null };

const NODE = 99;
const macvlan = (name: string, more: Partial<Link> = {}): Link => {
  return { ifindex: 2, kind: 'macvlan', linkNetnsid: NODE, name, peerIfindex: 5, ...more };
};
const plain = (name: string): Link => ({ ifindex: 3, kind: 'dummy', linkNetnsid: null, name, peerIfindex: null });
const eth0: Link = { ifindex: 4, kind: 'veth', linkNetnsid: NODE, name: 'eth0', peerIfindex: 3 };

function ifaceOf(linkNetnsid: number | null, podUid = `uid-${linkNetnsid}`): Iface {
  const link = { name: `veth${linkNetnsid}`, linkNetnsid } as Iface['link'];
  return { binding: { podUid, ifName: 'eth0' } as Iface['binding'], foreignLinks: [], hasUnreadLinks: false, link };
}

function world(ifaces: Iface[], namespaces: Record<number, Link[] | Error>, records: Partial<CniRecord>[] = []) {
  const reads: number[] = [];
  const problems: string[] = [];
  const changed: string[][] = [];
  const links = new ForeignLinks<Iface>({
    registry: { allLive: () => ifaces },
    cniRecords: () => records.map((record) => ({ hostInterfaces: [], ...record }) as CniRecord),
    readLinks: (nsid, atMost) => {
      reads.push(nsid);
      const found = namespaces[nsid] ?? [];
      if (found instanceof Error) throw found;
      return found.slice(0, atMost);
    },
    nameOf: (ifindex) => (ifindex === 5 ? 'br0' : undefined),
    ownNsid: () => NODE,
    onChanged: (all) => changed.push(all.map(({ link }) => link.name)),
    onProblem: (name, reason) => problems.push(`${name}: ${reason}`),
  });
  const look = (times = 1) => {
    for (let i = 0; i < times; i += 1) links.check();
    return ifaces.map(({ foreignLinks }) => foreignLinks);
  };
  return { changed, look, namespaces, problems, reads };
}

describe('foreign links', () => {
  it('two looks in a row - reported once, until a look finds none', () => {
    const made = world([ifaceOf(1), ifaceOf(2), ifaceOf(null)], { 1: [eth0, macvlan('own0')], 2: [eth0] });
    expect(made.look()).toEqual([[], [], []]);
    expect(made.look()).toEqual([['own0 (macvlan on br0)'], [], []]);
    expect(made.look(3)).toEqual([['own0 (macvlan on br0)'], [], []]);
    expect(made.changed).toEqual([['veth1']]);
    made.namespaces[1] = [eth0];
    expect(made.look()).toEqual([[], [], []]);
    expect(made.changed).toEqual([['veth1'], ['veth1']]);
  });

  it('a pod that replaces its link all the time - reported', () => {
    const made = world([ifaceOf(1)], {});
    const seen = ['a', 'b', 'c'].map((name) => {
      made.namespaces[1] = [macvlan(name)];
      return made.look().flat();
    });
    expect(seen).toEqual([[], ['b (macvlan on br0)'], ['c (macvlan on br0)']]);
  });

  it.each([
    ['ends of pairs', [eth0, { ...eth0, kind: 'netkit', name: 'net0' }], []],
    ['links of its own namespace', [plain('d0'), macvlan('m0', { linkNetnsid: null })], []],
    ['links on those of another pod', [macvlan('m0', { linkNetnsid: 7 })], []],
    ['a device without a parent', [macvlan('vx0', { kind: 'vxlan', peerIfindex: 2 })], ['vx0 (vxlan)']],
    [
      'kinds of which the kernel names no namespace',
      ['ipvtap', 'hsr', 'virt_wifi'].map((kind) => macvlan(kind, { kind, linkNetnsid: null })),
      ['ipvtap (ipvtap)', 'hsr (hsr)', 'virt_wifi (virt_wifi)'],
    ],
    ['a parent that is gone', [macvlan('m0', { peerIfindex: 6 })], ['m0 (macvlan)']],
    [
      'many',
      'abcdef'.split('').map((name) => macvlan(name)),
      ['a', 'b', 'c', 'd'].map((n) => `${n} (macvlan on br0)`).concat('2 more'),
    ],
  ])('%s', (_name, links, expected) => {
    expect(world([ifaceOf(1)], { 1: links }).look(2)).toEqual([expected]);
  });

  it('links that CNI made without a host side - not reported in their pod', () => {
    const ifaces = [ifaceOf(1), ifaceOf(2)];
    const links = { 1: [macvlan('net1')], 2: [macvlan('net1')] };
    expect(world(ifaces, links, [{ podUid: 'uid-1', ifName: 'net1' }]).look(2)).toEqual([
      [],
      ['net1 (macvlan on br0)'],
    ]);
  });

  it.each([
    ['a link with a host side', { podUid: 'uid-1', ifName: 'net1', hostInterfaces: ['veth9'] }, 'net1'],
    ['the first interface', { podUid: 'uid-1', ifName: 'eth0' }, 'eth0'],
  ])('a link under the name of %s - reported', (_name, record, name) => {
    expect(
      world([ifaceOf(1)], { 1: [macvlan(name)] }, [record])
        .look(2)
        .flat(),
    ).toEqual([`${name} (macvlan on br0)`]);
  });

  it('two interfaces of a pod - one reports; those in two namespaces each report their own', () => {
    const ifaces = [ifaceOf(1, 'pod'), ifaceOf(1, 'pod'), ifaceOf(2, 'pod')];
    const one = ['own0 (macvlan on br0)'];
    expect(world(ifaces, { 1: [macvlan('own0')], 2: [macvlan('own0')] }).look(2)).toEqual([one, [], one]);
  });

  it('more links than are read - a problem, and later links are read next time', () => {
    const many = Array.from({ length: MAX_LINKS + 1 }, (_, i) => plain(`d${i}`));
    const greedy = MAX_LINKS_PER_LOOK / MAX_LINKS;
    const ifaces = Array.from({ length: greedy + 2 }, (_, i) => ifaceOf(i));
    const namespaces = Object.fromEntries(ifaces.map((_, i) => [i, i < greedy ? many : [macvlan('own0')]]));
    const made = world(ifaces, namespaces);
    made.look();
    expect(made.reads).toEqual([0, 1, 2, 3]);
    expect(ifaces.map(({ hasUnreadLinks }) => hasUnreadLinks)).toEqual([true, true, true, true, false, false]);
    made.look();
    expect(made.reads.slice(greedy)).toEqual([4, 5, 0, 1, 2, 3]);
    expect(made.look().slice(greedy)).toEqual([['own0 (macvlan on br0)'], ['own0 (macvlan on br0)']]);
    namespaces[0] = many.slice(0, 9);
    made.look(2);
    expect(ifaces[0]?.hasUnreadLinks).toBe(false);
  });

  it('a namespace that is gone is no problem; another failure is one, and the others are read', () => {
    const gone = Object.assign(new Error('EINVAL'), { errnoName: 'EINVAL' });
    const made = world([ifaceOf(1), ifaceOf(2), ifaceOf(3)], {
      1: gone,
      2: new Error('ENOBUFS'),
      3: [macvlan('own0')],
    });
    expect(made.look(2)).toEqual([[], [], ['own0 (macvlan on br0)']]);
    expect(new Set(made.problems)).toEqual(new Set(['veth2: the links of its pod cannot be read: ENOBUFS']));
  });
});
