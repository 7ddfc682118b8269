/** Sequences of frames, from a pinned map that outlives the process. */

/**
 * Sequences per allocation: two system calls serve so many frames. Unused ones of a process that
 * ended are a gap, which means nothing to readers.
 */
export const SEQUENCE_BLOCK = 64;

/** @param allocate reserves so many in the map and returns the first; durable before it returns */
export function frameSequences(allocate: (count: number) => bigint): () => number {
  let next = 0;
  let end = 0;
  return () => {
    if (next === end) {
      next = Number(allocate(SEQUENCE_BLOCK));
      end = next + SEQUENCE_BLOCK;
    }
    next += 1;
    return next - 1;
  };
}
