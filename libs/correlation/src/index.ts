export {
  type Attribution,
  attributePod,
  NO_PRIOR_REFUSALS,
  type PodReport,
  type RefusalLookup,
  type RefusalReason,
  type ReportPlace,
} from './attribution/attribution.ts';
export { MAX_PENDING, MAX_PENDING_PER_NODE } from './attribution/pending-violations.ts';
export { type InventoryEntry, MAX_FORMER, PodInventory, type PodSnapshot } from './attribution/pod-inventory.ts';
export { indexesIn, PriorRefusals } from './attribution/prior-refusals.ts';
export { type CountedViolation, CounterHulls, MAX_HULLS } from './counting/counter-hulls.ts';
export { counterPool, DUPLICATE, EpochCounter } from './counting/counters.ts';
export { MAX_COUNTERS_PER_NODE } from './counting/node-state.ts';
export { CorrelationEngine, type CorrelationEngineOptions, type FramePosition, type Refusal } from './engine/engine.ts';
export {
  FrameShares,
  MESSAGE_BYTES,
  SHARE_BURST_BYTES,
  SHARE_BYTES_PER_SECOND,
  VIOLATION_BYTES,
} from './engine/frame-shares.ts';
export { NODE_QUOTAS, type NodeQuota } from './engine/node-quotas.ts';
export { NodeTokens } from './engine/node-tokens.ts';
export { type RuleChange, RuleHistory, type RuleProblem, type RuleSet } from './engine/rule-history.ts';
export { MAX_WINDOWS } from './engine/rule-state.ts';
export { compileRule, groupKeyOf, matchedStages, selects } from './engine/rules.ts';
export { makeVerdict } from './engine/verdict.ts';
export { DEFAULT_VERDICTS_PER_MINUTE, VERDICT_SHARE, VerdictCap } from './engine/verdict-cap.ts';
export { cooldownEpoch, verdictIdOf } from './engine/verdict-id.ts';
export * from './replay/backtest.ts';
export {
  planReplay,
  RECOVERY_MARGIN_MICROS,
  type ReplayPlan,
  type StreamState,
  warmUpMicros,
} from './replay/replay-plan.ts';
export { type CompiledRule, countedValue } from './windows/compiled-rule.ts';
export { CountWindow, ValueWindow } from './windows/count-windows.ts';
export { MAX_EVIDENCE } from './windows/evidence.ts';
export { BUCKETS } from './windows/group-window.ts';
export { OrderedStageWindow, StageWindow } from './windows/stage-windows.ts';
export * from './windows/time.ts';
