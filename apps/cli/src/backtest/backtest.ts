/**
 * A backtest: a stretch of VIOLATIONS through the correlation engine, under the rules as they were and under those on trial, and the verdicts
 * that were issued read beside it.
 *
 * Place in the path: commands/backtest.ts → here → libs/correlation → report.ts. Invariants: nothing is written; what comes out is a function of the streams and the
 * request alone, no clock of this machine in it. As at a start of the correlator, reading begins a warm-up before the stretch, so that windows and
 * cooldowns are what they were; where the stream no longer has that, the stretch begins later and the report says so.
 * Bounds: MAX_VERDICTS kept of each list.
 */
import { createHash } from 'node:crypto';
import { filters, microsOf, streamInfo } from '@bailiff/bus';
import {
  CorrelationEngine,
  type RuleHistory,
  type TrialVerdict,
  trialOf,
  trialRuleHistory,
  warmUpMicros,
} from '@bailiff/correlation';
import { POLICY_SETTLE_MICROS, PolicyHistory } from '@bailiff/response';
import { encodeVerdict, type Verdict } from '@bailiff/schemas';
import { readStretch } from '../shared/bus/stretch.ts';
import { CliError } from '../shared/errors.ts';
import type { Session } from '../shared/session.ts';
import { readFrames } from './frames.ts';
import { readConfigChanges, readPodLists, readPriorRefusals } from './read.ts';
import type { AnswerWorld } from './simulated-responses.ts';
import type { OnTrial } from './trial-rules.ts';

/** 300 bytes each, three lists. */
export const MAX_VERDICTS = 200_000;
/** Longest timespan and cooldown that a rule may have, twice over: rules that went longer ago decide nothing. */
const LONGEST_MEMORY_MICROS = 4 * 86_400_000_000;

export interface BacktestRequest {
  sinceMicros: number;
  /** Infinity = to the end. */
  untilMicros: number;
  /** null: only the rules that were live. */
  onTrial: OnTrial | null;
  /** Nothing but the rules on trial. */
  only: boolean;
  /** Begin at the beginning of the stream although it lacks the warm-up. */
  cold: boolean;
  verdictsPerMinute: number;
  /** After each frame: how many were read, and how many the stream still holds. */
  onProgress(frames: number, pending: number): void;
}

/** A verdict with a digest of all that it says. */
export interface DigestedVerdict extends TrialVerdict {
  digest: string;
}

export interface Stretch {
  /** Of the first and last frame in it; 0 when it is empty. */
  firstSequence: number;
  lastSequence: number;
  firstMicros: number;
  lastMicros: number;
  frames: number;
  violations: number;
  /** Violations of pods that no list names any more, accepted as they were then; they count for pod and node alone. */
  unvouched: number;
  unreadable: number;
  /** Set when the stretch begins later than was asked, because the stream lacks the warm-up before it: where it begins. */
  warmFromMicros: number | null;
  /** How much of the stream before a frame decides what is said about it. */
  warmUpMicros: number;
}

export interface BacktestResult {
  stretch: Stretch;
  /** As the correlators published them. */
  issued: DigestedVerdict[];
  live: DigestedVerdict[];
  /** null without rules on trial. */
  trial: TrialVerdict[] | null;
  /** Verdicts that the cap held back, under each. */
  capped: { live: number; trial: number };
  /** Longest cooldown of any rule in play: verdicts that are farther apart are never one judgement. */
  nearMicros: number;
  worlds: { live: AnswerWorld; trial: AnswerWorld };
}

/** What the stream holds; 0 when it holds nothing. */
export interface StreamEnds {
  firstSequence: number;
  firstMicros: number;
  lastMicros: number;
}

export interface Span {
  readFromMicros: number;
  fromMicros: number;
  /** Set when the stretch begins later than was asked. */
  warmFromMicros: number | null;
}

/** Where to read and to judge from, so that what is said is what was said live. Pure. @param warmUp of the rules in play */
export function planSpan(ends: StreamEnds, asked: Pick<BacktestRequest, 'sinceMicros' | 'cold'>, warmUp: number): Span {
  const { sinceMicros, cold } = asked;
  // A stream that still has its first frame lacks nothing before it.
  const warmMicros = ends.firstSequence <= 1 || cold ? 0 : ends.firstMicros + warmUp;
  const fromMicros = Math.max(sinceMicros, warmMicros);
  const warmFromMicros = warmMicros > sinceMicros ? warmMicros : null;
  return { readFromMicros: Math.max(0, fromMicros - warmUp), fromMicros, warmFromMicros };
}

async function endsOf(session: Session): Promise<StreamEnds> {
  const { state } = await streamInfo(session.bus, 'VIOLATIONS');
  if (state.messages === 0) return { firstSequence: 0, firstMicros: 0, lastMicros: 0 };
  return { firstSequence: state.first_seq, firstMicros: microsOf(state.first_ts), lastMicros: microsOf(state.last_ts) };
}

/** Longest of all rules that decide about a stretch. */
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
  /** First frame of the stretch; Infinity before it was met. */
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

