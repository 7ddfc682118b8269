/**
 * Encodes a compiled set as bytes of map keys and values, ready for one batch update per map.
 *
 * Invariants: pure. Every buffer has the size of its struct, and unused bytes are zero, because the
 * kernel hashes whole keys. The collector writes all entries first, then the one value of `rt_pods`
 * or `rt_containers` that refers to the set.
 */

import assert from 'node:assert/strict';
import {
  AddressRuleLayout,
  AddressRulesLayout,
  PathKeyLayout,
  PathMasksLayout,
  PathRuleLayout,
  PathRulesLayout,
  RtAddressKeyLayout,
  SetHeadLayout,
  SourceKeyLayout,
  ValueKeyLayout,
  ValueRuleLayout,
  ValueRulesLayout,
} from '@bailiff/bpf/runtime-layout';
import { RULE_ACTIONS, type RuleAction } from '@bailiff/vocabulary';
import { operationNumber, PATH_CLASSES, PATH_KINDS, PATH_MATCHES } from '../sets/names.ts';
import type { AddressEntry } from './addresses.ts';
import type { CompiledSet, SetHead, ValueEntry } from './compile.ts';
import { ADDRESS_RULES, PATH_RULES, VALUE_RULES } from './layout.ts';
import type { PathEntry } from './paths.ts';
import type { SourceEntry } from './sources.ts';

export interface MapEntry {
  readonly key: Buffer;
  readonly value: Buffer;
}

/** Entries by map: `rt_sets`, `rt_paths`, `rt_addresses`, `rt_values`, `rt_sources`. */
export interface EncodedSet {
  readonly head: MapEntry;
  readonly paths: readonly MapEntry[];
  readonly addresses: readonly MapEntry[];
  readonly values: readonly MapEntry[];
  readonly sources: readonly MapEntry[];
}

const actionNumber = (action: RuleAction): number => RULE_ACTIONS.indexOf(action);

function u32(value: number): Buffer {
  const buffer = Buffer.alloc(4);
  buffer.writeUInt32LE(value);
  return buffer;
}

/** Encodes `struct set_head`. */
export function encodeHead(head: SetHead): Buffer {
  const at = SetHeadLayout;
  const buffer = Buffer.alloc(at.size);
  buffer.writeBigUInt64LE(head.ops, at.ops.offset);
  head.postureBlock.forEach((bit, index) => {
    buffer.writeUInt8(bit, at.postureBlock.offset + index);
  });
  head.postureAudit.forEach((bit, index) => {
    buffer.writeUInt8(bit, at.postureAudit.offset + index);
  });
  buffer.writeUInt32LE(head.rules, at.rules.offset);
  buffer.writeUInt8(actionNumber(head.unresolved), at.unresolved.offset);
  buffer.writeUInt8(actionNumber(head.unresolvedAddress), at.unresolvedAddress.offset);
  if (head.guard !== null) {
    buffer.writeUInt8(actionNumber(head.guard.action), at.guardAliases.offset);
    buffer.writeUInt32LE(head.guard.rule, at.guardRule.offset);
  }
  buffer.writeUInt8(head.driftVolumes ? 1 : 0, at.driftVolumes.offset);
  PATH_CLASSES.forEach((name, index) => {
    const masks = at.masks.offset + index * PathMasksLayout.size;
    buffer.writeBigUInt64LE(head.masks[name].suffixLengths, masks + PathMasksLayout.suffixLengths.offset);
    buffer.writeUInt32LE(head.masks[name].depths, masks + PathMasksLayout.depths.offset);
  });
  Buffer.from(head.digest, 'hex').copy(buffer, at.digest.offset, 0, 16);
  return buffer;
}

function encodePath(set: number, entry: PathEntry): MapEntry {
  assert(entry.rules.length <= PATH_RULES, 'more rules on a path than the layout holds');
  const key = Buffer.alloc(PathKeyLayout.size);
  key.writeUInt32LE(set, PathKeyLayout.set.offset);
  key.writeUInt32LE(PATH_KINDS.indexOf(entry.kind), PathKeyLayout.kind.offset);
  key.writeBigUInt64LE(entry.hash, PathKeyLayout.hash.offset);
  const value = Buffer.alloc(PathRulesLayout.size);
  value.writeUInt32LE(entry.rules.length, PathRulesLayout.count.offset);
  value.writeUInt32LE(Number(entry.below), PathRulesLayout.below.offset);
  entry.rules.forEach((rule, index) => {
    const at = PathRulesLayout.rules.offset + index * PathRuleLayout.size;
    value.writeBigUInt64LE(rule.ops, at + PathRuleLayout.ops.offset);
    value.writeUInt32LE(rule.rule, at + PathRuleLayout.rule.offset);
    value.writeUInt16LE(rule.source, at + PathRuleLayout.source.offset);
    value.writeUInt8(actionNumber(rule.action), at + PathRuleLayout.action.offset);
    value.writeUInt8(PATH_MATCHES.indexOf(rule.match), at + PathRuleLayout.match.offset);
  });
  return { key, value };
}

