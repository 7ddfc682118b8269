/**
 * The rule engine: the rules in force and the state of each. Pure. The correlation engine decides
 * what counts and for which pod; the rule engine decides whether that reaches a threshold.
 *
 * Invariants: a new rule set takes over the windows of every rule whose shape is unchanged. A group
 * has no further verdict until its cooldown epoch ends, whatever is edited meanwhile. Bounds: see
 * rule-state.ts and verdict-cap.ts.
 */
import { hasSeveralPods, USERSPACE_VECTORS, VECTORS } from '@bailiff/policy';
import type { ProjectedPod, ProjectedViolation, Verdict, VerdictPod } from '@bailiff/schemas';
import { processOf } from '../windows/evidence.ts';
import {
  type GroupWindow,
  type Pools,
  type RuleMatches,
  type WindowOwner,
  windowPools,
} from '../windows/group-window.ts';
import { StringInterner } from '../windows/string-interner.ts';
import { SETTLE_MICROS, SWEEP_MICROS } from '../windows/time.ts';
import type { RuleHistory, RuleSet } from './rule-history.ts';
import { type Cooldowns, RuleState } from './rule-state.ts';
import { groupKeyOf, isAudited, matchedStages } from './rules.ts';
import { makeVerdict } from './verdict.ts';
import { DEFAULT_VERDICTS_PER_MINUTE, VerdictCap, verdictTenant } from './verdict-cap.ts';

/** Where a violation comes from. */
export interface ViolationSource {
  /** Stream sequence of its frame. */
  sequence: number;
  nodeName: string;
  /** Result of `vectorNumber`. */
  vector: number;
  pod: VerdictPod | null;
}

export interface RuleEngineOptions {
  rules: RuleHistory;
  verdictsPerMinute?: number;
  onVerdict(verdict: Verdict, streamMicros: number): void;
}

export class RuleEngine {
  readonly #rules: RuleHistory;
  readonly #onVerdict: RuleEngineOptions['onVerdict'];
  readonly #cap: VerdictCap;
  readonly #pools: Pools = windowPools();
  readonly #vectors = new StringInterner([...VECTORS, ...USERSPACE_VECTORS]);
  /** By rule name. */
  readonly #cooldowns = new Map<string, Cooldowns>();
  #states: RuleState[] = [];
  #set: RuleSet | null = null;
  #windowsRefused = 0;
  #now = 0;
  /** Changes with the rule set: cached rule matches of an older number are invalid. */
  ruleSetNumber = 0;

  constructor(options: RuleEngineOptions) {
    this.#rules = options.rules;
    this.#onVerdict = options.onVerdict;
    this.#cap = new VerdictCap(options.verdictsPerMinute ?? DEFAULT_VERDICTS_PER_MINUTE);
  }

