export { COSIGNATURE, formatVerifierKey, type VerifierKey, verifierKey } from '@bailiff/policy/note';
export { EvidenceError } from './error.ts';
export { BundleWriter, FORMAT, type Header, MAX_LINE_BYTES } from './format/bundle.ts';
export {
  CLASSES,
  makeRecord,
  redact,
  SCHEMAS,
  type SensitiveClass,
  type SensitiveRange,
  STREAMS,
  type StoredMessage,
} from './format/record.ts';
export { hasFingerprint } from './format/schema-text.ts';
export { addressesInJson, sensitiveRanges } from './format/sensitive.ts';
export { HEAD_EVERY_MS, LogKeeper } from './keep/keeper.ts';
export { LogReader, LogWriter, TILE_HASHES } from './keep/log-files.ts';
export { splitWitness, type WitnessAddress, Witnesses, type WitnessState } from './keep/witnesses.ts';
export { type Checkpoint, checkpointIn, formatProof, LOG_NAME, witnessedHeadIn } from './log/checkpoint.ts';
export { cosignedDate } from './log/cosignature.ts';
export { consistencyProof, inclusionProof, rootOf } from './log/merkle.ts';
export { parseVerifierKey } from './log/verifier-key.ts';
export { addCheckpoint, type Decision, MAX_REQUEST_BYTES, SIZE_TYPE, type Witness } from './log/witness.ts';
export { LOGGED_STREAMS } from './verify/log-checks.ts';
export type { Check } from './verify/report.ts';
export { type Report, verifyBundle } from './verify/verify.ts';
