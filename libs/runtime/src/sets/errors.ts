/** Errors of a set of valid policies, or of a policy file. */

/** A field of a policy: the policy's key or file name, and the dotted path of the field. */
export interface FieldRef {
  readonly policy: string;
  readonly field: string;
}

export type PolicyErrorCode =
  /** More rules on one path, address, value or set than the kernel maps hold. */
  | 'POLICY_LIMIT'
  /** A file that is not YAML, not a policy, or has an unknown field or name. */
  | 'POLICY_FILE';

export class PolicyError extends Error {
  readonly code: PolicyErrorCode;
  readonly fields: readonly FieldRef[];
  constructor(code: PolicyErrorCode, message: string, fields: readonly FieldRef[] = [], options?: ErrorOptions) {
    super(message, options);
    this.name = 'PolicyError';
    this.code = code;
    this.fields = fields;
  }
}
