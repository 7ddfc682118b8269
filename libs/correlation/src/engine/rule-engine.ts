/**
 * The rules in force and what each of them remembers: violations of known groups in, verdicts out. Pure.
 *
 * Place in the path: fold.ts decides what counts and for whom, this decides whether it is enough. Invariants: a new rule set takes over the windows of
 * every rule whose shape it keeps; a group is silent from its verdict to the end of the cooldown epoch, whatever is edited meanwhile.
 * Bounds: those of rule-state.ts and verdict-cap.ts.
 */
import { USERSPACE_VECTORS, VECTORS } from '@bailiff/policy';
import type { JudgedPod, JudgedViolation, Verdict, VerdictPod } from '@bailiff/schemas';
import { type BlameVector, claimViolation } from '../attribution/attributed-pod.ts';
import { processOf } from '../windows/evidence.ts';
import { type GroupWindow, type Pools, type WindowOwner, windowPools } from '../windows/group-window.ts';
import { Interner } from '../windows/string-interner.ts';
import { SETTLE_MICROS, SWEEP_MICROS } from '../windows/time.ts';
import type { RuleBook, RuleSet } from './rule-history.ts';
import { type QuietTimes, RuleState } from './rule-state.ts';
import { groupKeyOf, matchedStages } from './rules.ts';
import { makeVerdict } from './verdict.ts';
import { DEFAULT_VERDICTS_PER_MINUTE, VerdictCap, verdictTenant } from './verdict-cap.ts';

/** The windows that violations of one counter go into, found once and kept. */
export interface Hits {
  readonly windows: GroupWindow[];
  /** Of each: stages of its rule that they match, as bits. */
  readonly matched: readonly number[];
}

/** Whose a violation is, and where it stands in the stream. */
export interface Occurrence {
  sequence: number;
  nodeName: string;
  /** As `vectorNumber` has it. */
  vector: number;
  pod: VerdictPod | null;
}

export interface BenchOptions {
  rules: RuleBook;
  verdictsPerMinute?: number;
  onVerdict(verdict: Verdict, streamMicros: number): void;
}

export class Bench {
  readonly #rules: RuleBook;
  readonly #onVerdict: BenchOptions['onVerdict'];
  readonly #cap: VerdictCap;
  readonly #pools: Pools = windowPools();
  readonly #vectors = new Interner([...VECTORS, ...USERSPACE_VECTORS]);
  readonly #quiet = new Map<string, QuietTimes>();
  #states: RuleState[] = [];
  #set: RuleSet | null = null;
  #windowsRefused = 0;
  #now = 0;
  /** Changes when hits must be found again. */
  setNumber = 0;

