/**
 * A backtest: a stretch of VIOLATIONS through the fold of the live correlator, under the rules as they were and under those on trial, and the verdicts
 * that were issued read beside it.
 *
 * Place in the path: commands/backtest.ts → here → libs/judge → report.ts. Invariants: nothing is written; what comes out is a function of the streams and the
 * request alone, no clock of this machine in it. As at a start of the correlator, reading begins a warm-up before the stretch, so that windows and
 * cooldowns are what they were; where the stream no longer has that, the stretch begins later and the report says so.
 * Bounds: MAX_VERDICTS kept of each list.
 */
import { createHash } from 'node:crypto';
import { POLICY_SETTLE_MICROS, PolicyBook } from '@bailiff/answer';
import { filters, microsOf, streamInfo } from '@bailiff/bus';
import { Fold, type RuleBook, type TrialVerdict, trialBook, trialOf, warmUpMicros } from '@bailiff/judge';
import { encodeVerdict, type Verdict } from '@bailiff/schemas';
import { CliError } from '../errors.ts';
import { readStretch } from '../replay/stretch.ts';
import type { Session } from '../session.ts';
import type { AnswerWorld } from './answers.ts';
import { readFrames } from './frames.ts';
import { readConfigChanges, readPodLists, readPrecedents } from './read-logs.ts';
import type { OnTrial } from './rules-file.ts';

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

interface Span {
  readFromMicros: number;
  fromMicros: number;
  lastMicros: number;
  warmFromMicros: number | null;
  warmUp: number;
  nearMicros: number;
}

async function spanOf(session: Session, request: BacktestRequest, books: readonly RuleBook[]): Promise<Span> {
  const { state } = await streamInfo(session.bus, 'VIOLATIONS');
  const firstMicros = state.messages === 0 ? 0 : microsOf(state.first_ts);
  const lastMicros = state.messages === 0 ? 0 : microsOf(state.last_ts);
  const begin = Math.max(request.sinceMicros, firstMicros);
  const longest = books.map((book) => book.longestSince(begin - LONGEST_MEMORY_MICROS));
  const warmUp = Math.max(...longest.map(warmUpMicros));
  const nearMicros = Math.max(...longest.map(({ cooldownMicros }) => cooldownMicros));
  const warmMicros = state.first_seq <= 1 || request.cold ? 0 : firstMicros + warmUp;
  const fromMicros = Math.max(request.sinceMicros, warmMicros);
  const readFromMicros = Math.max(0, fromMicros - warmUp);
  const late = warmMicros > request.sinceMicros;
  return { readFromMicros, fromMicros, lastMicros, warmFromMicros: late ? warmMicros : null, warmUp, nearMicros };
}

/** Collects what a fold says of a stretch. */
class Said<T extends TrialVerdict> {
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
  const { state } = await streamInfo(session.bus, 'VIOLATIONS');
  const endMicros = state.messages === 0 ? 0 : microsOf(state.last_ts);
  const untilMicros = Math.min(request.untilMicros, endMicros);
  const changes = await readConfigChanges(session);
  const liveBook = trialBook(changes, {});
  const books = onTrial === null ? [liveBook] : [liveBook, trialBook(changes, onTrial.rules, only)];
  const span = await spanOf(session, request, books);
  const { members, pods } = await readPodLists(session);
  const precedents = await readPrecedents(session, span.readFromMicros, span.lastMicros);
  const live = new Said(digested);
  const trial = new Said(trialOf);
  const folds = books.map((rules, index) => {
    const said = index === 0 ? live : trial;
    // A fold of its own counts for the first one alone what a precedent let through.
    const own = index === 0 ? precedents : { untilMicros: precedents.untilMicros, reasonOf: precedents.ask };
    return new Fold({ rules, members, precedents: own, verdictsPerMinute, onVerdict: (verdict) => said.take(verdict) });
  });
  const stretch = emptyStretch(span);
  let read = 0;
  stretch.unreadable = await readFrames(session, {
    fromMicros: span.readFromMicros,
    untilMicros,
    onFrame: (place, frame, pending) => {
      if (place.timestampMicros >= span.fromMicros) {
        if (stretch.frames === 0) {
          stretch.firstSequence = place.sequence;
          stretch.firstMicros = place.timestampMicros;
          live.fromSequence = place.sequence;
          trial.fromSequence = place.sequence;
          precedents.accepted = 0;
        }
        stretch.lastSequence = place.sequence;
        stretch.lastMicros = place.timestampMicros;
        stretch.frames += 1;
        stretch.violations += frame.violations.length;
      }
      for (const fold of folds) fold.frame(place, frame);
      read += 1;
      request.onProgress(read, pending);
    },
  });
  for (const fold of folds) settle(fold);
  stretch.unvouched = precedents.accepted;
  return {
    stretch,
    issued: await readIssued(session, stretch),
    live: live.verdicts,
    trial: onTrial === null ? null : trial.verdicts,
    capped: { live: folds[0]?.size.capped ?? 0, trial: folds[1]?.size.capped ?? 0 },
    nearMicros: span.nearMicros,
    worlds: worldsOf(changes, pods, onTrial),
  };
}

function emptyStretch({ warmFromMicros, warmUp }: Span): Stretch {
  const counts = { frames: 0, violations: 0, unvouched: 0, unreadable: 0 };
  const places = { firstSequence: 0, lastSequence: 0, firstMicros: 0, lastMicros: 0 };
  return { ...places, ...counts, warmFromMicros, warmUpMicros: warmUp };
}

/** Lets violations go that wait for their pod to be listed, as time would. */
function settle(fold: Fold): void {
  for (let at = fold.nextDeadlineMicros(); at !== null && Number.isFinite(at); at = fold.nextDeadlineMicros()) {
    fold.advance(at);
  }
}

/** The verdicts that frames of the stretch set off. They may have been published long after. */
async function readIssued({ bus, decoder, io }: Session, stretch: Stretch): Promise<DigestedVerdict[]> {
  const said = new Said(digested);
  said.fromSequence = stretch.firstSequence;
  if (stretch.frames === 0) return [];
  await readStretch(bus, 'VERDICTS', {
    start: { timeMicros: stretch.firstMicros },
    untilMicros: Number.POSITIVE_INFINITY,
    filterSubjects: [filters.verdicts()],
    onMessage: (message) =>
      decoder.read(message, 'Verdict', (verdict) => {
        if ((verdict.evidence.at(-1)?.streamSequence ?? 0) <= stretch.lastSequence) said.take(verdict);
      }),
    signal: io.signal,
  });
  io.signal.throwIfAborted();
  return said.verdicts;
}

function worldsOf(
  changes: Awaited<ReturnType<typeof readConfigChanges>>,
  pods: AnswerWorld['pods'],
  onTrial: OnTrial | null,
): BacktestResult['worlds'] {
  const book = new PolicyBook();
  for (const change of changes) book.apply(change);
  const policiesAt = (micros: number) => book.at(micros - POLICY_SETTLE_MICROS).byName;
  const withTrial = (micros: number) => {
    const all = new Map([...policiesAt(micros), ...(onTrial?.policies ?? [])]);
    for (const [name, policy] of all) if (!policy.enabled) all.delete(name);
    return all;
  };
  return { live: { policiesAt, pods }, trial: { policiesAt: withTrial, pods } };
}
