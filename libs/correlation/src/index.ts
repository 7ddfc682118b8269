export {
  type Claim,
  NO_PRECEDENTS,
  type Precedents,
  type RefusalReason,
  type Standing,
  standingOf,
} from './attribution/attribution.ts';
export { MAX_PARKED, MAX_PARKED_PER_NODE } from './attribution/pending-violations.ts';
export { MAX_FORMER, type Member, Members, type SnapshotEntry } from './attribution/pod-inventory.ts';
export { indexesIn, PrecedentBook } from './attribution/prior-refusals.ts';
export { counterPool, DUPLICATE, EpochCounter } from './counting/counters.ts';
export { MAX_EPOCHS_PER_NODE } from './counting/node-state.ts';
export { Fold, type FoldOptions, type FramePlace, type Refusal } from './engine/engine.ts';
export { SHARES, type Share } from './engine/node-quotas.ts';
export { RuleBook, type RuleChange, type RuleProblem, type RuleSet } from './engine/rule-history.ts';
export { MAX_WINDOWS } from './engine/rule-state.ts';
export { type CompiledRule, compileRule, countedValue, groupKeyOf, matchedStages, selects } from './engine/rules.ts';
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
export { MAX_EVIDENCE } from './windows/evidence.ts';
export { BUCKETS, CountWindow, OrderedStageWindow, StageWindow, ValueWindow } from './windows/group-window.ts';
export * from './windows/time.ts';