  constructor(options: BenchOptions) {
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

  /** The number by which evidence names a vector. */
  vectorNumber(vector: string, nodeName: string): number {
    return this.#vectors.numberOf(vector, nodeName, this.#now);
  }
  /** The one string that is kept of a vector; the given one when there was no room to keep it. */
  vectorOf(number: number, vector: string): string {
    const kept = this.#vectors.textOf(number);
    return kept === vector ? kept : vector;
  }

  /** Moves stream time on and puts the rules in force that a frame of this time is judged by. */
  advance(nowMicros: number): void {
    this.#now = nowMicros;
    const set = this.#rules.at(nowMicros - SETTLE_MICROS);
    if (set !== this.#set) this.#use(set);
  }

  #use(set: RuleSet): void {
    this.#set = set;
    this.setNumber++;
    const before = new Map(this.#states.map((state) => [state.rule.name, state]));
    this.#states = set.rules.map((rule) => {
      const kept = before.get(rule.name);
      if (kept && kept.rule.shape === rule.shape) {
        before.delete(rule.name);
        kept.rule = rule;
        return kept;
      }
      let quiet = this.#quiet.get(rule.name);
      if (!quiet) {
        quiet = new Map();
        this.#quiet.set(rule.name, quiet);
      }
      return new RuleState(rule, this.#pools, quiet);
    });
    for (const state of before.values()) {
      this.#windowsRefused += state.refused;
      state.release();
    }
  }

  /**
   * The windows that a violation goes into. `complete` is false when a rule had no room for another.
   * @param vouched whether somebody answers for the pod's owner and namespace; if nobody does, it counts for itself and its node alone
   */
  find(
    facts: Pick<JudgedViolation, 'kind' | 'vector' | 'action' | 'state' | 'severity' | 'operation'>,
    nodeName: string,
    pod: JudgedPod | null,
    vouched: boolean,
  ): { hits: Hits; complete: boolean } {
    const { kind, vector, action, state, severity } = facts;
    const operation = facts.operation?.operation ?? '';
    const windows: GroupWindow[] = [];
    const stages: number[] = [];
    let complete = true;
    for (const ruleState of this.#states) {
      const { rule } = ruleState;
      const matched = matchedStages(rule, { kind, vector, action, state, severity, operation, pod });
      if (matched === 0) continue;
      if (!vouched && pod !== null && (rule.groupBy === 'owner' || rule.groupBy === 'namespace')) continue;
      const groupKey = groupKeyOf(rule.groupBy, nodeName, pod);
      if (groupKey === null) continue;
      const window = ruleState.windowOf(groupKey, nodeName);
      if (window === null) {
        complete = false;
        continue;
      }
      windows.push(window);
      stages.push(matched);
    }
    return { hits: { windows, matched: stages }, complete };
  }

  /** Counts a violation into each of its windows; gives a verdict where that crosses a threshold. */
  count(hits: Hits, time: number, packets: number, violation: JudgedViolation, index: number, of: Occurrence): void {
    const { windows, matched } = hits;
    this.#vectors.use(of.vector, this.#now);
    for (let i = 0; i < windows.length; i++) {
      let window = windows[i] as GroupWindow;
      const owner = window.owner as WindowOwner;
      if (window.gone) {
        const again = owner.windowOf(window.groupKey, of.nodeName);
        if (again === null) continue;
        window = again;
        windows[i] = again;
      }
      const { rule } = owner;
      const observed = window.count(time, packets, matched[i] as number, violation, rule);
      if (observed < 0) continue;
      window.remember(of.sequence, index, packets, of.vector, processOf(violation));
      if (observed >= rule.threshold && window.clock >= window.quietUntil) this.#cross(owner, window, observed, of);
    }
  }

  /** Counts one violation against a node: for a claim about what is not its own, or for a frame that no collector writes. */
  blame(nodeName: string, sequence: number, index: number, vector: BlameVector = 'foreign-pod'): void {
    const violation = claimViolation(this.#now, vector);
    const { hits } = this.find(violation, nodeName, null, true);
    this.count(hits, this.#now, 1, violation, index, {
      sequence,
      nodeName,
      vector: this.vectorNumber(vector, nodeName),
      pod: null,
    });
  }

  #cross(owner: WindowOwner, window: GroupWindow, observed: number, { nodeName, pod }: Occurrence): void {
    const { rule } = owner;
    if (!this.#cap.allow(this.#now, rule.level, verdictTenant(nodeName, pod))) return;
    const configRevision = (this.#set as RuleSet).revision;
    const verdict = makeVerdict({ rule, configRevision, window, observed, nodeName, pod, vectors: this.#vectors });
    owner.silence(window, (Math.floor(window.clock / rule.cooldownMicros) + 1) * rule.cooldownMicros);
    this.#onVerdict(verdict, this.#now);
  }

  /** Lets go of what stands empty or is over. */
  sweep(): void {
    for (const state of this.#states) state.sweep(this.#now);
    this.#vectors.sweep(this.#now);
    for (const [name, quiet] of this.#quiet) {
      for (const [key, until] of quiet) if (until < this.#now - SWEEP_MICROS) quiet.delete(key);
      if (quiet.size === 0 && !this.#states.some((state) => state.rule.name === name)) this.#quiet.delete(name);
    }
  }
}
