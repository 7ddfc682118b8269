export * from './backtest.ts';
export { counterPool, DUPLICATE, EpochCounter } from './counters.ts';
export { MAX_EVIDENCE } from './evidence.ts';
export { Fold, type FoldOptions, type FramePlace, type Refusal } from './fold.ts';
export {
  type Claim,
  NO_PRECEDENTS,
  type Precedents,
  type RefusalReason,
  type Standing,
  standingOf,
} from './foreign.ts';
export { MAX_FORMER, type Member, Members, type SnapshotEntry } from './members.ts';
export { MAX_EPOCHS_PER_NODE } from './node-state.ts';
export { MAX_PARKED, MAX_PARKED_PER_NODE } from './parking.ts';
export { indexesIn, PrecedentBook } from './precedents.ts';
export {
  planReplay,
  RECOVERY_MARGIN_MICROS,
  type ReplayPlan,
  type StreamState,
  warmUpMicros,
} from './replay-plan.ts';
export { RuleBook, type RuleChange, type RuleProblem, type RuleSet } from './rule-book.ts';
export { MAX_WINDOWS } from './rule-state.ts';
export { type CompiledRule, compileRule, countedValue, groupKeyOf, matchedStages, selects } from './rules.ts';
export { SHARES, type Share } from './shares.ts';
export * from './time.ts';
export { makeVerdict } from './verdict.ts';
export { DEFAULT_VERDICTS_PER_MINUTE, VERDICT_SHARE, VerdictCap } from './verdict-cap.ts';
export { cooldownEpoch, verdictIdOf } from './verdict-id.ts';
export { BUCKETS, CountWindow, OrderedStageWindow, StageWindow, ValueWindow } from './windows.ts';
