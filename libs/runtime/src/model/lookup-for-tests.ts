/**
 * Decides by the encoded map entries, with the look-ups of the kernel programs: hash chain, longest
 * prefix, value keys.
 *
 * Only for tests, which compare its decisions with those of model.ts. It reads bytes instead of
 * typed entries, so that the tests cover the encoding. Deliberately independent of model.ts.
 */

import { parseAddress } from '@bailiff/bpf';
import {
  AddressRuleLayout,
  AddressRulesLayout,
  PathMasksLayout,
  PathRuleLayout,
  PathRulesLayout,
  RtAddressKeyLayout,
  SetHeadLayout,
  ValueRuleLayout,
  ValueRulesLayout,
} from '@bailiff/bpf/runtime-layout';
import type { EncodedSet, MapEntry } from '../compile/encode.ts';
import { childHash, components, type HashKey, rootHash, siphash13 } from '../compile/hash.ts';
import { SOURCE_CHILDREN, SOURCE_SELF } from '../compile/layout.ts';
import { operationNumber, postureOf, SOCKET_ANY } from '../sets/names.ts';
import type { Operation, TaskFacts } from './model.ts';

const ALLOW_AUDIT = 0;
const ALLOW = 1;
const AUDIT = 2;
const BLOCK = 3;
const KILL = 4;
/** Every operation but execute and map-execute. */
const BEYOND_RUNNING = ~3n;
/** Operations of each class that has masks of its own: execute, read, change, unix. */
const CLASS_OPS = [0b11n, 0b100n, (1n << 18n) - (1n << 3n), 0b111n << 18n];
/** Rename and mount-point: their rules are also set on directories above a denied path. */
const ANCESTOR_BITS = (1n << 6n) | (1n << 17n);
const MAX_DEPTH = 31;
const DIRECTORY = 1;
const RECURSIVE = 2;

const isAllow = (action: number): boolean => action <= ALLOW;

interface Hit {
  rule: number;
  action: number;
}

export interface LookupDecision {
  outcome: 'pass' | 'block' | 'kill';
  counted: { cell: number; action: number }[];
}

/** Maps of one set, by the bytes of their keys. */
export class EncodedMaps {
  readonly #head: Buffer;
  readonly #set: number;
  readonly #paths: Map<string, Buffer>;
  readonly #values: Map<string, Buffer>;
  readonly #sources: Map<string, Buffer>;
  readonly #addresses: readonly MapEntry[];
  readonly #key: HashKey;

  constructor(encoded: EncodedSet, key: HashKey) {
    const byKey = (entries: readonly MapEntry[]) => new Map(entries.map((e) => [e.key.toString('hex'), e.value]));
    this.#head = encoded.head.value;
    this.#set = encoded.head.key.readUInt32LE(0);
    this.#paths = byKey(encoded.paths);
    this.#values = byKey(encoded.values);
    this.#sources = byKey(encoded.sources);
    this.#addresses = encoded.addresses;
    this.#key = key;
  }

  #lookup(map: Map<string, Buffer>, second: number, third: bigint): Buffer | undefined {
    const key = Buffer.alloc(16);
    key.writeUInt32LE(this.#set);
    key.writeUInt32LE(second, 4);
    key.writeBigUInt64LE(third, 8);
    return map.get(key.toString('hex'));
  }

