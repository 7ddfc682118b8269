export {
  attributePod,
  frameRefusal,
  podProblem,
  type RefusalLookup,
  type ReportPlace,
  UNDECIDED_MICROS,
} from './attribution/attribution.ts';

export { PodInventory, type PodSnapshot } from './attribution/pod-inventory.ts';
export { PriorRefusals } from './attribution/prior-refusals.ts';
export { CounterHulls } from './counting/counter-hulls.ts';

export { CorrelationEngine, type CorrelationEngineOptions, type FramePosition, type Refusal } from './engine/engine.ts';
export { NODE_QUOTAS } from './engine/node-quotas.ts';
export { type RuleChange, RuleHistory } from './engine/rule-history.ts';
export { DEFAULT_VERDICTS_PER_MINUTE } from './engine/verdict-cap.ts';
export * from './replay/backtest.ts';
export { FOLD_VERSION } from './replay/fold-version.ts';
export {
  planReplay,
  type ReplayPlan,
  type StreamState,
  warmUpMicros,
  warmUpOf,
} from './replay/replay-plan.ts';
export { judgeScenario, type ScenarioEvent } from './replay/scenario.ts';
export { operationSample, packetSample, podRef } from './replay/sim-collector.ts';
export {
  FrameShares,
  MESSAGE_BYTES,
  SHARE_BURST_BYTES,
  SHARE_BYTES_PER_SECOND,
  VIOLATION_BYTES,
} from './shares/frame-shares.ts';
export { isOfOtherLeader, NodeTokens } from './shares/node-tokens.ts';
export { type FromSigma, fromSigma } from './sigma/from-sigma.ts';
export type { SigmaProblem } from './sigma/problem.ts';
export { toSigma } from './sigma/to-sigma.ts';
export * from './windows/time.ts';
