/** The error of both kinds of ring records. */

/** A ring record that the kernel programs of this ABI cannot have written. */
export class SampleError extends Error {
  readonly code = 'ERR_BPF_SAMPLE';
  /** Offset of the record in the batch. */
  readonly offset: number;
  constructor(message: string, offset: number) {
    super(`${message} (record at byte ${offset} of the batch)`);
    this.name = 'SampleError';
    this.offset = offset;
  }
}
