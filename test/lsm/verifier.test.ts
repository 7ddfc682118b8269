// How much the verifier has to follow: a program near the kernel's limit of a million instructions
// loads on one kernel and fails on the next. Runs on every kernel of test/vm/kernels.json.
import { expect, it } from 'vitest';
import { useRig } from './harness/use-rig.ts';

/** A quarter of what the kernel allows. */
const MOST_VERIFIED = 250_000;

const rig = useRig();

it('verifier - no program takes more than a quarter of the instructions that the kernel allows', () => {
  const loaded = rig.object.programs.filter(({ missing }) => missing === null);
  expect(loaded.length).toBeGreaterThan(50);
  const beyond = loaded.filter(({ verifiedInstructions: n }) => n === 0 || n > MOST_VERIFIED);
  expect(beyond.map(({ name, verifiedInstructions }) => ({ name, verifiedInstructions }))).toEqual([]);
});