export async function runBacktest(session: Session, request: BacktestRequest): Promise<BacktestResult> {
  const { onTrial, only, verdictsPerMinute } = request;
  // The end of the violations is looked up before the logs are read: whatever decides about them is in the logs by then.
  const ends = await endsOf(session);
  const untilMicros = Math.min(request.untilMicros, ends.lastMicros);
  const changes = await readConfigChanges(session);
  const liveHistory = trialRuleHistory(changes, {});
  const histories = onTrial === null ? [liveHistory] : [liveHistory, trialRuleHistory(changes, onTrial.rules, only)];
  const { warmUp, nearMicros } = longestOf(histories, Math.max(request.sinceMicros, ends.firstMicros));
  const span = planSpan(ends, request, warmUp);
  const { inventory, pods } = await readPodLists(session);
  const priorRefusals = await readPriorRefusals(session, span.readFromMicros, ends.lastMicros);
  const live = new VerdictCollector(digested);
  const trial = new VerdictCollector(trialOf);
  const engines = histories.map((rules, index) => {
    const collector = index === 0 ? live : trial;
    // Only the live engine counts the reports that were accepted before.
    const own = index === 0 ? priorRefusals : { untilMicros: priorRefusals.untilMicros, reasonOf: priorRefusals.ask };
    return new CorrelationEngine({
      rules,
      inventory,
      priorRefusals: own,
      verdictsPerMinute,
      onVerdict: (verdict) => collector.take(verdict),
    });
  });
  const stretch = emptyStretch(span, warmUp);
  let read = 0;
  stretch.unreadable = await readFrames(session, {
    fromMicros: span.readFromMicros,
    untilMicros,
    onFrame: (position, frame, pending) => {
      if (position.timestampMicros >= span.fromMicros) {
        if (stretch.frames === 0) {
          stretch.firstSequence = position.sequence;
          stretch.firstMicros = position.timestampMicros;
          live.fromSequence = position.sequence;
          trial.fromSequence = position.sequence;
          priorRefusals.accepted = 0;
        }
        stretch.lastSequence = position.sequence;
        stretch.lastMicros = position.timestampMicros;
        stretch.frames += 1;
        stretch.violations += frame.violations.length;
      }
      for (const engine of engines) engine.processFrame(position, frame);
      read += 1;
      request.onProgress(read, pending);
    },
    onInvalid: (position, detail) => {
      for (const engine of engines) engine.rejectFrame(position, detail);
    },
  });
  for (const engine of engines) settle(engine);
  stretch.unvouched = priorRefusals.accepted;
  return {
    stretch,
    issued: await readIssued(session, stretch),
    live: live.verdicts,
    trial: onTrial === null ? null : trial.verdicts,
    capped: { live: engines[0]?.size.capped ?? 0, trial: engines[1]?.size.capped ?? 0 },
    nearMicros,
    worlds: worldsOf(changes, pods, onTrial),
  };
}

function emptyStretch({ warmFromMicros }: Span, warmUp: number): Stretch {
  const counts = { frames: 0, violations: 0, unvouched: 0, unreadable: 0 };
  const places = { firstSequence: 0, lastSequence: 0, firstMicros: 0, lastMicros: 0 };
  return { ...places, ...counts, warmFromMicros, warmUpMicros: warmUp };
}

/** Lets violations go that wait for their pod to be listed, as time would. */
function settle(engine: CorrelationEngine): void {
  for (let at = engine.nextDeadlineMicros(); at !== null && Number.isFinite(at); at = engine.nextDeadlineMicros()) {
    engine.advance(at);
  }
}

/** The verdicts that frames of the stretch set off. They may have been published long after. */
async function readIssued({ bus, decoder, io }: Session, stretch: Stretch): Promise<DigestedVerdict[]> {
  const collector = new VerdictCollector(digested);
  collector.fromSequence = stretch.firstSequence;
  if (stretch.frames === 0) return [];
  await readStretch(bus, 'VERDICTS', {
    start: { timeMicros: stretch.firstMicros },
    untilMicros: Number.POSITIVE_INFINITY,
    filterSubjects: [filters.verdicts()],
    onMessage: (message) =>
      decoder.read(message, 'Verdict', (verdict) => {
        if ((verdict.evidence.at(-1)?.streamSequence ?? 0) <= stretch.lastSequence) collector.take(verdict);
      }),
    signal: io.signal,
  });
  io.signal.throwIfAborted();
  return collector.verdicts;
}

function worldsOf(
  changes: Awaited<ReturnType<typeof readConfigChanges>>,
  pods: AnswerWorld['pods'],
  onTrial: OnTrial | null,
): BacktestResult['worlds'] {
  const history = new PolicyHistory();
  for (const change of changes) history.apply(change);
  const policiesAt = (micros: number) => history.at(micros - POLICY_SETTLE_MICROS).byName;
  const withTrial = (micros: number) => {
    const all = new Map([...policiesAt(micros), ...(onTrial?.policies ?? [])]);
    for (const [name, policy] of all) if (!policy.enabled) all.delete(name);
    return all;
  };
  return { live: { policiesAt, pods }, trial: { policiesAt: withTrial, pods } };
}
