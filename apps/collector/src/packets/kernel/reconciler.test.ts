import { type AddressGrant, type IfaceRecord, SpoofError, type SpoofMaps } from '@bailiff/bpf';
import { sampleInterfaces, samplePodIdentity } from '@bailiff/schemas/testing';
import { beforeEach, describe, expect, it } from 'vitest';
import { DesiredState } from '../../desired/desired-state.ts';
import type { CniRecord } from '../../identity/cni-record.ts';
import { type Binding, NOT_OWN_MAC } from '../../identity/identity.ts';
import type { BindingStore, StoredInterface } from '../subjects/binding-store.ts';
import { type GuardedInterface, type KernelEntries, newInterface } from '../subjects/guarded-interface.ts';
import { Reconciler, type ReconcilerOptions } from './reconciler.ts';

const link = { ifindex: 3, name: 'veth3', kind: 'veth', mac: '02:00:00:00:00:01', linkNetnsid: 1, peerIfindex: 2 };
const binding: Binding = {
  source: 'cni',
  podUid: 'a',
  podNamespace: 'shop',
  podName: 'web',
  ifName: 'eth0',
  mac: '0a:00:00:00:00:01',
  addresses: ['10.0.0.2', '10.0.0.3'],
  link: { name: link.name, mac: link.mac, linkNetnsid: link.linkNetnsid },
};
const pods = (revision: number, address: string, allowedPrefixes: string[], allowedMacs?: string[]) => {
  const interfaces = sampleInterfaces(address, '10.0.0.3');
  const pod = samplePodIdentity({ uid: 'a', interfaces, allowedPrefixes, allowedMacs, revision });
  return JSON.stringify({ nodeName: 'n1', revision, pods: [pod] });
};

