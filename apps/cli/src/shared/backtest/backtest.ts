/**
 * Runs a range of VIOLATIONS through the correlation engine, under the rules that were live and
 * under trial rules, and reads the published verdicts for comparison. report.ts evaluates the
 * result.
 *
 * Invariants: nothing is written; the result depends only on streams and request, not on this
 * machine's clock. Like a correlator, it starts a warm-up earlier, so that windows and cooldowns
 * are equal. If the stream no longer has the warm-up, the range starts later.
 * Bounds: MAX_VERDICTS per list.
 */
import { createHash } from 'node:crypto';
import { coverMessages, filters, microsOf, readLogStart, readToEnd, signedConfigBy, streamInfo } from '@bailiff/bus';
import {
  CorrelationEngine,
  type RuleHistory,
  type TrialVerdict,
  trialOf,
  trialRuleHistory,
  warmUpMicros,
} from '@bailiff/correlation';
import type { Reader } from '@bailiff/insight';
import type { CorrelationRule } from '@bailiff/policy';
import { POLICY_SETTLE_MICROS, PolicyHistory } from '@bailiff/response';
import { encodeVerdict, type Verdict } from '@bailiff/schemas';
import { CliError } from '../errors.ts';
import { readFrames } from './frames.ts';
import { readConfigChanges, readPodLists, readPriorRefusals } from './read.ts';
import type { ResponseContext } from './simulated-responses.ts';
import { type ChangedPackets, spoofValuesOf, TrialModes } from './trial-modes.ts';
import type { TrialRules } from './trial-rules.ts';

/** 300 bytes each, three lists. */
export const MAX_VERDICTS = 200_000;
/** Twice the longest timespan and cooldown: rules that ended before have no effect. */
const LONGEST_MEMORY_MICROS = 4 * 86_400_000_000;

export interface BacktestRequest {
  sinceMicros: number;
  /** Infinity = to the end. */
  untilMicros: number;
  /** Null: only the live rules. */
  trialRules: TrialRules | null;
  /** Only the trial rules. */
  only: boolean;
  /** Start at the stream's first message even without a warm-up. */
  cold: boolean;
  verdictsPerMinute: number;
  /** File of the signers of configuration that the services have. Absent: they require no signatures. */
  configSigners?: string;
  /** Called after each frame with the frames read and the frames left. */
  onProgress(frames: number, pending: number): void;
}

/** A verdict with a digest of its encoding. */
export interface DigestedVerdict extends TrialVerdict {
  digest: string;
}

export interface BacktestRange {
  /** Sequences of the first and last message, decodable or not; 0 without any. */
  firstSequence: number;
  lastSequence: number;
  firstMicros: number;
  lastMicros: number;
  frames: number;
  violations: number;
  /**
   * Violations of pods that no current snapshot lists. The correlator accepted them live. Here they
   * count only for groups by pod or node.
   */
  ofUnlistedPods: number;
  unreadable: number;
  /** CONFIG_LOG was made again then, within or after what is judged: the configuration of before is not known. Otherwise null. */
  configFromMicros: number | null;
  /** Actual start if the stream lacks the warm-up; otherwise null. */
  warmFromMicros: number | null;
  /** How long before a frame the stream affects its verdicts. */
  warmUpMicros: number;
}

export interface BacktestResult {
  range: BacktestRange;
  /** As published by the correlators. */
  published: DigestedVerdict[];
  live: DigestedVerdict[];
  /** Null without trial rules. */
  trial: TrialVerdict[] | null;
  /** Verdicts suppressed by the cap. */
  capped: { live: number; trial: number };
  /** Longest cooldown of the rules: verdicts farther apart never match. */
  nearMicros: number;
  contexts: { live: ResponseContext; trial: ResponseContext };
  /** Packets that the trial's modes drop, pass or do not count, other than now. */
  packets: { changed: ChangedPackets[]; inexact: boolean; hasMorePods: boolean };
}

/** Range of the stream; 0 if it is empty. */
export interface StreamEnds {
  firstSequence: number;
  firstMicros: number;
  lastMicros: number;
}

export interface Span {
  readFromMicros: number;
  fromMicros: number;
  /** Actual start if it is later than requested; otherwise null. */
  warmFromMicros: number | null;
}

/**
 * Where to start reading and where to start judging, so that verdicts equal the live ones. Pure.
 * @param warmUp of the rules
 */
