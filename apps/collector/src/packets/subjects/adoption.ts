/**
 * Plans what a start adopts from an earlier process: live generations, generations that are gone
 * with counts to publish, and leftovers to remove. Pure. Data from disk and maps is never trusted.
 *
 * A generation lives on if its record is in the kernel, its link exists and one of its programs is
 * attached to that link. It needs no file: the kernel enforces its last entries until its pod is
 * found again. Without a program, the name in its file decides, unless a pin of tcx says that its link
 * was deleted: a link of another pod can have the index and the name. So the binding is in doubt where the
 * name decides, and a newer record, or the namespace of another pod, replaces it.
 */
import type { AddressGrant, IfaceKey, IfaceRecord, LinkRecord, PlacedAttachment, ProbePort } from '@bailiff/bpf';
import type { Binding } from '../../identity/identity.ts';
import type { StoredInterface } from './binding-store.ts';
import type { KernelEntries } from './guarded-interface.ts';

export interface Found {
  /** Keys of the entries of the counter maps and files. */
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
  /** Slot of a live generation that no other has; null: it needs a free one. */
  slot: number | null;
  /**
   * Its counters entry is lost with the map. Later counts belong to another epoch, so it needs a
   * new generation.
   */
  countsLost: boolean;
  /** Entries of a live generation in the kernel. */
  kernel: KernelEntries | null;
}

export interface AdoptionPlan {
  /** Live ones with their own slots come first, so that no other gets those slots. */
  adoptions: Adoption[];
  /** Generations with programs, grants, ports or a record that are not live: to be released. */
  leftovers: IfaceKey[];
  /** Files of generations without counts. */
  idleFiles: StoredInterface[];
}

const nameOf = ({ ifindex, generation }: IfaceKey): string => `${ifindex}/${generation}`;

export function planAdoption(found: Found): AdoptionPlan {
  const files = new Map(found.files.map((file) => [nameOf(file), file]));
  const links = new Map(found.links.map((link) => [link.ifindex, link]));
  const records = new Map(found.records.map(([ifindex, record]) => [ifindex, record]));
  const attached = new Set(found.placed.filter((p) => p.place === 'head' || p.place === 'behind').map(nameOf));
  // The kernel detaches a link of tcx with its interface, and its pin stays.
  const ended = new Set(found.placed.filter((p) => p.mode === 'tcx' && p.place === 'missing').map(nameOf));
  const keys = new Map(
    found.counters.map(({ ifindex, generation }) => [nameOf({ ifindex, generation }), { ifindex, generation }]),
  );
  const counted = new Set(keys.keys());
  for (const [ifindex, { generation }] of found.records) {
    // A record whose counters entry is lost is still enforced while its program is attached.
    if (attached.has(nameOf({ ifindex, generation })))
      keys.set(nameOf({ ifindex, generation }), { ifindex, generation });
  }
  const slots = new Set<number>();
  const adoptions = [...keys.values()].map((key): Adoption => {
    const name = nameOf(key);
    const countsLost = !counted.has(name);
    const stored = files.get(name) ?? null;
    const file = stored?.binding && !attached.has(name) ? { ...stored, binding: inDoubt(stored.binding) } : stored;
    const record = records.get(key.ifindex);
    const link = links.get(key.ifindex) ?? null;
    const sameLink = attached.has(name) || (!ended.has(name) && file !== null && file.interfaceName === link?.name);
    const isLive = record?.generation === key.generation && link !== null && sameLink;
    if (!isLive) {
      const own = ended.has(name) ? stored && withoutRecord(stored) : stored;
      return { key, file: own, link: null, slot: null, countsLost, kernel: null };
    }
    const isOwn = record.slot < found.maxInterfaces && !slots.has(record.slot);
    slots.add(record.slot);
    const kernel = kernelOf(record, key, found);
    if (!isOwn) return { key, file: file && withoutUnguarded(file), link, slot: null, countsLost, kernel };
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

/**
 * Unguarded packets cannot be counted in a slot that other interfaces used: they are reported as
 * none.
 */
function withoutUnguarded(file: StoredInterface): StoredInterface {
  return file.packetsBeforeGuard < 0 ? { ...file, packetsBeforeGuard: 0, gapReported: true } : file;
}

/** The binding, if the link may be another one: neither its record nor a call of the CNI plugin proves it. */
export function inDoubt({ fromCall: _, ...binding }: Binding): Binding {
  return { ...binding, isDoubtful: true };
}

/** If only the programs were detached, the record of the interface binds it again. */
function withoutRecord(file: StoredInterface): StoredInterface {
  if (!file.binding) return file;
  const { recordFile: _, ...binding } = file.binding;
  return { ...file, binding };
}

const rank = (adoption: Adoption): number => (adoption.slot !== null ? 0 : adoption.link !== null ? 1 : 2);

function kernelOf({ slot: _, generation: __, ...record }: IfaceRecord, key: IfaceKey, found: Found): KernelEntries {
  const isOwn = (one: IfaceKey) => one.ifindex === key.ifindex && one.generation === key.generation;
  return {
    record,
    grants: found.grants.filter(isOwn).map(({ ifindex: _, generation: __, ...grant }) => grant),
    probePorts: found.probePorts.filter(isOwn).map(({ port, protocol }) => ({ port, protocol })),
  };
}
