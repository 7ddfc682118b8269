/** Attacks, witnesses and ordinary traffic, for tests, the demo and benchmarks. */

export { BusTally } from './bus-tally.ts';
export {
  castOf,
  chainRun,
  controlRun,
  cutOffPackets,
  forgetNeighbours,
} from './chain.ts';
export * from './frames.ts';

export { forgedFrame, MANUAL_VECTORS, type ManualVector, type Scene, tailOf } from './manual-frames.ts';
export { Talk } from './talk.ts';