describe('reconciler', () => {
  let desired: DesiredState;
  let iface: GuardedInterface;
  let record: IfaceRecord | undefined;
  let grants: AddressGrant[];
  let room: number;
  let saved: StoredInterface[];
  let problems: string[];
  let live: GuardedInterface[];
  let records: CniRecord[];
  let options: ReconcilerOptions;
  let reconciler: Reconciler;
  beforeEach(() => {
    desired = new DesiredState('n1');
    iface = { ...newInterface({ ifindex: 3, generation: 30, slot: 0, seenBase: 0, link }, 0), binding };
    record = undefined;
    grants = [];
    room = 10;
    saved = [];
    problems = [];
    live = [];
    records = [];
    options = {
      bootId: 'boot',
      maps: {
        ifaces: {
          set: (_ifindex: number, value: IfaceRecord) => {
            if (value.ipv4 === '10.0.0.66') throw new Error('refused');
            record = value;
          },
        },
        addresses: {
          // As the real table: adds, then removes; if the map is full, the added entries stay.
          replace: (_key: unknown, wanted: AddressGrant[]) => {
            for (const one of wanted) {
              if (grants.some((g) => g.cidr === one.cidr)) continue;
              if (grants.length >= room) throw new SpoofError('ERR_SPOOF_MAP_FULL', 'map addresses is full');
              grants.push(one);
            }
            grants = [...wanted];
          },
        },
        probePorts: { replace: () => undefined },
      } as unknown as SpoofMaps,
      desired,
      store: { save: (stored: StoredInterface) => saved.push(structuredClone(stored)) } as unknown as BindingStore,
      moment: () => ({ wallMs: 1_000_000, bootNs: 1_000n }),
      live: () => live,
      cniRecords: () => records,
      linkMacs: () => new Set(['02:00:00:00:00:01']),
      linkAddresses: () => ['10.0.0.1'],
      hasRecord: () => false,
      isChosen: () => null,
      isMacChosen: () => false,
      segmentOf: () => null,
      onFound: () => undefined,
      onProblem: (_, reason) => problems.push(reason),
    };
    reconciler = new Reconciler(options);
  });
  const inKernel = () => [record?.state, record?.ipv4, grants.map((g) => g.cidr).sort()];

  it('full map - record and own addresses are written, the rest is reported and written later', () => {
    desired.receivePods(pods(1, '10.0.0.2', ['10.8.0.0/16']), []);
    reconciler.apply(iface);
    expect(inKernel()).toEqual(['programmed', '10.0.0.2', ['10.0.0.3/32', '10.8.0.0/16']]);
    room = 3;
    desired.receivePods(pods(2, '10.0.0.9', ['10.8.0.0/16', '10.9.0.0/16', '10.10.0.0/16']), []);
    expect(reconciler.apply(iface)).toBe(true);
    expect(inKernel()).toEqual(['programmed', '10.0.0.9', ['10.0.0.3/32', '10.8.0.0/16']]);
    expect([iface.applyError, problems]).toEqual([expect.stringContaining('is full'), [iface.applyError]]);
    room = 10;
    reconciler.apply(iface);
    expect([grants.length, record?.hasMore, iface.applyError]).toEqual([4, true, '']);
  });
  it('adoption - a MAC and addresses of others are not given back before their owners are known', () => {
    const recorded = (one: Partial<Binding>): Binding => ({ ...binding, ...one });
    const owner = {
      ...newInterface({ ifindex: 4, generation: 31, slot: 1, seenBase: 0, link: { ...link, mac: '' } }, 0),
      binding: recorded({ podUid: 'b', recordFile: 'net-s2-eth0', recordedAtMs: 2 }),
    };
    iface.binding = recorded({ recordFile: 'net-s1-eth0', recordedAtMs: 1 });
    options.isMacChosen = ({ podUid }) => podUid === 'a';
    const all = [iface, owner];
    live = all;
    new Reconciler(options).apply(iface);
    const isLost = { mac: NOT_OWN_MAC, ipv4: null };
    expect(record, 'control: beside the owner').toMatchObject(isLost);

    const next = new Reconciler(options);
    live = [iface];
    next.appeared(iface);
    expect(record, 'adopted before the owner').toMatchObject(isLost);
    live = all;
    next.adopted();
    expect(iface.kernel?.record).toMatchObject(isLost);
    live = [iface];
    next.appeared(iface);
    expect(record, 'control: the owner is gone').toMatchObject({ mac: binding.mac, ipv4: '10.0.0.2' });
  });
  describe('addresses of other interfaces of the pod', () => {
    const others = () => iface.kernel?.grants.flatMap(({ cidr, other }) => (other ? [cidr] : []));
    const net1 = (): GuardedInterface => ({
      ...newInterface({ ifindex: 4, generation: 31, slot: 1, seenBase: 0, link }, 0),
      binding: { ...binding, ifName: 'net1', mac: '0a:00:00:00:00:09', addresses: ['10.1.0.2'] },
    });
    const macvlan = { podUid: 'a', containerId: 's1', ifName: 'net2', addresses: ['10.2.0.2'] } as CniRecord;

    it('one that a newer pod has got from a released interface - no longer an address of the pod', () => {
      const of = (n: number, more: Partial<Binding>): GuardedInterface => ({
        ...newInterface({ ifindex: n, generation: n, slot: n, seenBase: 0, link: { ...link, mac: '' } }, 0),
        binding: { ...binding, ifName: 'net1', addresses: ['10.1.0.2'], ...more },
      });
      iface.binding = { ...binding, recordFile: 'pods-s1-eth0', recordedAtMs: 1 };
      const released = of(40, { recordFile: 'net-s1-net1', recordedAtMs: 2 });
      const newer = of(41, { podUid: 'b', recordFile: 'net-s2-net1', recordedAtMs: 3 });
      live = [iface, released];
      reconciler.applyAll(live);
      expect(others(), 'control: before the newer pod').toEqual(['10.1.0.2/32']);
      live = [iface, released, newer];
      reconciler.bound(newer);
      reconciler.applyAll(live);
      expect(released.reusedAddresses).toEqual(['10.1.0.2']);
      expect(others()).toEqual([]);
    });

    it('written when one is bound or its record appears, and removed without it', () => {
      desired.receivePods(pods(1, '10.0.0.2', []), []);
      live = [iface];
      reconciler.bound(iface);
      expect(others()).toEqual([]);
      const second = net1();
      live = [iface, second];
      reconciler.bound(second);
      expect(others()).toEqual(['10.1.0.2/32']);
      expect(second.kernel?.grants.map(({ cidr, other }) => [cidr, other])).toEqual([
        ['10.0.0.2/32', true],
        ['10.0.0.3/32', true],
      ]);
      records = [macvlan];
      reconciler.recordAppeared(macvlan);
      expect(others()).toEqual(['10.2.0.2/32', '10.1.0.2/32']);
      expect([record?.hasMore, iface.omitted]).toEqual([true, 0]);
      live = [iface];
      records = [];
      reconciler.applyAll(live);
      expect(others()).toEqual([]);
    });

    it('before the list of pods is received - beside grants that are kept, and within none of them', () => {
      desired.receivePods(pods(1, '10.0.0.2', ['10.1.0.0/16']), []);
      reconciler.apply(iface);
      const before = iface.kernel?.grants;
      options.desired = new DesiredState('n1');
      records = [macvlan];
      live = [iface, net1()];
      new Reconciler(options).applyAll([iface]);
      expect(iface.kernel?.grants).toEqual([
        ...(before ?? []),
        { cidr: '10.2.0.2/32', neighbour: false, source: false, other: true },
      ]);
    });
  });
  it('granted MACs - written, without those of links of the node and of other pods', () => {
    const [granted, ofLink, ofPod] = ['52:54:00:00:00:01', '02:00:00:00:00:01', '0a:00:00:00:00:09'];
    desired.receivePods(pods(1, '10.0.0.2', [], [granted, ofLink, ofPod]), []);
    reconciler.apply(iface);
    expect(inKernel()[2]).toEqual([ofPod, '10.0.0.3/32', granted]);
    const other = newInterface({ ifindex: 4, generation: 31, slot: 1, seenBase: 0, link }, 0);
    live = [iface, { ...other, binding: { ...binding, podUid: 'b', mac: ofPod, addresses: ['10.0.0.9'] } }];
    reconciler.bound(live[1] as GuardedInterface);
    expect(iface.kernel?.grants.map(({ cidr }) => cidr)).toEqual(['10.0.0.3/32', granted]);
    expect(iface.takenGrants).toEqual([ofLink, ofPod]);
    live = [iface, { ...other, binding: { ...binding, mac: ofPod, addresses: ['10.0.0.9'] } }];
    reconciler.applyAll(live);
    expect(iface.takenGrants, 'of another interface of the pod').toEqual([ofLink]);
    expect(iface.kernel?.grants.map(({ cidr }) => cidr)).toEqual(['10.0.0.3/32', granted, ofPod]);
  });
  it('granted neighbour prefixes - announced, without addresses of links of the node and of other pods', () => {
    const interfaces = sampleInterfaces('10.0.0.2', '10.0.0.3');
    const allowedNeighbours = ['10.0.0.0/24', '10.0.0.1/32', '10.9.0.1/32'];
    const pod = samplePodIdentity({ uid: 'a', interfaces, allowedPrefixes: [], allowedNeighbours, revision: 1 });
    desired.receivePods(JSON.stringify({ nodeName: 'n1', revision: 1, pods: [pod] }), []);
    const other = newInterface({ ifindex: 4, generation: 31, slot: 1, seenBase: 0, link }, 0);
    live = [iface, { ...other, binding: { ...binding, podUid: 'b', addresses: ['10.0.0.7', '10.9.0.7'] } }];
    reconciler.apply(iface);
    const claims = (all: readonly AddressGrant[] = []) =>
      Object.fromEntries(all.map(({ cidr, neighbour, source = true }) => [cidr, `${neighbour} ${source}`]));
    expect(claims(iface.kernel?.grants)).toEqual({
      '10.0.0.3/32': 'true true',
      '10.0.0.0/24': 'true true',
      '10.9.0.1/32': 'true true',
      '10.0.0.1/32': 'false false',
      '10.0.0.7/32': 'false false',
    });
    expect(iface.takenGrants).toEqual(['10.0.0.1']);
    // Without room for its exceptions, a prefix may not be announced.
    live = [...live, { ...other, generation: 32, binding: { ...binding, podUid: 'c', addresses: ['10.0.0.8'] } }];
    room = grants.length;
    reconciler.apply(iface);
    expect(iface.applyError).toContain('is full');
    expect(claims(grants)).not.toHaveProperty('10.0.0.0/24');
    expect(claims(grants)).toMatchObject({ '10.0.0.3/32': 'true true', '10.9.0.1/32': 'true true' });
  });
  it('grants of many interfaces of a pod - links and addresses of the node are read once, not for each of them', () => {
    const allowedNeighbours = ['fd00::/64'];
    const own = { uid: 'a', allowedMacs: ['52:54:00:00:00:01'], allowedNeighbours, revision: 1 };
    desired.receivePods(JSON.stringify({ nodeName: 'n1', revision: 1, pods: [samplePodIdentity(own)] }), []);
    room = Number.POSITIVE_INFINITY;
    let reads = 0;
    const count = <T>(value: T): T => {
      reads += 1;
      return value;
    };
    const { linkMacs, linkAddresses } = options;
    options.linkMacs = () => count(linkMacs());
    options.linkAddresses = () => count(linkAddresses());
    live = Array.from({ length: 100 }, (_, n) => ({
      ...newInterface({ ifindex: n + 1, generation: n + 1, slot: n, seenBase: 0, link }, 0),
      binding: { ...binding, mac: `0a:00:00:00:01:${n}`, addresses: [`fd00::${n}`] },
    }));
    new Reconciler(options).applyAll(live);
    expect(reads).toBe(2);
    expect(live.every(({ kernel }) => kernel?.grants.length === 64)).toBe(true);
    for (const one of live) new Reconciler(options).apply(one);
    expect(reads, 'control: one by one').toBe(202);
  });
  it('all interfaces - as one by one, with a bounded number of reads per interface; control: one by one each reads all', () => {
    const many = (count: number) =>
      Array.from({ length: count }, (_, n): GuardedInterface => {
        const own = { ...link, ifindex: n + 1, name: `veth${n}` };
        // Every second one shares an address with its neighbour, every third one read its MAC.
        const addresses = [`10.1.${(n >> 1) >> 8}.${(n >> 1) & 255}`, `fd00::${n}`];
        const one: Binding = {
          ...binding,
          podUid: `pod-${n}`,
          addresses,
          mac: `0a:00:00:00:${n >> 9}:${(n >> 1) & 255}`,
        };
        return {
          ...newInterface({ ifindex: n + 1, generation: n + 1, slot: n, seenBase: 0, link: own }, 0),
          binding: { ...one, recordedAtMs: 1_000 + (n % 7), isMacRead: n % 3 === 0 },
        };
      });
    const seen = (ifaces: GuardedInterface[]) => ifaces.map(({ kernel, reusedAddresses }) => [kernel, reusedAddresses]);
    const run = (count: number, isAtOnce: boolean) => {
      let reads = 0;
      live = many(count).map((iface) => {
        const { binding: own } = iface;
        const get = () => {
          reads += 1;
          return own;
        };
        return Object.defineProperty(iface, 'binding', { get, enumerable: true });
      });
      if (isAtOnce) reconciler.applyAll(live);
      else for (const iface of live) reconciler.apply(iface);
      return { readsPerInterface: reads / count, result: seen(live) };
    };
    const [atOnce, oneByOne] = [run(100, true), run(100, false)];
    expect(atOnce.result).toEqual(oneByOne.result);
    expect(live.flatMap(({ reusedAddresses }) => reusedAddresses)).not.toEqual([]);
    expect(oneByOne.readsPerInterface).toBeGreaterThan(100);
    expect(run(400, true).readsPerInterface).toBeLessThan(atOnce.readsPerInterface + 1);
  });
  it('rivals that take long to compare are compared in a tenth of the time; control: others at each call', () => {
    let bootNs = 1_000n;
    let tookNs = 0n;
    let passes = 0;
    options.moment = () => ({ wallMs: 1_000_000, bootNs });
    options.isChosen = () => {
      passes += 1;
      bootNs += tookNs;
      return true;
    };
    options.hasRecord = () => true;
    live = [3, 4].map((ifindex): GuardedInterface => {
      const own = { ...link, ifindex, name: `veth${ifindex}` };
      const one = {
        ...binding,
        podUid: `pod-${ifindex}`,
        addresses: ['10.2.0.1'],
        recordFile: `storage-s${ifindex}-eth0`,
      };
      return {
        ...newInterface({ ifindex, generation: ifindex, slot: ifindex, seenBase: 0, link: own }, 0),
        binding: one,
        sharedAddresses: ['10.2.0.1'],
      };
    });
    const one = new Reconciler(options);
    const passesIn = (calls: number) => {
      const before = passes;
      for (let n = 0; n < calls; n += 1) {
        one.checkRivals();
        bootNs += 2_000_000_000n;
      }
      return passes - before;
    };
    const each = passesIn(1);
    expect(each).toBeGreaterThan(0);
    expect(passesIn(50)).toBe(50 * each);
    tookNs = 2_000_000_000n;
    expect(passesIn(50)).toBeLessThanOrEqual(6 * each);
  });
  it('a pod that starts beside many interfaces with equal addresses - they are applied on the timer; control: few of them', () => {
    let applied = 0;
    room = 1_000;
    options.moment = () => {
      applied += 1;
      return { wallMs: 1_000_000, bootNs: BigInt(applied) };
    };
    options.isChosen = () => true;
    options.hasRecord = () => true;
    const chosen = Array.from({ length: 80 }, (_, n) => `10.2.0.${n}`);
    const started = (one: Reconciler, ifindex: number, addresses: string[]) => {
      const own = { ...link, ifindex, name: `veth${ifindex}` };
      const added = {
        ...newInterface({ ifindex, generation: ifindex, slot: ifindex, seenBase: 0, link: own }, 0),
        binding: { ...binding, podUid: `pod-${ifindex}`, mac: `0a:${ifindex}`, addresses, recordFile: `${ifindex}` },
      };
      live.push(added);
      const before = applied;
      one.bound(added);
      return applied - before;
    };
    const run = (count: number) => {
      const one = new Reconciler(options);
      live = [];
      for (let n = 0; n < count; n += 1) started(one, 100 + n, chosen);
      const ofTenant = started(one, 10, chosen);
      const before = applied;
      one.checkRivals();
      const onTimer = applied - before - 2;
      expect(live.map(({ sharedAddresses }) => sharedAddresses.length)).toEqual(live.map(() => chosen.length));
      const neighbour = started(one, 11, ['10.3.0.1']);
      return { ofTenant, onTimer, neighbour, ofOneWithTheirs: started(one, 12, ['10.2.0.7']) };
    };
    expect(run(4)).toEqual({ ofTenant: 5, onTimer: 5, neighbour: 1, ofOneWithTheirs: 6 });
    const many = run(100);
    expect(many).toMatchObject({ onTimer: 101, neighbour: 1 });
    expect(many.ofTenant).toBeLessThan(20);
    expect(many.ofOneWithTheirs).toBeLessThan(20);
  });
  it('many addresses of two interfaces - each is compared once with the other, not once for each address', () => {
    let looks = 0;
    const addresses = Array.from({ length: 80 }, (_, n) => `10.2.0.${n}`);
    const two = [3, 4].map((ifindex): GuardedInterface => {
      const own = { ...link, ifindex, name: `veth${ifindex}` };
      const one = { ...binding, podUid: `pod-${ifindex}`, addresses, recordFile: `storage-s${ifindex}-eth0` };
      return {
        ...newInterface({ ifindex, generation: ifindex, slot: ifindex, seenBase: 0, link: own }, 0),
        binding: one,
      };
    });
    desired.hasListed = () => {
      looks += 1;
      return false;
    };
    options.isChosen = () => true;
    options.hasRecord = () => true;
    live = two;
    room = 100;
    new Reconciler(options).applyAll(two);
    expect(two.map(({ sharedAddresses }) => sharedAddresses.length)).toEqual([80, 80]);
    expect(looks).toBe(2);
  });
  it('one MAC and address that many chose - records and disk are read once for each of them, not for each pair', () => {
    const reads = { isChosen: 0, isMacChosen: 0, hasRecord: 0 };
    const counting = (what: keyof typeof reads) => () => {
      reads[what] += 1;
      return true;
    };
    for (const what of ['isChosen', 'isMacChosen', 'hasRecord'] as const) options[what] = counting(what);
    live = Array.from({ length: 40 }, (_, n): GuardedInterface => {
      const own = { ...link, ifindex: n + 10, name: `veth${n}`, mac: `02:00:00:00:01:${n}` };
      const one = { ...binding, podUid: `pod-${n}`, recordFile: `storage-s${n}-eth0`, recordedAtMs: n };
      return { ...newInterface({ ifindex: n + 10, generation: n, slot: n, seenBase: 0, link: own }, 0), binding: one };
    });
    const all = new Reconciler(options);
    all.applyAll(live);
    // The newest has none that is newer.
    expect(reads).toEqual({ isChosen: 39, isMacChosen: 40, hasRecord: 39 });
    expect(live.map(({ macStanding, sharedAddresses }) => [macStanding, sharedAddresses.length])).toEqual(
      live.map(() => ['shared', 2]),
    );
    all.bound(live.at(-1) as GuardedInterface);
    expect(reads).toEqual({ isChosen: 78, isMacChosen: 80, hasRecord: 78 });
    all.checkRivals();
    expect(reads.isChosen).toBe(117);
  });
  it('reused address - the newest binding has it, at once and without the bus', () => {
    const old = { ...iface, binding: { ...binding, recordedAtMs: 1_000 } };
    const link4 = { ...link, ifindex: 4, name: 'veth4' };
    const young: GuardedInterface = {
      ...newInterface({ ifindex: 4, generation: 31, slot: 1, seenBase: 0, link: link4 }, 0),
      binding: { ...binding, podUid: 'b', mac: '0a:00:00:00:00:02', addresses: ['10.0.0.2'], recordedAtMs: 2_000 },
    };
    live = [old];
    reconciler.apply(old);
    expect(old.kernel?.record.ipv4).toBe('10.0.0.2');
    live = [old, young];
    reconciler.bound(young);
    expect([young.kernel?.record.ipv4, old.kernel?.record.ipv4]).toEqual(['10.0.0.2', '10.0.0.3']);
    expect(old.reusedAddresses).toEqual(['10.0.0.2']);
    // The list of the bus may still have the old pod.
    desired.receivePods(pods(1, '10.0.0.2', []), []);
    reconciler.apply(old);
    expect(old.kernel?.record.ipv4).toBe('10.0.0.3');
    live = [old];
    reconciler.apply(old);
    expect([old.kernel?.record.ipv4, old.reusedAddresses]).toEqual(['10.0.0.2', []]);
  });
  it('reused address - the newest binding has it also while no list is known that confirmed the older one', () => {
    // As after a call of the CNI plugin, or as an earlier process programmed it.
    const old = { ...iface, binding: { ...binding, recordedAtMs: 1_000, fromCall: true, isMacRead: true } };
    const link4 = { ...link, ifindex: 4, name: 'veth4' };
    const young: GuardedInterface = {
      ...newInterface({ ifindex: 4, generation: 31, slot: 1, seenBase: 0, link: link4 }, 0),
      binding: { ...binding, podUid: 'b', addresses: ['10.0.0.2'], recordedAtMs: 2_000, fromCall: true },
    };
    const granted = { cidr: '10.8.0.0/16', neighbour: false };
    live = [old];
    reconciler.apply(old);
    expect(old.kernel?.record).toMatchObject({ state: 'programmed', ipv4: '10.0.0.2', mac: binding.mac });
    old.kernel?.grants.push(granted);
    live = [old, young];
    reconciler.bound(young);
    expect(young.kernel?.record).toMatchObject({ state: 'programmed', ipv4: '10.0.0.2', mac: binding.mac });
    expect(old.kernel?.record).toMatchObject({ state: 'programmed', ipv4: null, mac: NOT_OWN_MAC });
    expect(old.kernel?.grants, 'its own other address, and what the bus granted').toEqual([
      expect.objectContaining({ cidr: '10.0.0.3/32', neighbour: true }),
      granted,
    ]);
    // Their second address moves to the newer one too.
    young.binding = { ...binding, podUid: 'b', recordedAtMs: 2_000, fromCall: true };
    reconciler.apply(old);
    expect(old.kernel?.grants).toEqual([granted]);
    live = [old];
    reconciler.apply(old);
    expect(old.kernel?.record, 'no other interface has it').toMatchObject({ ipv4: '10.0.0.2', mac: binding.mac });
  });
  it('chosen address - a list that never had a pod takes it from none; one that lost the pod does', () => {
    const held = { ...iface, binding: { ...binding, recordFile: 'lab-c1-eth0', recordedAtMs: 1_000, fromCall: true } };
    const link4 = { ...link, ifindex: 4, name: 'veth4' };
    const tenant: GuardedInterface = {
      ...newInterface({ ifindex: 4, generation: 31, slot: 1, seenBase: 0, link: link4 }, 0),
      binding: { ...binding, podUid: 'b', mac: '0a:00:00:00:00:02', recordedAtMs: 2_000, fromCall: true },
    };
    reconciler = new Reconciler({
      ...options,
      hasRecord: () => true,
      isChosen: ({ podUid }) => podUid === 'b',
    });
    live = [held, tenant];
    const [with1, without] = [pods(1, '10.0.0.2', []), JSON.stringify({ nodeName: 'n1', revision: 2, pods: [] })];
    desired.receivePods(without, []);
    reconciler.applyAll(live);
    expect([held.kernel?.record.ipv4, held.reusedAddresses]).toEqual(['10.0.0.2', []]);
    expect(held.sharedAddresses).toEqual(['10.0.0.2', '10.0.0.3']);
    desired.receivePods(with1.replace('"revision":1', '"revision":3'), [held.binding]);
    desired.receivePods(without.replace('"revision":2', '"revision":4'), [held.binding]);
    reconciler.applyAll(live);
    expect(held.reusedAddresses, 'control: it was listed before').toEqual(['10.0.0.2', '10.0.0.3']);
  });
  it('orphaned - in the record at once; its address and MAC are free for others', () => {
    const link4 = { ...link, ifindex: 4, name: 'veth4' };
    const orphan: GuardedInterface = {
      ...newInterface({ ifindex: 4, generation: 31, slot: 1, seenBase: 0, link: link4 }, 0),
      binding: { ...binding, podUid: 'b', recordedAtMs: 2_000 },
    };
    iface = { ...iface, binding: { ...binding, isMacRead: true, recordedAtMs: 1_000 } };
    live = [orphan, iface];
    reconciler.apply(iface);
    expect(iface.kernel?.record, 'control').toMatchObject({ mac: NOT_OWN_MAC, ipv4: null });
    orphan.orphaned = true;
    for (const one of live) reconciler.apply(one);
    expect(iface.kernel?.record).toMatchObject({ mac: binding.mac, ipv4: '10.0.0.2', orphaned: false });
    expect(orphan.kernel?.record.orphaned).toBe(true);
  });
  it('failed write - reported, shown, never thrown, and retried', () => {
    desired.receivePods(pods(1, '10.0.0.66', []), []);
    expect(reconciler.apply(iface)).toBe(false);
    expect([iface.applyError, problems.length]).toEqual([expect.stringContaining('refused'), 1]);
    desired.receivePods(pods(2, '10.0.0.7', []), []);
    expect(reconciler.apply(iface)).toBe(true);
    expect([record?.ipv4, iface.applyError]).toEqual(['10.0.0.7', '']);
  });
  it('unknown parts - the kernel keeps the entries of an earlier process, part by part', () => {
    desired.receivePods(pods(1, '10.0.0.7', ['10.8.0.0/16']), []);
    desired.receiveQuarantine(
      JSON.stringify({
        nodeName: 'n1',
        revision: 1,
        entries: [{ podUid: 'a', podNamespace: '', podName: '', verdictId: '', until: '', reason: '' }],
      }),
    );
    desired.receiveConfig('spoof.namespace.shop.default', '{"modes":{"tunnel":"audit"}}');
    desired.markSynced('spoof');
    reconciler.apply(iface);
    const left = record as IfaceRecord;
    expect([left.state, left.modes.tunnel, left.quarantineUntilNs > 0n]).toEqual(['programmed', 'audit', true]);
    const unknown = new DesiredState('n1');
    for (const remaining of [binding, null]) {
      iface.binding = remaining;
      desired.pods = unknown.pods;
      desired.quarantined = unknown.quarantined;
      desired.known.clear();
      desired.receiveConfig('spoof.namespace.shop.default', null);
      expect(reconciler.apply(iface)).toBe(false);
      expect(record).toEqual(left);
    }
    iface.binding = binding;
    desired.markSynced('spoof');
    reconciler.apply(iface);
    expect(record).toEqual({ ...left, modes: { ...left.modes, tunnel: 'enforce' } });
    desired.known.add('pods').add('quarantine');
    reconciler.apply(iface);
    expect([record?.state, record?.ipv4, record?.quarantineUntilNs, grants.length]).toEqual([
      'provisional',
      '10.0.0.2',
      0n,
      1,
    ]);
  });
  it.each([
    ['of this version', NOT_OWN_MAC],
    ['of an earlier version', '00:00:00:00:00:00'],
  ])('MAC of others %s - frames stay dropped while the interface is unbound; the next binding decides', (_, mac) => {
    reconciler.apply(iface);
    const left = { ...(record as IfaceRecord), mac };
    iface.kernel = { ...(iface.kernel as KernelEntries), record: left };
    record = left;
    iface.binding = null;
    reconciler.apply(iface);
    expect(record.mac).toBe(mac);
    iface.binding = binding;
    reconciler.apply(iface);
    expect(record.mac, 'control: it has the MAC alone').toBe(binding.mac);
  });
  it('namespace id - the first id after the binding is not a move; a later change is one', () => {
    iface.binding = { ...binding, link: { ...binding.link, linkNetnsid: null } };
    iface.link = { ...link, linkNetnsid: null };
    reconciler.apply(iface);
    iface.link = { ...link, linkNetnsid: 5 };
    reconciler.apply(iface);
    expect([iface.found, saved.at(-1)?.binding?.link.linkNetnsid]).toEqual([[], 5]);
    iface.link = { ...link, linkNetnsid: 6 };
    reconciler.apply(iface);
    expect(iface.found).toMatchObject([{ vector: 'interface-moved', detail: 'peer namespace id 5 -> 6' }]);
  });
  it('mismatch - reported once, also across processes; the next mismatch increments the count of its state', () => {
    desired.receivePods(pods(1, '10.0.0.7', []), []);
    reconciler.apply(iface);
    reconciler.apply(iface);
    const stored = saved.at(-1) as StoredInterface;
    expect(iface.found).toHaveLength(1);
    const next = { ...iface, found: [], lastReported: stored.lastReported, occurrences: stored.occurrences };
    reconciler.apply(next);
    expect(next.found).toEqual([]);
    desired.receivePods(pods(2, '10.0.0.8', []), []);
    reconciler.apply(next);
    expect(next.found).toMatchObject([{ state: 'programmed', cumulativePackets: 1 }]);
    desired.receivePods(pods(3, '10.0.0.7', []), []);
    reconciler.apply(next);
    expect(next.found.at(-1)).toMatchObject({ state: 'programmed', cumulativePackets: 2 });
  });
});