  #chain(path: string): bigint[] {
    const hashes = [rootHash(this.#key, path)];
    for (const name of components(path)) hashes.push(childHash(this.#key, hashes.at(-1)!, name));
    return hashes;
  }

  #sourceHolds(source: number, action: number, task: TaskFacts): boolean {
    if (source === 0) return true;
    const flags = task.chain.map(
      (path) => this.#lookup(this.#sources, source, this.#chain(path).at(-1)!)?.readUInt32LE(0) ?? 0,
    );
    if (((flags[0] ?? 0) & SOURCE_SELF) !== 0) return true;
    if (flags.slice(1).some((flag) => (flag & SOURCE_CHILDREN) !== 0)) return true;
    if (!task.cut || action <= ALLOW) return false;
    return ((this.#lookup(this.#sources, source, 0n)?.readUInt32LE(0) ?? 0) & SOURCE_CHILDREN) !== 0;
  }

  #pathRules(value: Buffer | undefined, wanted: (match: number, ops: bigint) => boolean, task: TaskFacts): Hit[] {
    if (value === undefined) return [];
    const hits: Hit[] = [];
    for (let i = 0; i < value.readUInt32LE(PathRulesLayout.count.offset); i++) {
      const at = PathRulesLayout.rules.offset + i * PathRuleLayout.size;
      const action = value.readUInt8(at + PathRuleLayout.action.offset);
      if (!wanted(value.readUInt8(at + PathRuleLayout.match.offset), value.readBigUInt64LE(at))) continue;
      if (!this.#sourceHolds(value.readUInt16LE(at + PathRuleLayout.source.offset), action, task)) continue;
      hits.push({ rule: value.readUInt32LE(at + PathRuleLayout.rule.offset), action });
    }
    return hits;
  }

  #masks(bits: bigint): { lengths: bigint; depths: number } {
    let lengths = 0n;
    let depths = 0;
    for (const [index, ops] of CLASS_OPS.entries()) {
      if ((bits & ops) === 0n) continue;
      const at = SetHeadLayout.masks.offset + index * PathMasksLayout.size;
      lengths |= this.#head.readBigUInt64LE(at + PathMasksLayout.suffixLengths.offset);
      depths |= this.#head.readUInt32LE(at + PathMasksLayout.depths.offset);
    }
    return { lengths, depths };
  }

  /** `bits`: a rule matches if it has one of these operations. */
  #onPath(bits: bigint, path: string, task: TaskFacts): Hit[] {
    const chain = this.#chain(path);
    const masks = this.#masks(bits);
    const depths = (bits & ANCESTOR_BITS) !== 0n ? 0xffff_ffff : masks.depths;
    const hits = chain.flatMap((hash, index) => {
      if (((depths >>> Math.min(index, MAX_DEPTH)) & 1) === 0) return [];
      const above = chain.length - 1 - index;
      return this.#pathRules(
        this.#lookup(this.#paths, 0, hash),
        (match, ops) => {
          const holds = above === 0 || match === RECURSIVE || (match === DIRECTORY && above === 1);
          return holds && (ops & bits) !== 0n;
        },
        task,
      );
    });
    const name = Buffer.from(components(path).at(-1) ?? '');
    for (let length = 1; length <= Math.min(63, name.length); length++) {
      if ((masks.lengths & (1n << BigInt(length))) === 0n) continue;
      const hash = siphash13(this.#key, Buffer.from(name.subarray(name.length - length)));
      hits.push(...this.#pathRules(this.#lookup(this.#paths, 1, hash), (_match, ops) => (ops & bits) !== 0n, task));
    }
    return hits;
  }

  /** An object is allowed only if each of its names is; the weakest allow applies. */
  #onNames(operation: Operation & { kind: 'path' }, bits: bigint, task: TaskFacts): Hit[] {
    const names = [operation.path, ...(operation.aliases ?? [])].map((path) => this.#onPath(bits, path, task));
    const weakest = Math.min(...names.map((hits) => Math.max(-1, ...hits.map(({ action }) => action).filter(isAllow))));
    return names.flat().filter(({ action }) => !isAllow(action) || action <= weakest);
  }

  #onAddress(operation: Operation & { kind: 'address' }, task: TaskFacts): Hit[] {
    const address = parseAddress(operation.address);
    const bits = (bytes: Buffer) => [...bytes].map((byte) => byte.toString(2).padStart(8, '0')).join('');
    let longest: MapEntry | null = null;
    let length = -1;
    for (const entry of this.#addresses) {
      const own = entry.key.readUInt32LE(RtAddressKeyLayout.prefixlen.offset) - 32;
      const prefix = bits(entry.key.subarray(RtAddressKeyLayout.address.offset)).slice(0, own);
      if (own > length && bits(address).startsWith(prefix)) {
        longest = entry;
        length = own;
      }
    }
    if (longest === null) return [];
    const { value } = longest;
    const hits: Hit[] = [];
    for (let i = 0; i < value.readUInt32LE(AddressRulesLayout.count.offset); i++) {
      const at = AddressRulesLayout.rules.offset + i * AddressRuleLayout.size;
      const action = value.readUInt8(at + AddressRuleLayout.action.offset);
      const protocol = value.readUInt8(at + AddressRuleLayout.protocol.offset);
      const op = operationNumber(operation.op) - operationNumber('connect');
      if ((value.readUInt32LE(at + AddressRuleLayout.ops.offset) & (1 << op)) === 0) continue;
      if (protocol !== 0 && protocol !== operation.protocol) continue;
      const unbound = operation.op === 'listen' && operation.port === 0 && action >= BLOCK;
      if (!unbound && operation.port < value.readUInt16LE(at + AddressRuleLayout.portFirst.offset)) continue;
      if (!unbound && operation.port > value.readUInt16LE(at + AddressRuleLayout.portLast.offset)) continue;
      if (!this.#sourceHolds(value.readUInt16LE(at + AddressRuleLayout.source.offset), action, task)) continue;
      hits.push({ rule: value.readUInt32LE(at + AddressRuleLayout.rule.offset), action });
    }
    return hits;
  }

  #onValue(op: number, key: bigint, task: TaskFacts): Hit[] {
    const value = this.#lookup(this.#values, op, key);
    if (value === undefined) return [];
    const hits: Hit[] = [];
    for (let i = 0; i < value.readUInt32LE(ValueRulesLayout.count.offset); i++) {
      const at = ValueRulesLayout.rules.offset + i * ValueRuleLayout.size;
      const action = value.readUInt8(at + ValueRuleLayout.action.offset);
      if (this.#sourceHolds(value.readUInt16LE(at + ValueRuleLayout.source.offset), action, task))
        hits.push({ rule: value.readUInt32LE(at + ValueRuleLayout.rule.offset), action });
    }
    return hits;
  }

  #hits(operation: Operation, task: TaskFacts): Hit[] {
    const op = operationNumber(operation.op);
    if (operation.kind === 'path') {
      const own = this.#onNames(operation, 1n << BigInt(op), task);
      if (operation.oldName !== true) return own;
      return [...own, ...this.#onNames(operation, BEYOND_RUNNING, task).filter((hit) => hit.action >= BLOCK)];
    }
    if (operation.kind === 'abstract') {
      const hash = siphash13(this.#key, Buffer.from(operation.name));
      const bit = 1n << BigInt(op);
      return this.#pathRules(this.#lookup(this.#paths, 2, hash), (_match, ops) => (ops & bit) !== 0n, task);
    }
    if (operation.kind === 'address') return this.#onAddress(operation, task);
    if (operation.kind !== 'value') return [];
    if (operation.op === 'drift' && operation.value === 2n)
      return [...this.#onValue(op, 2n, task), ...this.#onValue(op, 0n, task)];
    if (operation.op !== 'socket') return this.#onValue(op, operation.value, task);
    const hits: Hit[] = [];
    for (let mask = 0; mask < 8; mask++) {
      let value = operation.value;
      for (const [bit, shift] of [
        [1, 32n],
        [2, 16n],
        [4, 0n],
      ] as const)
        if ((mask & bit) !== 0) value |= BigInt(SOCKET_ANY) << shift;
      hits.push(...this.#onValue(op, value, task));
    }
    return hits;
  }

  /** Same order as decide_*() in bpf/runtime/decide.h. */
  decide(operation: Operation, task: TaskFacts): LookupDecision {
    const at = SetHeadLayout;
    const head = this.#head;
    const op = operationNumber(operation.op);
    if ((head.readBigUInt64LE(at.ops.offset) & (1n << BigInt(op))) === 0n) return { outcome: 'pass', counted: [] };
    const extra = head.readUInt32LE(at.rules.offset);
    if (operation.kind === 'unresolved') {
      const { offset } = postureOf(operation.op) === 'network' ? at.unresolvedAddress : at.unresolved;
      const blocks = head.readUInt8(offset) === BLOCK;
      const counted = [{ cell: extra + 10 + (blocks ? 1 : 0), action: blocks ? BLOCK : AUDIT }];
      return { outcome: blocks ? 'block' : 'pass', counted };
    }
    const hits = this.#hits(operation, task);
    const lowest = (action: number) =>
      hits.filter((hit) => hit.action === action).reduce((min, hit) => Math.min(min, hit.rule), Infinity);
    const counted: LookupDecision['counted'] = [];
    if (lowest(AUDIT) < Infinity) counted.push({ cell: lowest(AUDIT), action: AUDIT });
    for (const action of [KILL, BLOCK]) {
      if (lowest(action) === Infinity) continue;
      counted.push({ cell: lowest(action), action });
      return { outcome: action === KILL ? 'kill' : 'block', counted };
    }
    const allowed = lowest(ALLOW) < Infinity;
    const guard = head.readUInt8(at.guardAliases.offset);
    const alias =
      operation.kind === 'value' &&
      operation.op === 'mount' &&
      ([1n, 2n, 5n].includes(operation.value) || (operation.value === 0n && operation.alias === true));
    if (guard !== 0 && alias && !allowed) {
      counted.push({ cell: head.readUInt32LE(at.guardRule.offset), action: guard });
      return { outcome: guard === KILL ? 'kill' : 'block', counted };
    }
    const posture = op <= 1 ? 1 : op <= 20 ? 0 : op <= 25 ? 2 : op === 26 ? 3 : op <= 28 ? 4 : -1;
    if (posture >= 0 && !allowed) {
      if (head.readUInt8(at.postureBlock.offset + posture) === 1)
        return { outcome: 'block', counted: [...counted, { cell: extra + posture * 2 + 1, action: BLOCK }] };
      if (head.readUInt8(at.postureAudit.offset + posture) === 1 && lowest(ALLOW_AUDIT) === Infinity)
        counted.push({ cell: extra + posture * 2, action: AUDIT });
    }
    return { outcome: 'pass', counted };
  }
}
