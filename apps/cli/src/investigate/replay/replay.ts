/**
 * Replays a range of VIOLATIONS to a sink, in order and at the recorded pace.
 *
 * Invariants: the server filters by node, kind and time, this process by pod. Each frame is passed
 * on once, in stream order. The sequence after the last delivered frame is always known, so an
 * interrupted replay can be resumed. Constant memory.
 */
import { filters, microsOf, readToEnd, streamInfo } from '@bailiff/bus';
import { type EventFilter, matchesPod, NodeFrames, type PodSelector, readPods } from '@bailiff/insight';
import { span } from '@bailiff/response';
import type { ViolationFrame } from '@bailiff/schemas';
import { pause } from '@bailiff/service';
import { Progress } from '../../shared/progress.ts';
import type { Session } from '../../shared/session.ts';
import type { Replayed, Sink } from './sink.ts';

export interface ReplayRequest {
  sinceMicros: number;
  /** Infinity = to the stream's current end. */
  untilMicros: number;
  /** First sequence; null = start at `sinceMicros`. */
  fromSequence: number | null;
  pod: PodSelector | null;
  node: string | null;
  kind: 'spoof' | 'lsm' | null;
  speed: Speed;
}

interface ReplayState {
  frames: number;
  violations: number;
  /** Sequences of the first and last frame passed on; 0 = none. */
  firstSequence: number;
  lastSequence: number;
  /** Sequence of the first frame read; 0 = none. */
  beginSequence: number;
  /** All frames up to here were passed on or filtered out. */
  doneSequence: number;
  ended: 'end' | 'interrupted';
}

/**
 * The node of all frames about a pod; null if uncertain. A listed uid never moves. A name is
 * certain if its pod is older than the range and its namespace is given.
 */
async function nodeOfPod(session: Session, pod: PodSelector, sinceMicros: number): Promise<string | null> {
  const found = (await readPods(session)).find((one) => matchesPod(pod, one));
  if (!found) return null;
  const isCertain = pod.uid !== null || (pod.namespace !== null && Date.parse(found.createdAt) * 1000 <= sinceMicros);
  return isCertain ? found.nodeName : null;
}

/**
 * The part of a frame that matches the filter: the frame itself if all of it does, null if nothing
 * does.
 */
function matchingPart(frame: ViolationFrame, pod: PodSelector | null): ViolationFrame | null {
  if (pod === null) return frame;
  const violations = frame.violations.filter((violation) => matchesPod(pod, violation.pod));
  if (violations.length === 0) return null;
  // Packets before an interface was guarded name no pod.
  const isComplete = violations.length === frame.violations.length && frame.coverage.length === 0;
  return isComplete ? frame : { ...frame, violations, coverage: [] };
}

export class Replay {
  readonly #session: Session;
  readonly #request: ReplayRequest;
  readonly #sink: Sink;
  readonly #frames: NodeFrames;
  readonly #filter: EventFilter;
  readonly #pace: Pace;
  readonly #progress: Progress;
  readonly #progressOf: (message: Replayed['message']) => string;
  #lastMs = 0;
  readonly state: ReplayState = {
    frames: 0,
    violations: 0,
    firstSequence: 0,
    lastSequence: 0,
    beginSequence: 0,
    doneSequence: 0,
    ended: 'interrupted',
  };
  #seen = 0;

