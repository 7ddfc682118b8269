/**
 * Sizes and offsets of the structs in bpf/runtime/layout.h that user space writes for a policy set.
 *
 * Written by hand and compared by layout.test.ts with the header as a C compiler lays it out. Little-endian, without padding.
 */
export const PATH_RULES = 8;
export const VALUE_RULES = 8;
export const ADDRESS_RULES = 16;
export const COUNTER_EXTRA = 12;
/** Behind a set's rules: posture cells, class * 2 + (0 audit, 1 block). */
export const EXTRA_POSTURE = 0;
/** + (0 audit, 1 block) */
export const EXTRA_UNRESOLVED = 10;

export const SetHeadLayout = {
  size: 64,
  ops: 0,
  postureBlock: 8,
  postureAudit: 16,
  rules: 24,
  unresolved: 28,
  guardAliases: 29,
  driftVolumes: 30,
  suffixLengths: 32,
  guardRule: 40,
  digest: 48,
} as const;

export const PathKeyLayout = { size: 16, set: 0, kind: 4, hash: 8 } as const;
export const PathRuleLayout = { size: 16, ops: 0, rule: 8, source: 12, action: 14, match: 15 } as const;
export const PathRulesLayout = { size: 136, count: 0, rules: 8 } as const;

export const AddressKeyLayout = { size: 24, prefixlen: 0, set: 4, address: 8 } as const;
export const AddressRuleLayout = {
  size: 16,
  rule: 0,
  source: 4,
  portFirst: 6,
  portLast: 8,
  protocol: 10,
  action: 11,
  ops: 12,
} as const;
export const AddressRulesLayout = { size: 260, count: 0, rules: 4 } as const;

export const ValueKeyLayout = { size: 16, set: 0, op: 4, value: 8 } as const;
export const ValueRuleLayout = { size: 8, rule: 0, source: 4, action: 6 } as const;
export const ValueRulesLayout = { size: 68, count: 0, rules: 4 } as const;

export const SourceKeyLayout = { size: 16, set: 0, source: 4, program: 8 } as const;
export const SOURCE_SELF = 1;
export const SOURCE_CHILDREN = 2;
