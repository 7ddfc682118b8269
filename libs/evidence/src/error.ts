/**
 * EVIDENCE_FORMAT: a file is not what the format demands. EVIDENCE_KEY: a key cannot be used. EVIDENCE_LOG: the
 * directory of a log cannot be continued.
 */
export type EvidenceErrorCode = 'EVIDENCE_FORMAT' | 'EVIDENCE_KEY' | 'EVIDENCE_LOG';

export class EvidenceError extends Error {
  readonly code: EvidenceErrorCode;
  constructor(code: EvidenceErrorCode, message: string, options: ErrorOptions = {}) {
    super(message, options);
    this.name = 'EvidenceError';
    this.code = code;
  }
}