  constructor(session: Session, request: ReplayRequest, sink: Sink) {
    const { pod, node, kind } = request;
    this.#session = session;
    this.#request = request;
    this.#sink = sink;
    // A replay that resumes by a sequence may begin before `since`.
    this.#frames = new NodeFrames(session, request.fromSequence === null ? request.sinceMicros / 1000 : 0);
    this.#filter = { pod, ...(node === null ? {} : { node }), ...(kind === null ? {} : { kind }) };
    this.#pace = new Pace(request.speed);
    this.#progress = new Progress(session.io, 'frames');
    this.#progressOf = ({ timestampMicros }) => {
      const leftMs = this.#pace.leftMs(timestampMicros / 1000, this.#lastMs);
      return leftMs === null ? '' : `at #${this.state.doneSequence}, ${span(leftMs)} left at this pace`;
    };
  }

  /**
   * Runs to the end or to an interruption. `state` is always current, also after an error. @throws
   * BusError; what the sink throws
   */
  async run(): Promise<void> {
    const { bus, io } = this.#session;
    const { sinceMicros, untilMicros, fromSequence, pod, kind } = this.#request;
    const { state } = await streamInfo(bus, 'VIOLATIONS');
    if (state.messages === 0) {
      this.state.ended = 'end';
      return;
    }
    this.#lastMs = Math.min(untilMicros, microsOf(state.last_ts)) / 1000;
    const node = this.#request.node ?? (pod && (await nodeOfPod(this.#session, pod, sinceMicros)));
    const by = { ...(node === null ? {} : { node }), ...(kind === null ? {} : { kind }) };
    try {
      let ended: typeof this.state.ended = 'end';
      await readToEnd(bus, 'VIOLATIONS', {
        start: fromSequence === null ? { timeMicros: sinceMicros } : { sequence: fromSequence },
        untilMicros,
        filterSubjects: [filters.violations(by)],
        onMessage: (message) => this.#take(message),
        signal: io.signal,
      }).catch((error: unknown) => {
        if (!io.signal.aborted) throw error;
        ended = 'interrupted';
      });
      await this.#sink.end();
      this.state.ended = ended;
    } finally {
      this.#progress.end();
    }
  }

  /** The sequence at which a later replay continues; 0 = nothing was read. */
  get nextSequence(): number {
    const { beginSequence, doneSequence } = this.state;
    const ended = this.state.ended === 'end' ? null : (this.#sink.arrived?.() ?? null);
    const arrived = ended === null ? doneSequence : Math.max(Math.min(ended, doneSequence), beginSequence - 1);
    return Math.max(arrived + 1, beginSequence);
  }

  #take(message: Replayed['message']): void | Promise<void> {
    if (this.state.beginSequence === 0) this.state.beginSequence = message.sequence;
    if (this.#request.speed === 'max') return this.#passOn(message);
    return this.#whenDue(message).then(() => (this.#session.io.signal.aborted ? undefined : this.#passOn(message)));
  }

  async #whenDue({ timestampMicros }: Replayed['message']): Promise<void> {
    const { io } = this.#session;
    const waitMs = this.#pace.waitMs(timestampMicros / 1000, io.nowMs());
    if (waitMs > 0) await pause(waitMs, io.signal);
  }

  #passOn(message: Replayed['message']): void | Promise<void> {
    // `doneSequence` advances only after the sink has the frame.
    const done = this.#frames.read(message, (judged) => {
      const wanted = matchingPart(judged.frame, this.#request.pod);
      if (wanted === null) return undefined;
      const { state } = this;
      const taken = this.#sink.take({ message, judged, wanted, filter: this.#filter });
      state.frames += 1;
      state.violations += wanted.violations.length;
      if (state.firstSequence === 0) state.firstSequence = message.sequence;
      state.lastSequence = message.sequence;
      return taken;
    });
    if (done instanceof Promise) return done.then(() => this.#arrived(message));
    this.#arrived(message);
  }

  #arrived(message: Replayed['message']): void {
    this.state.doneSequence = message.sequence;
    this.#seen += 1;
    const total = this.#seen + message.pending;
    const paced = this.#request.speed !== 'max';
    if (paced) this.#progress.often(this.#seen, total, this.#progressOf(message));
    else this.#progress.at(this.#seen, total);
  }
}

/** Speed factor; null = without waiting. */
export const SPEEDS = { '1x': 1, '10x': 10, max: null } as const;
export type Speed = keyof typeof SPEEDS;

/**
 * Due times of replayed messages, which keep the intervals of the recording. Pure: clock values are
 * parameters.
 */
class Pace {
  readonly #factor: number | null;
  #first: { recordedMs: number; wallMs: number } | null = null;

  constructor(speed: Speed) {
    this.#factor = SPEEDS[speed];
  }

  /**
   * Milliseconds until a message is due. A late message is due immediately and does not delay later
   * ones.
   */
  waitMs(recordedMs: number, wallMs: number): number {
    if (this.#factor === null) return 0;
    this.#first ??= { recordedMs, wallMs };
    const due = this.#first.wallMs + (recordedMs - this.#first.recordedMs) / this.#factor;
    return Math.max(0, due - wallMs);
  }

  /** Remaining duration of the replay; null without pacing. */
  leftMs(recordedMs: number, lastMs: number): number | null {
    return this.#factor === null ? null : Math.max(0, lastMs - recordedMs) / this.#factor;
  }
}
