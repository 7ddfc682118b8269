/** What is wrong with a set of policies that are each valid by themselves, or with the file that they stand in. */

/** One place in a policy: its key or file name, and the dotted path of the field. */
export interface FieldRef {
  readonly policy: string;
  readonly field: string;
}

export type PolicyErrorCode =
  /** More rules on one path, address, value or set than the kernel maps hold. */
  | 'POLICY_LIMIT'
  /** A file that is no YAML, no policy, or names what is unknown. */
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
