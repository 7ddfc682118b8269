/** The rig of a test file, or of a part of it. */
import { afterAll, beforeAll } from 'vitest';
import { LOAD_TIMEOUT_MS, Rig } from './rig.ts';

/** Its programs are there before the first test, and what was made with it is gone after the last one. */
export function useRig(): Rig {
  const rig = new Rig();
  beforeAll(() => {
    // The first file of a run loads them, which takes as long as that.
    void rig.loaded;
  }, LOAD_TIMEOUT_MS);
  afterAll(() => rig[Symbol.dispose]());
  return rig;
}
