/**
 * Decodes a batch of ring records into samples of packets and of operations.
 *
 * Data path: ring.cc (one Buffer per batch) → here → collector. The packet programs own the ring
 * buffer and the LSM programs write to it too, so this room imports the runtime decoder. The size
 * of a record identifies its kind. Framing (ring.h): u32 length (host order), that many
 * bytes, zero padding to a multiple of 8.
 */
import { SampleError } from '../core/sample-error.ts';
import { decodeRuntimeSample, type RuntimeSample } from '../runtime/decode.ts';
import { RuntimeSampleLayout } from '../runtime/layout.gen.ts';
import { decodeSample, type SpoofSample } from './decode.ts';

export interface DecodedBatch {
  readonly samples: SpoofSample[];
  /** Records of kind `lsm`. */
  readonly runtime: RuntimeSample[];
  /** Records that were refused. A broken framing ends the batch with one of these. */
  readonly errors: SampleError[];
}

/** Decodes all records of one batch, in the order of the ring. Invalid bytes never throw. */
export function decodeBatch(batch: Buffer): DecodedBatch {
  const samples: SpoofSample[] = [];
  const runtime: RuntimeSample[] = [];
  const errors: SampleError[] = [];
  let offset = 0;
  while (offset < batch.length) {
    if (batch.length - offset < 4) {
      errors.push(new SampleError('no room for a length', offset));
      break;
    }
    const length = batch.readUInt32LE(offset);
    const start = offset + 4;
    if (length > batch.length - start) {
      errors.push(new SampleError(`length ${length} beyond the batch`, offset));
      break;
    }
    try {
      const record = batch.subarray(start, start + length);
      if (length === RuntimeSampleLayout.size) runtime.push(decodeRuntimeSample(record, offset));
      else samples.push(decodeSample(record, offset));
    } catch (error) {
      if (!(error instanceof SampleError)) throw error;
      errors.push(error);
    }
    offset = (start + length + 7) & ~7;
  }
  return { samples, runtime, errors };
}
