import { type IfaceRecord, type LinkRecord, type Place, type PlacedAttachment, vectorModes } from '@bailiff/bpf';
import { describe, expect, it } from 'vitest';
import { NEVER_SEEN } from '../../identity/pod-life.ts';
import { type Found, planAdoption } from './adoption.ts';
import type { StoredInterface } from './binding-store.ts';

const modes = vectorModes(() => 'enforce');
const record = (generation: number, slot: number): IfaceRecord => ({
  generation,
  slot,
  state: 'programmed',
  mac: null,
  ipv4: '10.0.0.2',
  ipv6: null,
  hasMore: true,
  modes,
  quarantineUntilNs: 9n,
  auditUntilNs: 0n,
  sampling: null,
});
const link = (ifindex: number) => ({ ifindex, name: `veth${ifindex}` }) as LinkRecord;
const file = (ifindex: number, generation: number, slot: number): StoredInterface => ({
  ifindex,
  generation,
  slot,
  seenBase: 0,
  interfaceName: `veth${ifindex}`,
  binding: null,
  podSeen: NEVER_SEEN,
  listedBefore: [],
  pod: null,
  guardedAfterMs: null,
  conservationBase: null,
  receivedBase: 0,
  packetsBeforeGuard: 0,
  gapReported: true,
  occurrences: {},
  lastReported: {},
});
const placed = (ifindex: number, generation: number, place: Place = 'head') =>
  (['in', 'out'] as const).map((direction) => ({ ifindex, generation, direction, mode: 'tcx' as const, place }));
const key = (ifindex: number, generation: number) => ({ ifindex, generation });
const nothing: Found = {
  counters: [],
  records: [],
  grants: [],
  probePorts: [],
  placed: [],
  links: [],
  files: [],
  maxInterfaces: 8,
};
const brief = (found: Partial<Found>) =>
  planAdoption({ ...nothing, ...found }).adoptions.map((a) => [a.key.generation, a.link !== null, a.slot]);

