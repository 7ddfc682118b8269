/**
 * Runtime policies: merging, compiling to map entries, and the decision as a pure function. Start
 * at sets/set.ts.
 */

export {
  DRIFT_VALUES,
  FAMILY_NUMBERS,
  KERNEL_VALUES,
  MOUNT_VALUES,
  OPERATIONS,
  type OperationName,
  PROTOCOL_NUMBERS,
  RULE_ACTIONS,
  type RuleAction,
  TYPE_NUMBERS,
} from '@bailiff/vocabulary';

export * from './compile/compile.ts';
export * from './compile/encode.ts';
export * from './compile/hash.ts';
export { COUNTER_EXTRA } from './compile/layout.ts';

export * from './compile/sources.ts';
export * from './model/explain.ts';
export * from './model/model.ts';
export * from './model/recorded.ts';
export * from './policies/load.ts';
export * from './policies/merge.ts';
export * from './policies/policy-index.ts';
export * from './policies/select.ts';
export * from './policies/yaml-documents.ts';
export * from './sets/errors.ts';
export * from './sets/names.ts';
export * from './sets/set.ts';
