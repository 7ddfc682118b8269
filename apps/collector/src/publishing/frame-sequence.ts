/** Numbers of frames, from the pinned map that outlives the process. */

/** Taken from the map at once: two system calls for so many frames. What a process leaves of them is a gap, which means nothing to a reader. */
export const SEQUENCE_BLOCK = 64;

/** @param allocate takes so many from the map and gives the first; durable before it returns */
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
