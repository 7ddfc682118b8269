/** The error of both kinds of ring records. */

/** A ring record that cannot be what the kernel programs of this ABI write. */
export class SampleError extends Error {
  readonly code = 'ERR_BPF_SAMPLE';
  /** Where in the batch the record begins. */
  readonly offset: number;
  constructor(message: string, offset: number) {
    super(`${message} (record at byte ${offset} of the batch)`);
    this.name = 'SampleError';
    this.offset = offset;
  }
}