export function planSpan(ends: StreamEnds, asked: Pick<BacktestRequest, 'sinceMicros' | 'cold'>, warmUp: number): Span {
  const { sinceMicros, cold } = asked;
  // A stream that still has its first frame needs no warm-up.
  const warmMicros = ends.firstSequence <= 1 || cold ? 0 : ends.firstMicros + warmUp;
  const fromMicros = Math.max(sinceMicros, warmMicros);
  const warmFromMicros = warmMicros > sinceMicros ? warmMicros : null;
  return { readFromMicros: Math.max(0, fromMicros - warmUp), fromMicros, warmFromMicros };
}

async function endsOf(session: Reader): Promise<StreamEnds> {
  const { state } = await streamInfo(session.bus, 'VIOLATIONS');
  if (state.messages === 0) return { firstSequence: 0, firstMicros: 0, lastMicros: 0 };
  return { firstSequence: state.first_seq, firstMicros: microsOf(state.first_ts), lastMicros: microsOf(state.last_ts) };
}

/** Maxima over all rules that can affect the range. */
function longestOf(histories: readonly RuleHistory[], sinceMicros: number) {
  const longest = histories.map((history) => history.longestSince(sinceMicros - LONGEST_MEMORY_MICROS));
  return {
    warmUp: Math.max(...longest.map(warmUpMicros)),
    nearMicros: Math.max(...longest.map(({ cooldownMicros }) => cooldownMicros)),
  };
}

/** Collects the verdicts of an engine. */
class VerdictCollector<T extends TrialVerdict> {
  readonly #make: (verdict: Verdict) => T;
  /** First frame of the range; Infinity before it is reached. */
  fromSequence = Number.POSITIVE_INFINITY;
  readonly verdicts: T[] = [];

