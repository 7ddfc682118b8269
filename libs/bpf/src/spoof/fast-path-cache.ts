/**
 * Cards: what fast.h asks instead of a record. A copy of a record's MAC and first addresses, reached by an index.
 *
 * Place in the path: spoof-maps.ts, around each writing of a record → here → the `cards` array.
 * Invariants: a card is there only while its record is in force, so it is withdrawn before the record changes and dealt after
 * it; a crash between the two leaves none, and the packets go the whole way. Every writing gives all words of a place the
 * next tag (events.h says why). A record that not every plain packet may pass by has no card.
 * Bounds: CARD_COUNT places; of two interfaces of one place the one dealt last has it.
 */
import { parseAddress, parseMac } from '../core/addresses.ts';
import type { BpfMap } from '../core/bpf-map.ts';
import { encodeU32 } from '../core/integers.ts';
import type { IfaceRecord } from './encode.ts';
import { CardLayout, CardShapeValues } from './layout.gen.ts';

const { CARD_COUNT, CARD_HAS_SHIFT, CARD_SLOT_SHIFT, CARD_TAG_SHIFT } = CardShapeValues;
const WORD_BYTES = 8;
const WORDS = CardLayout.size / WORD_BYTES;
const TAG_OFFSET = CARD_TAG_SHIFT / 8;
const HAS_OFFSET = CARD_HAS_SHIFT / 8;
const MAX_TAG = 0xffff;
/** As many as there is room for beside ifindex. */
const MAX_SLOT = 2 ** (CARD_TAG_SHIFT - CARD_SLOT_SHIFT) - 1;

export interface Cards {
  /** Of an interface, if it has one. */
  withdraw(ifindex: number): void;
  withdrawAll(): void;
  /** Where a plain packet of the interface may pass without a look at the record. */
  deal(ifindex: number, record: IfaceRecord): void;
}

/** The card of a record, without tag; null: it must have none. */
export function encodeCard(ifindex: number, record: IfaceRecord): Buffer | null {
  const { state, mac, ipv4, ipv6, slot, quarantineUntilNs } = record;
  if (state === 'unknown' || mac === null || quarantineUntilNs !== 0n || slot > MAX_SLOT) return null;
  const layout = CardLayout;
  const card = Buffer.alloc(layout.size);
  card.writeUInt32LE(ifindex, layout.interface.offset);
  card.writeUInt16LE(slot, layout.interface.offset + CARD_SLOT_SHIFT / 8);
  parseMac(mac).copy(card, layout.mac.offset);
  if (ipv4 !== null) {
    parseAddress(ipv4).copy(card, layout.ipv4.offset, 12);
    card.writeUInt8(1, layout.ipv4.offset + HAS_OFFSET);
  }
  if (ipv6 !== null) {
    const address = parseAddress(ipv6);
    for (let word = 0; word * TAG_OFFSET < address.length; word += 1)
      address.copy(card, layout.ipv6.offset + word * WORD_BYTES, word * TAG_OFFSET, (word + 1) * TAG_OFFSET);
    card.writeUInt8(1, layout.ipv6.offset + 2 * WORD_BYTES + HAS_OFFSET);
  }
  return card;
}

const ifindexOf = (card: Buffer): number => card.readUInt32LE(CardLayout.interface.offset);

/** The typed view of the array; owns nothing. */
export function cardsIn(map: BpfMap): Cards {
  const at = (ifindex: number) => encodeU32(ifindex % CARD_COUNT);
  const put = (key: Buffer, card: Buffer, old: Buffer) => {
    const tag = (old.readUInt16LE(TAG_OFFSET) + 1) & MAX_TAG;
    for (let word = 0; word < WORDS; word += 1) card.writeUInt16LE(tag, word * WORD_BYTES + TAG_OFFSET);
    map.set(key, card);
  };
  const clear = (key: Buffer, old: Buffer) => put(key, Buffer.alloc(CardLayout.size), old);
  return {
    withdraw: (ifindex) => {
      const key = at(ifindex);
      const old = map.get(key) as Buffer;
      if (ifindexOf(old) === ifindex) clear(key, old);
    },
    withdrawAll: () => {
      for (const [key, old] of map.entries()) if (ifindexOf(old) !== 0) clear(key, old);
    },
    deal: (ifindex, record) => {
      const key = at(ifindex);
      const card = encodeCard(ifindex, record);
      if (card !== null) put(key, card, map.get(key) as Buffer);
    },
  };
}
