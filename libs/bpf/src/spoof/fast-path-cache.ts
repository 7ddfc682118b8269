/**
 * Writes the fast-path cache (the `cards` array): a copy of a record's MAC and first addresses that
 * fastpath.h compares with plain packets.
 *
 * Data path: maps.ts, at each write of a record → here → the `cards` array. Invariants: an entry
 * exists only while its record is in force. It is invalidated before the record changes and
 * published afterwards; after a crash in between, packets take the slow path. Every write gives all
 * words of an entry the next tag (events.h explains the tag). A record that not every plain packet
 * may pass by has no entry. Limits: FASTPATH_COUNT entries; if two interfaces share an index, the
 * one published last has it.
 */
import { parseAddress, parseMac } from '../core/addresses.ts';
import type { BpfMap } from '../core/bpf-map.ts';
import { encodeU32 } from '../core/integers.ts';
import type { IfaceRecord } from './encode.ts';
import { FastpathEntryLayout, FastpathShapeValues } from './layout.gen.ts';

const { FASTPATH_COUNT, FASTPATH_HAS_SHIFT, FASTPATH_SLOT_SHIFT, FASTPATH_TAG_SHIFT } = FastpathShapeValues;
const WORD_BYTES = 8;
const WORDS = FastpathEntryLayout.size / WORD_BYTES;
const TAG_OFFSET = FASTPATH_TAG_SHIFT / 8;
const HAS_OFFSET = FASTPATH_HAS_SHIFT / 8;
const MAX_TAG = 0xffff;
/** Largest slot that fits beside the ifindex. */
const MAX_SLOT = 2 ** (FASTPATH_TAG_SHIFT - FASTPATH_SLOT_SHIFT) - 1;

export interface FastPathCache {
  /** Removes the entry of an interface, if it has one. */
  invalidate(ifindex: number): void;
  invalidateAll(): void;
  /** Publishes the entry of a record that plain packets may use instead of the record. */
  publish(ifindex: number, record: IfaceRecord): void;
}

/** Entry of a record, without tag. Null: the record must not have one. */
export function encodeFastPathEntry(ifindex: number, record: IfaceRecord): Buffer | null {
  const { state, mac, ipv4, ipv6, slot, quarantineUntilNs, orphaned = false } = record;
  if (state === 'unknown' || mac === null || quarantineUntilNs !== 0n || orphaned || slot > MAX_SLOT) return null;
  const ownMac = parseMac(mac);
  // No frame is the pod's own, also none from this address.
  if (((ownMac[0] as number) & 1) === 1) return null;
  const layout = FastpathEntryLayout;
  const entry = Buffer.alloc(layout.size);
  entry.writeUInt32LE(ifindex, layout.interface.offset);
  entry.writeUInt16LE(slot, layout.interface.offset + FASTPATH_SLOT_SHIFT / 8);
  ownMac.copy(entry, layout.mac.offset);
  if (ipv4 !== null) {
    parseAddress(ipv4).copy(entry, layout.ipv4.offset, 12);
    entry.writeUInt8(1, layout.ipv4.offset + HAS_OFFSET);
  }
  if (ipv6 !== null) {
    const address = parseAddress(ipv6);
    for (let word = 0; word * TAG_OFFSET < address.length; word += 1)
      address.copy(entry, layout.ipv6.offset + word * WORD_BYTES, word * TAG_OFFSET, (word + 1) * TAG_OFFSET);
    entry.writeUInt8(1, layout.ipv6.offset + 2 * WORD_BYTES + HAS_OFFSET);
  }
  return entry;
}

const ifindexOf = (entry: Buffer): number => entry.readUInt32LE(FastpathEntryLayout.interface.offset);

/** Typed view of the array. The caller closes it. */
export function fastPathCache(map: BpfMap): FastPathCache {
  const at = (ifindex: number) => encodeU32(ifindex % FASTPATH_COUNT);
  const put = (key: Buffer, entry: Buffer, old: Buffer) => {
    const tag = (old.readUInt16LE(TAG_OFFSET) + 1) & MAX_TAG;
    for (let word = 0; word < WORDS; word += 1) entry.writeUInt16LE(tag, word * WORD_BYTES + TAG_OFFSET);
    map.set(key, entry);
  };
  const clear = (key: Buffer, old: Buffer) => put(key, Buffer.alloc(FastpathEntryLayout.size), old);
  return {
    invalidate: (ifindex) => {
      const key = at(ifindex);
      const old = map.get(key) as Buffer;
      if (ifindexOf(old) === ifindex) clear(key, old);
    },
    invalidateAll: () => {
      for (const [key, old] of map.entries()) if (ifindexOf(old) !== 0) clear(key, old);
    },
    publish: (ifindex, record) => {
      const key = at(ifindex);
      const entry = encodeFastPathEntry(ifindex, record);
      if (entry !== null) put(key, entry, map.get(key) as Buffer);
    },
  };
}
