/** A part of a file that one of the two languages cannot express. */
export interface SigmaProblem {
  /** Where: the document from 1, and the fields down to the part. */
  readonly path: string;
  readonly message: string;
}
