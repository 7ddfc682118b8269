/**
 * Runtime policies: merging, compiling to map entries, and the decision as a pure function. Start
 * at sets/set.ts.
 */

export {
  DRIFT_VALUES,
  FAMILY_NUMBERS,
  KERNEL_VALUES,
  MOUNT_VALUES,
  type MountValue,
  OPERATIONS,
  type OperationName,
  PROTOCOL_NUMBERS,
  RULE_ACTIONS,
  type RuleAction,
  TYPE_NUMBERS,
} from '@bailiff/vocabulary';
export type { AddressEntry, AddressRuleEntry } from './compile/addresses.ts';
export * from './compile/compile.ts';
export * from './compile/encode.ts';
export * from './compile/hash.ts';
export { ADDRESS_RULES, COUNTER_EXTRA, PATH_RULES, VALUE_RULES } from './compile/layout.ts';
export type { PathEntry, PathRuleEntry } from './compile/paths.ts';
export * from './compile/sources.ts';
export * from './model/explain.ts';
export * from './model/model.ts';
export * from './policies/json-schema.ts';
export * from './policies/load.ts';
export * from './policies/merge.ts';
export * from './policies/select.ts';
export * from './policies/yaml-documents.ts';
export * from './sets/errors.ts';
export * from './sets/names.ts';
export * from './sets/set.ts';
