export { canonicalForm, fingerprintHex, fingerprintOf, rabin64 } from './canonical.ts';
export * from './capture.ts';
export {
  type Decoded,
  decode,
  decodeResponse,
  decodeVerdict,
  decodeViolationFrame,
  decodeWithLookup,
  encodeResponse,
  encodeVerdict,
  encodeViolationFrame,
  fingerprintIn,
} from './codec.ts';
export { SchemaError, type SchemaErrorCode } from './errors.ts';
export * from './instance-status.ts';
export {
  decodeJudgedFrame,
  type JudgedFrame,
  type JudgedPod,
  JudgedRegistry,
  type JudgedSample,
  type JudgedViolation,
} from './judged-frame.ts';
export {
  CUT_MARK,
  cutEnd,
  cutFront,
  cutTexts,
  LIST_LIMITS,
  type ListClass,
  type ListLimit,
  listLimit,
  MAX_LIST,
  MAX_TEXT,
  TEXT_LIMITS,
  type TextClass,
  type TextLimit,
  textLimit,
} from './limits.ts';
export * from './node-status.ts';
export type { Origin } from './origins.ts';
export * from './pods.ts';
export * from './quarantine.ts';
export { type MessageName, type Messages, type SchemaLookup, SchemaRegistry } from './registry.ts';
export { CURRENT_SCHEMAS, RELEASED_SCHEMAS, type SchemaText } from './schemas.gen.ts';
export { MAX_MESSAGE_BYTES } from './slab.ts';
export * from './snapshot-value.ts';
export { encodeToldFrame, type ToldViolation, tellCounter, tellOwner } from './told-frame.ts';
export type * from './types.gen.ts';