  constructor(make: (verdict: Verdict) => T) {
    this.#make = make;
  }
  take(verdict: Verdict): void {
    if ((verdict.evidence.at(-1)?.streamSequence ?? 0) < this.fromSequence) return;
    if (this.verdicts.length >= MAX_VERDICTS) {
      throw new CliError('CLI_STATE', `more than ${MAX_VERDICTS} verdicts`, {
        remedy: 'narrow it with --since, --until',
      });
    }
    this.verdicts.push(this.#make(verdict));
  }
}

function digested(verdict: Verdict): DigestedVerdict {
  const digest = createHash('sha256').update(encodeVerdict(verdict)).digest('base64url').slice(0, 22);
  return { ...trialOf(verdict), digest };
}

export async function runBacktest(session: Reader, request: BacktestRequest): Promise<BacktestResult> {
  const { trialRules, only, verdictsPerMinute, configSigners = '' } = request;
  // The end of the range is determined before the logs are read, so the logs cover every frame.
  const ends = await endsOf(session);
  const untilMicros = Math.min(request.untilMicros, ends.lastMicros);
  const logStart = await readLogStart(session.bus);
  const changes = await readConfigChanges(session);
  const historyOf = (rules: Readonly<Record<string, CorrelationRule>>, alone = false) =>
    trialRuleHistory(changes, rules, alone, signedConfigBy(configSigners));
  const liveHistory = historyOf({});
  const histories = trialRules === null ? [liveHistory] : [liveHistory, historyOf(trialRules.rules, only)];
  const policies = new PolicyHistory(signedConfigBy(configSigners));
  for (const change of changes) policies.apply(change);
  // As in the correlator and the responder.
  const configFrom = logStart && coverMessages([...histories, policies], logStart, ends.firstMicros);
  const { warmUp, nearMicros } = longestOf(histories, Math.max(request.sinceMicros, ends.firstMicros));
  const span = planSpan(ends, request, warmUp);
  const { inventory, pods } = await readPodLists(session);
  const priorRefusals = await readPriorRefusals(session, span.readFromMicros, ends.lastMicros);
  const live = new VerdictCollector(digested);
  const trial = new VerdictCollector(trialOf);
  const engines = histories.map((rules, index) => {
    const collector = index === 0 ? live : trial;
    // Only the live engine counts reports that were accepted for lack of a refusal.
    const own = index === 0 ? priorRefusals : priorRefusals.uncounted;
    return new CorrelationEngine({
      rules,
      inventory,
      priorRefusals: own,
      verdictsPerMinute,
      onVerdict: (verdict) => collector.take(verdict),
    });
  });
  const range = emptyRange(span, warmUp);
  if (configFrom !== null && span.readFromMicros < configFrom) range.configFromMicros = configFrom;
  const modes = modesOf(changes, trialRules, configSigners);
  let read = 0;
  range.unreadable = await readFrames(session, {
    fromMicros: span.readFromMicros,
    untilMicros,
    // Messages that cannot be decoded are part of the range: they cause verdicts about their node.
    onMessage: (position) => {
      if (position.timestampMicros < span.fromMicros) return;
      if (range.firstSequence === 0) {
        range.firstSequence = position.sequence;
        range.firstMicros = position.timestampMicros;
        live.fromSequence = position.sequence;
        trial.fromSequence = position.sequence;
        priorRefusals.accepted = 0;
      }
      range.lastSequence = position.sequence;
      range.lastMicros = position.timestampMicros;
    },
    onFrame: (position, frame, pending) => {
      const isInRange = position.timestampMicros >= span.fromMicros;
      if (isInRange) {
        range.frames += 1;
        range.violations += frame.violations.length;
      }
      const counts = (index: number) => isInRange && priorRefusals.letterOf(position.sequence, index) === undefined;
      const tried = modes?.frame(position.node, frame, counts) ?? frame;
      engines.forEach((engine, index) => {
        engine.processFrame(position, index === 0 ? frame : tried);
      });
      read += 1;
      request.onProgress(read, pending);
    },
    hasShare: (position, bytes) => engines.map((engine) => engine.hasShare(position, bytes))[0] === true,
    onUndecodable: (node) => {
      for (const engine of engines) engine.chargeUnreadable(node);
    },
    onInvalid: (position, detail) => {
      for (const engine of engines) engine.rejectFrame(position, detail);
    },
  });
  for (const engine of engines) settle(engine);
  range.ofUnlistedPods = priorRefusals.accepted;
  return {
    range,
    published: await readPublished(session, range),
    live: live.verdicts,
    trial: trialRules === null ? null : trial.verdicts,
    capped: { live: engines[0]?.size.capped ?? 0, trial: engines[1]?.size.capped ?? 0 },
    nearMicros,
    contexts: contextsOf(policies, pods, trialRules),
    packets: {
      changed: modes?.changed ?? [],
      inexact: modes?.inexact ?? false,
      hasMorePods: modes?.hasMorePods ?? false,
    },
  };
}

function emptyRange({ warmFromMicros }: Span, warmUp: number): BacktestRange {
  const counts = { frames: 0, violations: 0, ofUnlistedPods: 0, unreadable: 0 };
  const places = { firstSequence: 0, lastSequence: 0, firstMicros: 0, lastMicros: 0 };
  return { ...places, ...counts, configFromMicros: null, warmFromMicros, warmUpMicros: warmUp };
}

/** Lets pending violations time out. */
function settle(engine: CorrelationEngine): void {
  for (let at = engine.nextDeadlineMicros(); at !== null && Number.isFinite(at); at = engine.nextDeadlineMicros()) {
    engine.advance(at);
  }
}

/** Published verdicts of frames in the range, which may have been published much later. */
async function readPublished({ bus, decoder, signal }: Reader, range: BacktestRange): Promise<DigestedVerdict[]> {
  const collector = new VerdictCollector(digested);
  collector.fromSequence = range.firstSequence;
  if (range.firstSequence === 0) return [];
  await readToEnd(bus, 'VERDICTS', {
    start: { timeMicros: range.firstMicros },
    filterSubjects: [filters.verdicts()],
    onMessage: (message) =>
      decoder.read(message, 'Verdict', (verdict) => {
        if ((verdict.evidence.at(-1)?.streamSequence ?? 0) <= range.lastSequence) collector.take(verdict);
      }),
    signal,
  });
  return collector.verdicts;
}

/** Null: the trial changes no mode. */
function modesOf(
  changes: Awaited<ReturnType<typeof readConfigChanges>>,
  trialRules: TrialRules | null,
  configSigners: string,
): TrialModes | null {
  if (!trialRules || trialRules.modes.size === 0) return null;
  return new TrialModes(spoofValuesOf(changes, signedConfigBy(configSigners)), trialRules.modes);
}

function contextsOf(
  history: PolicyHistory,
  pods: ResponseContext['pods'],
  trialRules: TrialRules | null,
): BacktestResult['contexts'] {
  const policiesAt = (micros: number) => history.at(micros - POLICY_SETTLE_MICROS).byName;
  const withTrialRules = (micros: number) => {
    const all = new Map([...policiesAt(micros), ...(trialRules?.policies ?? [])]);
    for (const [name, policy] of all) if (!policy.enabled) all.delete(name);
    return all;
  };
  return { live: { policiesAt, pods }, trial: { policiesAt: withTrialRules, pods } };
}
