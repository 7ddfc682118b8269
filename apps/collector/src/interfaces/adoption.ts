/**
 * What a start takes over from an earlier process: kernel maps, pinned links and files -> which generations live on, which are gone
 * and still owe their counts, and what is nobody's any more. Pure: what comes from disk or from maps is compared, never trusted.
 *
 * A generation lives on when its record is in the kernel, its link is there and a program of it still stands on that link; a file is
 * not needed for that (whose it is can be found again, and until then it is judged as the kernel was told last).
 */
import type { AddressGrant, IfaceKey, IfaceRecord, LinkRecord, PlacedAttachment, ProbePort } from '@bailiff/bpf';
import type { StoredInterface } from '../identity/binding-store.ts';
import type { KernelEntries } from './guarded-interface.ts';

export interface Found {
  /** Keys of the counters entries. */
  counters: readonly IfaceKey[];
  records: readonly [ifindex: number, record: IfaceRecord][];
  grants: readonly (IfaceKey & AddressGrant)[];
  probePorts: readonly (IfaceKey & ProbePort)[];
  placed: readonly PlacedAttachment[];
  links: readonly LinkRecord[];
  files: readonly StoredInterface[];
  maxInterfaces: number;
}

export interface Adoption {
  key: IfaceKey;
  file: StoredInterface | null;
  /** null: the generation is gone. */
  link: LinkRecord | null;
  /** Slot of a live generation that is its own alone; null: it needs a free one. */
  slot: number | null;
  /** Its counters entry was lost with the map: whatever it counts from now on is of another epoch, so of another generation. */
  countsLost: boolean;
  /** What the kernel was told of a live generation. */
  kernel: KernelEntries | null;
}

export interface AdoptionPlan {
  /** Live ones with their own slots come first, so that nobody else is given those. */
  adoptions: Adoption[];
  /** Generations that have programs, grants, ports or a record and are not live: to be released. */
  leftovers: IfaceKey[];
  /** Files of generations that counted nothing. */
  idleFiles: StoredInterface[];
}

const nameOf = ({ ifindex, generation }: IfaceKey): string => `${ifindex}/${generation}`;

export function planAdoption(found: Found): AdoptionPlan {
  const files = new Map(found.files.map((file) => [nameOf(file), file]));
  const links = new Map(found.links.map((link) => [link.ifindex, link]));
  const records = new Map(found.records.map(([ifindex, record]) => [ifindex, record]));
  const standing = new Set(found.placed.filter((p) => p.place === 'head' || p.place === 'behind').map(nameOf));
  const keys = new Map(
    found.counters.map(({ ifindex, generation }) => [nameOf({ ifindex, generation }), { ifindex, generation }]),
  );
  const counted = new Set(keys.keys());
  for (const [ifindex, { generation }] of found.records) {
    // A record whose counters entry was lost is still in force when its program stands.
    if (standing.has(nameOf({ ifindex, generation })))
      keys.set(nameOf({ ifindex, generation }), { ifindex, generation });
  }
  const slots = new Set<number>();
  const adoptions = [...keys.values()].map((key): Adoption => {
    const name = nameOf(key);
    const countsLost = !counted.has(name);
    const file = files.get(name) ?? null;
    const record = records.get(key.ifindex);
    const link = links.get(key.ifindex) ?? null;
    const sameLink = standing.has(name) || (file !== null && file.interfaceName === link?.name);
    const isLive = record?.generation === key.generation && link !== null && sameLink;
    if (!isLive) return { key, file, link: null, slot: null, countsLost, kernel: null };
    const isOwn = record.slot < found.maxInterfaces && !slots.has(record.slot);
    slots.add(record.slot);
    const kernel = kernelOf(record, key, found);
    if (!isOwn) return { key, file: file && withoutGap(file), link, slot: null, countsLost, kernel };
    return { key, file, link, slot: record.slot, countsLost, kernel };
  });
  const live = new Set(adoptions.filter((a) => a.link !== null).map((a) => nameOf(a.key)));
  const leftovers = new Map<string, IfaceKey>();
  const recordKeys = found.records.map(([ifindex, { generation }]) => ({ ifindex, generation }));
  for (const { ifindex, generation } of [...found.placed, ...recordKeys, ...found.grants, ...found.probePorts]) {
    const name = nameOf({ ifindex, generation });
    if (!live.has(name)) leftovers.set(name, { ifindex, generation });
  }
  return {
    adoptions: adoptions.sort((a, b) => rank(a) - rank(b)),
    leftovers: [...leftovers.values()],
    idleFiles: found.files.filter((file) => !keys.has(nameOf(file))),
  };
}

/** What it saw in a slot that is not its own nobody knows: a gap that was not measured yet is not made up of it. */
function withoutGap(file: StoredInterface): StoredInterface {
  return file.packetsBeforeGuard < 0 ? { ...file, packetsBeforeGuard: 0, gapReported: true } : file;
}

const rank = (adoption: Adoption): number => (adoption.slot !== null ? 0 : adoption.link !== null ? 1 : 2);

function kernelOf({ slot: _, generation: __, ...record }: IfaceRecord, key: IfaceKey, found: Found): KernelEntries {
  const mine = (one: IfaceKey) => one.ifindex === key.ifindex && one.generation === key.generation;
  return {
    record,
    grants: found.grants.filter(mine).map(({ cidr, neighbour }) => ({ cidr, neighbour })),
    probePorts: found.probePorts.filter(mine).map(({ port, protocol }) => ({ port, protocol })),
  };
}
