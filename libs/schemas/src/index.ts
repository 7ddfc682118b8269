export { canonicalForm, fingerprintHex, fingerprintOf, rabin64 } from './codec/canonical.ts';
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
} from './codec/codec.ts';
export { SchemaError, type SchemaErrorCode } from './codec/errors.ts';
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
} from './codec/limits.ts';
export { type MessageName, type Messages, type SchemaLookup, SchemaRegistry } from './codec/registry.ts';
export { MAX_MESSAGE_BYTES } from './codec/scratch-buffer.ts';
export * from './documents/capture.ts';
export * from './documents/instance-status.ts';
export * from './documents/node-status.ts';
export * from './documents/pods.ts';
export * from './documents/quarantine.ts';
export * from './documents/snapshot-value.ts';
export { decodeProjectedFrame, ProjectedFrameRegistry } from './fast/frame-projection.ts';
export {
  encodeCounterPart,
  encodeOwnerPart,
  encodePreEncodedFrame,
  type PreEncodedViolation,
} from './fast/pre-encoded-frame.ts';
export type {
  CounterIdentity,
  ProjectedFrame,
  ProjectedPod,
  ProjectedSample,
  ProjectedViolation,
} from './fast/projected-types.ts';
export { CURRENT_SCHEMAS, RELEASED_SCHEMAS, type SchemaText } from './generated/schemas.gen.ts';
export type * from './generated/types.gen.ts';