describe('adoption', () => {
  it('record, program and link - lives on with its slot and entries, with or without file', () => {
    const found = {
      counters: [key(3, 30)],
      records: [[3, record(30, 5)] as [number, IfaceRecord]],
      placed: placed(3, 30),
      links: [link(3)],
      grants: [{ ...key(3, 30), cidr: '10.9.0.0/16', neighbour: false }],
    };
    expect(brief({ ...found, files: [file(3, 30, 5)] })).toEqual([[30, true, 5]]);
    const plan = planAdoption({ ...nothing, ...found });
    expect(plan.adoptions).toMatchObject([
      {
        file: null,
        slot: 5,
        kernel: {
          record: { state: 'programmed', ipv4: '10.0.0.2', quarantineUntilNs: 9n },
          grants: [{ cidr: '10.9.0.0/16' }],
        },
      },
    ]);
    expect(plan.leftovers).toEqual([]);
    expect(brief({ ...found, counters: [] })).toEqual([[30, true, 5]]);
  });
  it('counts without file - come after generations with slots, and need no slot', () => {
    const counters = [key(9, 10), key(9, 11), key(3, 30), key(4, 40)];
    const records: [number, IfaceRecord][] = [
      [3, record(30, 0)],
      [4, record(40, 1)],
    ];
    const all = [...placed(3, 30), ...placed(4, 40)];
    expect(brief({ counters, records, placed: all, links: [link(3), link(4)] })).toEqual([
      [30, true, 0],
      [40, true, 1],
      [10, false, null],
      [11, false, null],
    ]);
  });
  it.each<[string, Partial<Found>]>([
    ['the link is gone', { links: [] }],
    ['another interface has the ifindex', { placed: placed(3, 30, 'missing'), links: [{ ...link(3), name: 'other' }] }],
    ['another interface has the ifindex and the name', { placed: placed(3, 30, 'missing') }],
    ['the record has a later generation', { records: [[3, record(31, 5)]] }],
    ['there is no record', { records: [] }],
  ])('gone - %s', (_name, over) => {
    const found = {
      counters: [key(3, 30)],
      records: [[3, record(30, 5)] as [number, IfaceRecord]],
      placed: placed(3, 30),
      links: [link(3)],
      files: [file(3, 30, 5)],
    };
    const plan = planAdoption({ ...nothing, ...found, ...over });
    expect(plan.adoptions.find((a) => a.key.generation === 30)).toMatchObject({ link: null, slot: null });
    expect(plan.leftovers).toContainEqual(key(3, 30));
  });
  it('a link of tcx whose pin is detached - its record may bind the link that has its name', () => {
    const binding = { recordFile: 'lab-c1-eth0', podUid: 'a' } as StoredInterface['binding'];
    const bindings = (place: Place) =>
      planAdoption({
        ...nothing,
        counters: [key(3, 30)],
        records: [[3, record(30, 5)]],
        placed: placed(3, 30, place),
        links: place === 'missing' ? [link(3)] : [],
        files: [{ ...file(3, 30, 5), binding }],
      }).adoptions.map((a) => a.file?.binding);
    expect(bindings('missing')).toEqual([{ podUid: 'a' }]);
    expect(bindings('interface-gone'), 'control: the link is gone').toEqual([binding]);
  });
  it('program detached from the same link - lives on and is attached again', () => {
    const found = { counters: [key(3, 30)], records: [[3, record(30, 5)] as [number, IfaceRecord]], links: [link(3)] };
    expect(brief({ ...found, files: [file(3, 30, 5)] })).toEqual([[30, true, 5]]);
    expect(brief(found)).toEqual([[30, false, null]]);
  });
  it('adopted by its name alone - its binding is in doubt; control: not beside a program', () => {
    const binding = { podUid: 'a', isDoubtful: false, fromCall: true } as StoredInterface['binding'];
    const found = { counters: [key(3, 30)], records: [[3, record(30, 5)] as [number, IfaceRecord]], links: [link(3)] };
    const bindingWith = (pins: PlacedAttachment[]) =>
      planAdoption({ ...nothing, ...found, placed: pins, files: [{ ...file(3, 30, 5), binding }] }).adoptions[0]?.file
        ?.binding;
    const clsact = placed(3, 30, 'missing').map((pin) => ({ ...pin, mode: 'clsact' as const }));
    for (const pins of [clsact, []]) expect(bindingWith(pins)).toEqual({ podUid: 'a', isDoubtful: true });
    expect(bindingWith(placed(3, 30)), 'control').toEqual(binding);
  });
  it('shared or impossible slot - one keeps it, the others need another', () => {
    const records: [number, IfaceRecord][] = [
      [3, record(30, 5)],
      [4, record(40, 5)],
      [5, record(50, 99)],
    ];
    const all = [...placed(3, 30), ...placed(4, 40), ...placed(5, 50)];
    const counters = [key(3, 30), key(4, 40), key(5, 50)];
    expect(brief({ counters, records, placed: all, links: [link(3), link(4), link(5)] })).toEqual([
      [30, true, 5],
      [40, true, null],
      [50, true, null],
    ]);
  });
  it('uncounted unguarded packets - counted only in the original slot', () => {
    const waiting = (ifindex: number, generation: number) => ({
      ...file(ifindex, generation, 5),
      packetsBeforeGuard: -1,
      gapReported: false,
    });
    const measured = { ...waiting(5, 50), packetsBeforeGuard: 7 };
    const { adoptions } = planAdoption({
      ...nothing,
      counters: [key(3, 30), key(4, 40), key(5, 50), key(6, 60)],
      records: [3, 4, 5].map((ifindex) => [ifindex, record(ifindex * 10, 5)]),
      placed: [3, 4, 5].flatMap((ifindex) => placed(ifindex, ifindex * 10)),
      links: [3, 4, 5].map(link),
      files: [waiting(3, 30), waiting(4, 40), measured, waiting(6, 60)],
    });
    const unguarded = adoptions.map((a) => [a.key.generation, a.slot, a.file?.packetsBeforeGuard, a.file?.gapReported]);
    expect(unguarded).toEqual([
      [30, 5, -1, false],
      [40, null, 0, true],
      [50, null, 7, false],
      [60, null, -1, false],
    ]);
  });
  it('leftovers - released; files without counts - removed', () => {
    const plan = planAdoption({
      ...nothing,
      records: [[7, record(70, 1)]],
      placed: placed(8, 80, 'interface-gone'),
      probePorts: [{ ...key(9, 90), port: 80, protocol: 'tcp' }],
      files: [file(6, 60, 0)],
    });
    expect(plan.adoptions).toEqual([]);
    expect(plan.leftovers).toEqual([key(8, 80), key(7, 70), key(9, 90)]);
    expect(plan.idleFiles.map((f) => f.generation)).toEqual([60]);
  });
});