  get size() {
    let windows = 0;
    let windowsRefused = this.#windowsRefused;
    for (const state of this.#states) {
      windows += state.windows;
      windowsRefused += state.refused;
    }
    return { windows, windowsRefused, capped: this.#cap.suppressed, vectorsRefused: this.#vectors.refused };
  }

  /** The number that evidence stores for a vector. */
  vectorNumber(vector: string, nodeName: string): number {
    return this.#vectors.numberOf(vector, nodeName, this.#now);
  }
  /** The interned instance of a vector; the argument if the interner was full. */
  vectorOf(number: number, vector: string): string {
    const interned = this.#vectors.textOf(number);
    return interned === vector ? interned : vector;
  }

  /** Advances the time and activates the rule set for a frame of this time. It falls only with `restart`. */
  advance(nowMicros: number): void {
    this.#now = nowMicros;
    const set = this.#rules.at(nowMicros - SETTLE_MICROS);
    if (set !== this.#set) this.#activate(set);
  }

  /** The clock of the bus was set back: windows and cooldowns of the future hold for nothing. */
  restart(): void {
    for (const state of this.#states) state.release();
    for (const cooldowns of this.#cooldowns.values()) cooldowns.clear();
  }

  #activate(set: RuleSet): void {
    this.#set = set;
    this.ruleSetNumber++;
    const before = new Map(this.#states.map((state) => [state.rule.name, state]));
    this.#states = set.rules.map((rule) => {
      const kept = before.get(rule.name);
      if (kept && kept.rule.shape === rule.shape) {
        before.delete(rule.name);
        kept.rule = rule;
        return kept;
      }
      let cooldowns = this.#cooldowns.get(rule.name);
      if (!cooldowns) {
        cooldowns = new Map();
        this.#cooldowns.set(rule.name, cooldowns);
      }
      return new RuleState(rule, this.#pools, cooldowns);
    });
    for (const state of before.values()) {
      this.#windowsRefused += state.refused;
      state.release();
    }
  }

  /**
   * The windows that count a violation. `complete` is false if a rule was full.
   * @param isListed whether a pod list proves owner and namespace; if not, the violation counts
   *   only for its pod and node
   */
  matchRules(
    facts: Pick<ProjectedViolation, 'kind' | 'vector' | 'action' | 'state' | 'severity' | 'operation'>,
    nodeName: string,
    pod: ProjectedPod | null,
    isListed: boolean,
  ): { matches: RuleMatches; complete: boolean } {
    const { kind, vector, action, state, severity } = facts;
    const operation = facts.operation?.operation ?? '';
    const windows: GroupWindow[] = [];
    const stages: number[] = [];
    let complete = true;
    for (const ruleState of this.#states) {
      const { rule } = ruleState;
      const matched = matchedStages(rule, { kind, vector, action, state, severity, operation, pod });
      if (matched === 0) continue;
      if (!isListed && pod !== null && hasSeveralPods(rule.groupBy)) continue;
      const groupKey = groupKeyOf(rule.groupBy, nodeName, pod);
      if (groupKey === null) continue;
      const window = ruleState.windowOf(groupKey, nodeName, pod?.namespace ?? '');
      if (window === null) {
        complete = false;
        continue;
      }
      windows.push(window);
      stages.push(matched);
    }
    return { matches: { windows, matched: stages }, complete };
  }

  /**
   * Counts a violation in each matching window; emits a verdict for each threshold that it reaches.
   */
  count(
    { windows, matched }: RuleMatches,
    time: number,
    packets: number,
    violation: ProjectedViolation,
    index: number,
    source: ViolationSource,
  ): void {
    this.#vectors.use(source.vector, this.#now);
    for (let i = 0; i < windows.length; i++) {
      let window = windows[i] as GroupWindow;
      const owner = window.owner as WindowOwner;
      if (window.isReleased) {
        const current = owner.windowOf(window.groupKey, source.nodeName, source.pod?.namespace ?? '');
        if (current === null) continue;
        window = current;
        windows[i] = current;
      }
      const { rule } = owner;
      const observed = window.count(time, packets, matched[i] as number, violation, rule);
      if (observed < 0) continue;
      if (isAudited(violation)) window.auditedAt = window.clock;
      const { pod, nodeName } = source;
      const from = hasSeveralPods(rule.groupBy) ? { pod, nodeName } : null;
      window.recordEvidence(source.sequence, index, packets, source.vector, processOf(violation), from);
      if (observed >= rule.threshold && window.clock >= window.cooldownUntil)
        this.#emit(owner, window, observed, source);
    }
  }

  /** Counts one violation by the node itself: a report on a foreign pod, or an invalid frame. */
  countAgainstNode(nodeName: string, sequence: number, index: number, vector: NodeVector = 'foreign-pod'): void {
    const violation = nodeViolation(this.#now, vector);
    const { matches } = this.matchRules(violation, nodeName, null, true);
    this.count(matches, this.#now, 1, violation, index, {
      sequence,
      nodeName,
      vector: this.vectorNumber(vector, nodeName),
      pod: null,
    });
  }

  #emit(owner: WindowOwner, window: GroupWindow, observed: number, source: ViolationSource): void {
    const { rule } = owner;
    // A pod must not be able to count up to the threshold for a neighbour, which then has the last violation.
    const since = window.startAt(rule.timespanMicros);
    const { nodeName, pod: main } = window.mainSource(since, this.#vectors) ?? source;
    // Pods of all tenants count for the node: the one that reaches the threshold is not to blame for it.
    const pod = rule.groupBy === 'node' ? null : main;
    if (!this.#cap.allow(this.#now, rule.level, verdictTenant(nodeName, pod))) return;
    const configRevision = (this.#set as RuleSet).revision;
    const verdict = makeVerdict({ rule, configRevision, window, observed, nodeName, pod, vectors: this.#vectors });
    owner.startCooldown(window, (Math.floor(window.clock / rule.cooldownMicros) + 1) * rule.cooldownMicros);
    this.#onVerdict(verdict, this.#now);
  }

  /** Removes idle windows, expired strings and ended cooldowns. */
  sweep(): void {
    for (const state of this.#states) state.sweep(this.#now);
    this.#vectors.sweep(this.#now);
    for (const [name, cooldowns] of this.#cooldowns) {
      for (const [key, until] of cooldowns) if (until < this.#now - SWEEP_MICROS) cooldowns.delete(key);
      if (cooldowns.size === 0 && !this.#states.some((state) => state.rule.name === name)) this.#cooldowns.delete(name);
    }
  }
}

type NodeVector = 'foreign-pod' | 'invalid-frame';

/** A violation that counts against a node. */
function nodeViolation(nowMicros: number, vector: NodeVector): ProjectedViolation {
  return {
    kind: 'spoof',
    vector,
    action: 'drop',
    state: 'unknown',
    counterEpoch: '',
    cumulativePackets: 1,
    count: 1,
    suppressed: 0,
    firstSeenAt: nowMicros,
    lastSeenAt: nowMicros,
    pod: null,
    sample: null,
    operation: null,
    severity: '',
  };
}