function encodeAddress(set: number, entry: AddressEntry): MapEntry {
  assert(entry.rules.length <= ADDRESS_RULES, 'more rules on an address than the layout holds');
  const key = Buffer.alloc(RtAddressKeyLayout.size);
  key.writeUInt32LE(32 + entry.prefixLength, RtAddressKeyLayout.prefixlen.offset);
  key.writeUInt32LE(set, RtAddressKeyLayout.set.offset);
  entry.address.copy(key, RtAddressKeyLayout.address.offset);
  const value = Buffer.alloc(AddressRulesLayout.size);
  value.writeUInt32LE(entry.rules.length, AddressRulesLayout.count.offset);
  entry.rules.forEach((rule, index) => {
    const at = AddressRulesLayout.rules.offset + index * AddressRuleLayout.size;
    value.writeUInt32LE(rule.rule, at + AddressRuleLayout.rule.offset);
    value.writeUInt16LE(rule.source, at + AddressRuleLayout.source.offset);
    value.writeUInt16LE(rule.portFirst, at + AddressRuleLayout.portFirst.offset);
    value.writeUInt16LE(rule.portLast, at + AddressRuleLayout.portLast.offset);
    value.writeUInt8(rule.protocol, at + AddressRuleLayout.protocol.offset);
    value.writeUInt8(actionNumber(rule.action), at + AddressRuleLayout.action.offset);
    value.writeUInt32LE(rule.ops, at + AddressRuleLayout.ops.offset);
  });
  return { key, value };
}

function encodeValue(set: number, entry: ValueEntry): MapEntry {
  assert(entry.rules.length <= VALUE_RULES, 'more rules on a value than the layout holds');
  const key = Buffer.alloc(ValueKeyLayout.size);
  key.writeUInt32LE(set, ValueKeyLayout.set.offset);
  key.writeUInt32LE(operationNumber(entry.op), ValueKeyLayout.op.offset);
  key.writeBigUInt64LE(entry.value, ValueKeyLayout.value.offset);
  const value = Buffer.alloc(ValueRulesLayout.size);
  value.writeUInt32LE(entry.rules.length, ValueRulesLayout.count.offset);
  entry.rules.forEach((rule, index) => {
    const at = ValueRulesLayout.rules.offset + index * ValueRuleLayout.size;
    value.writeUInt32LE(rule.rule, at + ValueRuleLayout.rule.offset);
    value.writeUInt16LE(rule.source, at + ValueRuleLayout.source.offset);
    value.writeUInt8(actionNumber(rule.action), at + ValueRuleLayout.action.offset);
  });
  return { key, value };
}

function encodeSource(set: number, entry: SourceEntry): MapEntry {
  const key = Buffer.alloc(SourceKeyLayout.size);
  key.writeUInt32LE(set, SourceKeyLayout.set.offset);
  key.writeUInt32LE(entry.source, SourceKeyLayout.source.offset);
  key.writeBigUInt64LE(entry.program, SourceKeyLayout.program.offset);
  return { key, value: u32(entry.flags) };
}

/** Encodes all entries of a set. */
export function encodeSet(compiled: CompiledSet): EncodedSet {
  const { set } = compiled;
  assert(Number.isInteger(set) && set > 0 && set <= 0xffff_ffff, `a set's number is 1 to 2^32-1: ${set}`);
  return {
    head: { key: u32(set), value: encodeHead(compiled.head) },
    paths: compiled.paths.map((entry) => encodePath(set, entry)),
    addresses: compiled.addresses.map((entry) => encodeAddress(set, entry)),
    values: compiled.values.map((entry) => encodeValue(set, entry)),
    sources: compiled.sources.map((entry) => encodeSource(set, entry)),
  };
}
