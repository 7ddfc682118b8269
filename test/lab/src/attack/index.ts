/** Attacks, witnesses and ordinary traffic, for tests, the demo and benchmarks. */

export { BusTally, type BusWatch, watchBus } from './bus-tally.ts';
export {
  type Cast,
  type ChainOutcome,
  castOf,
  chainRun,
  controlRun,
  cutOffPackets,
  forgetNeighbours,
} from './chain.ts';
export * from './frames.ts';
export { kernelDrops } from './kernel-count.ts';
export { forgedFrame, MANUAL_VECTORS, type ManualVector, type Scene, tailOf } from './manual-frames.ts';
export { ATTACK_VECTORS, type AttackStep, type AttackVector, type Party, planAttack } from './plan.ts';
export { Attack, type AttackOutcome, type AttackProgress, partyOf, planIn } from './run.ts';
export { Talk } from './talk.ts';
