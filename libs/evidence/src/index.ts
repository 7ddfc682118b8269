export { EvidenceError } from './error.ts';
export { BundleWriter, FORMAT, type Header, MAX_LINE_BYTES } from './format/bundle.ts';
export {
  CLASSES,
  makeRecord,
  redact,
  type SensitiveClass,
  type SensitiveRange,
  type StoredMessage,
} from './format/record.ts';
export { addressesInJson, sensitiveRanges } from './format/sensitive.ts';
export { parseVerifierKey } from './log/note.ts';
export type { Check } from './verify/report.ts';
export { type Report, verifyBundle } from './verify/verify.ts';
