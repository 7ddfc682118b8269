/**
 * Fast-path cache: lets a plain packet pass without reading the record. To tell the two apart, a
 * test writes another identity to the cache entry than to the record. A packet of that identity
 * passes by the cache entry and is dropped by the record. A test run passes a frame on the loopback
 * device, ifindex 1, to the program.
 */
import { mkdtempSync, rmdirSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import {
  BpfMap,
  BpfProgram,
  detachAll,
  FOREVER_NS,
  type IfaceRecord,
  mountBpffs,
  openSpoofObject,
  type SpoofObject,
} from '@bailiff/bpf';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { encodeFastPathEntry } from '../../libs/bpf/src/spoof/fast-path-cache.ts';
import { FastpathEntryLayout, FastpathShapeValues } from '../../libs/bpf/src/spoof/layout.gen.ts';
import { udpFrame } from '../support/udp-frame.ts';
import { allModes } from './harness/node.ts';
import { command } from './harness/processes.ts';

const KEY = { ifindex: 1, generation: 1 };
const WORDS = FastpathEntryLayout.size / 8;
const RECORD: IfaceRecord = {
  generation: 1,
  slot: 3,
  state: 'programmed',
  mac: '02:00:00:00:00:07',
  hasMore: false,
  sampling: null,
  ipv4: '10.77.0.7',
  ipv6: 'fd77:1:2:3:4:5:6:7',
  modes: allModes('enforce'),
  quarantineUntilNs: 0n,
  auditUntilNs: 0n,
};
/**
 * An identity that passes only if the cache entry contains it. Each word of its entry differs from
 * the record's.
 */
const OTHER = { mac: '02:00:00:00:00:08', ipv4: '10.77.0.8', ipv6: 'fd78:8:9:a:b:c:d:e' };
const PASS = -1;
const DROP = 2;

const frameOf = ({ mac, ipv4, ipv6 }: typeof OTHER, family: 4 | 6) =>
  family === 4
    ? udpFrame({ sourceMac: mac, source: ipv4, destination: '10.77.0.1' })
    : udpFrame({ sourceMac: mac, source: ipv6, destination: 'fd77::1' });

describe('fast-path cache', () => {
  const bpffs = mkdtempSync(path.join(tmpdir(), 'bailiff-cards-'));
  const pinDir = path.join(bpffs, 'spoof');
  let object: SpoofObject;
  let seenBefore: bigint[] = [];
  const open = () => {
    object = openSpoofObject({ pinDir, maxInterfaces: 16 });
    return object.maps.ifaces;
  };
  beforeAll(() => {
    mountBpffs(bpffs);
    open();
    object.maps.counters.create(KEY);
  });
  beforeEach(() => {
    for (const [ifindex] of object.maps.ifaces.entries()) object.maps.ifaces.delete(ifindex);
    put(Buffer.alloc(FastpathEntryLayout.size));
    seenBefore = [object.maps.seen(RECORD.slot), object.maps.seen(RECORD.slot + 1)];
  });
  afterAll(async () => {
    object?.close();
    detachAll(pinDir);
    await command('umount', bpffs);
    rmdirSync(bpffs);
  });

  const raw = <T>(name: string, use: (map: BpfMap) => T): T => {
    using map = BpfMap.openPinned(path.join(pinDir, 'maps', name));
    return use(map);
  };
  const indexOf = (ifindex: number) => {
    const key = Buffer.alloc(4);
    key.writeUInt32LE(ifindex % FastpathShapeValues.FASTPATH_COUNT);
    return key;
  };
  const card = (ifindex = KEY.ifindex) => raw('cards', (map) => map.get(indexOf(ifindex)) as Buffer);
  const put = (bytes: Buffer) => raw('cards', (map) => map.set(indexOf(KEY.ifindex), bytes));
  const tags = (bytes: Buffer) => Array.from({ length: WORDS }, (_, word) => bytes.readUInt16LE(word * 8 + 6));
  const withTags = (bytes: Buffer, tag: (word: number) => number) => {
    const tagged = Buffer.from(bytes);
    for (let word = 0; word < WORDS; word += 1) tagged.writeUInt16LE(tag(word), word * 8 + 6);
    return tagged;
  };
  const run = (family: 4 | 6, who: typeof OTHER = OTHER) => {
    using program = BpfProgram.openPinned(path.join(pinDir, 'programs/spoof_ingress'));
    return program.testRun({ data: frameOf(who, family) }).retval | 0;
  };
  /** Packets counted since the test began, in the record's slot and the next one. */
  const seen = () => seenBefore.map((before, i) => object.maps.seen(RECORD.slot + i) - before);
  const own = { mac: RECORD.mac as string, ipv4: RECORD.ipv4 as string, ipv6: RECORD.ipv6 as string };
  const otherCard = () => encodeFastPathEntry(KEY.ifindex, { ...RECORD, ...OTHER }) as Buffer;

  it.each([4, 6] as const)(
    'cache entry - published with the record, a packet of IPv%i passes and is counted once',
    (family) => {
      object.maps.ifaces.set(KEY.ifindex, RECORD);
      expect(card().readUInt32LE(0)).toBe(KEY.ifindex);
      expect([run(family, own), seen()]).toEqual([PASS, [1n, 0n]]);
      expect([run(family), seen()]).toEqual([DROP, [2n, 0n]]);
    },
  );

  it.each([4, 6] as const)(
    'cache entry - passes exactly its addresses while all its words have one tag: IPv%i',
    (family) => {
      object.maps.ifaces.set(KEY.ifindex, RECORD);
      put(withTags(otherCard(), () => 9));
      expect(run(family), 'by the cache entry alone').toBe(PASS);
      // The words that are compared for a packet of this family.
      const compared = family === 4 ? [1, 2] : [1, 3, 4, 5];
      for (const torn of compared) {
        put(withTags(otherCard(), (word) => (word === torn ? 8 : 9)));
        expect(run(family), `word ${torn} of another write`).toBe(DROP);
      }
      put(withTags(otherCard(), (word) => (word === 0 ? 8 : 9)));
      expect(run(family), 'the interface of another write').toBe(DROP);
    },
  );

  it('cache entry - each bit of an address and a MAC is compared', () => {
    object.maps.ifaces.set(KEY.ifindex, RECORD);
    const flip = (frame: Buffer, bit: number) => {
      const flipped = Buffer.from(frame);
      flipped.writeUInt8(flipped.readUInt8(bit >> 3) ^ (1 << (bit & 7)), bit >> 3);
      return flipped;
    };
    using program = BpfProgram.openPinned(path.join(pinDir, 'programs/spoof_ingress'));
    const passed: string[] = [];
    const tryAll = (family: 4 | 6, name: string, from: number, bytes: number) => {
      for (let bit = from * 8; bit < (from + bytes) * 8; bit += 1)
        if ((program.testRun({ data: flip(frameOf(own, family), bit) }).retval | 0) !== DROP)
          passed.push(`${name} ${bit}`);
    };
    tryAll(4, 'mac', 6, 6);
    tryAll(4, 'ipv4', 26, 4);
    tryAll(6, 'ipv6', 22, 16);
    expect(passed).toEqual([]);
  });

  it('cache entry - invalidated with the record, and for records that need the slow path', () => {
    const { ifaces } = object.maps;
    const dealt = () => card().readUInt32LE(0) === KEY.ifindex;
    const without: Partial<IfaceRecord>[] = [
      { quarantineUntilNs: FOREVER_NS },
      { state: 'unknown' },
      { mac: null },
      { slot: 0x1_0000 },
    ];
    for (const change of without) {
      ifaces.set(KEY.ifindex, RECORD);
      expect(dealt()).toBe(true);
      ifaces.set(KEY.ifindex, { ...RECORD, ...change });
      expect([change, dealt()]).toEqual([change, false]);
    }
    ifaces.set(KEY.ifindex, RECORD);
    ifaces.delete(KEY.ifindex);
    expect(dealt()).toBe(false);
  });

  it('cache entry - every write changes the tag of all words', () => {
    const { ifaces } = object.maps;
    const given: number[] = [];
    for (const change of [() => ifaces.set(KEY.ifindex, RECORD), () => ifaces.delete(KEY.ifindex)]) {
      change();
      expect(new Set(tags(card())).size).toBe(1);
      given.push(tags(card())[0] as number);
    }
    put(withTags(card(), () => 0xffff));
    ifaces.set(KEY.ifindex, RECORD);
    expect([...given, ...tags(card())]).toEqual([1, 2, 0, 0, 0, 0, 0, 0]);
  });

  it('cache entry - of two interfaces with the same entry the last one has it, and the other uses its record', () => {
    const { ifaces } = object.maps;
    const far = KEY.ifindex + FastpathShapeValues.FASTPATH_COUNT;
    ifaces.set(KEY.ifindex, RECORD);
    ifaces.set(far, { ...RECORD, ...OTHER, generation: 2, slot: 4 });
    expect(card().readUInt32LE(0)).toBe(far);
    for (const family of [4, 6] as const) expect([run(family, own), run(family)]).toEqual([PASS, DROP]);
    expect(seen()).toEqual([4n, 0n]);
    ifaces.delete(KEY.ifindex);
    expect(card().readUInt32LE(0), 'not the entry of the deleted interface').toBe(far);
  });

  it('cache entry - the next open publishes all entries from the records, whatever was written without them', () => {
    object.maps.ifaces.set(KEY.ifindex, RECORD);
    put(withTags(otherCard(), () => 9));
    object.close();
    const ifaces = open();
    expect([run(4, own), run(4)]).toEqual([PASS, DROP]);
    expect(tags(card())[0]).toBe(11);
    ifaces.delete(KEY.ifindex);
    put(withTags(otherCard(), () => 9));
    object.close();
    open();
    expect(card().readUInt32LE(0), 'the entry of no record').toBe(0);
  });
});
