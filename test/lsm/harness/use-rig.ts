/** The rig of a test file, or of a part of it. */
import { afterAll, beforeAll } from 'vitest';
import { LOAD_TIMEOUT_MS, Rig } from './rig.ts';

/**
 * Its programs are loaded before the first test; disposal after the last one removes everything
 * made with it.
 */
export function useRig(): Rig {
  const rig = new Rig();
  beforeAll(() => {
    // The first file of a run loads them, which takes this long.
    void rig.loaded;
  }, LOAD_TIMEOUT_MS);
  afterAll(() => rig[Symbol.dispose]());
  return rig;
}
