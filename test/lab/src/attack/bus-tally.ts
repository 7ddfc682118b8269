/**
 * Counts of one pod on the bus: violations as every reader counts them (the highest cumulative
 * value of each counter epoch), verdicts and responses. The fold is pure; watchBus feeds it from
 * the streams.
 */
import { type Bus, consumeOrdered, type StreamMessage } from '@bailiff/bus';
import {
  decodeResponse,
  decodeVerdict,
  decodeViolationFrame,
  type Response,
  type Verdict,
  type Violation,
  type ViolationFrame,
} from '@bailiff/schemas';

/** Phases before any action. */
const UNFINISHED: readonly Response['phase'][] = ['started', 'pending', 'approved'];

export class BusTally {
  readonly podUid: string;
  readonly #kind: Violation['kind'];
  #byEpoch = new Map<string, { vector: string; state: Violation['state']; packets: number }>();
  readonly verdicts: Verdict[] = [];
  readonly responses: Response[] = [];
  /** Verdicts on other pods; a lab with one attacker has none. */
  readonly verdictsOnOthers: Verdict[] = [];
  /** Time at which the bus stored the first message of each kind, microseconds since 1970. */
  firstViolationAtMicros: number | null = null;
  firstVerdictAtMicros: number | null = null;

  constructor(podUid: string, kind: Violation['kind'] = 'spoof') {
    this.podUid = podUid;
    this.#kind = kind;
  }

  takeFrame(frame: ViolationFrame, storedAtMicros: number): void {
    for (const violation of frame.violations) {
      if (violation.pod?.uid !== this.podUid || violation.kind !== this.#kind) continue;
      this.firstViolationAtMicros ??= storedAtMicros;
      const seen = this.#byEpoch.get(violation.counterEpoch)?.packets ?? 0;
      const packets = Math.max(seen, violation.cumulativePackets);
      const { vector, state } = violation;
      this.#byEpoch.set(violation.counterEpoch, { vector, state, packets });
    }
  }

  takeVerdict(verdict: Verdict, storedAtMicros: number): void {
    if (verdict.pod?.uid !== this.podUid) {
      this.verdictsOnOthers.push(verdict);
      return;
    }
    this.firstVerdictAtMicros ??= storedAtMicros;
    this.verdicts.push(verdict);
  }

  takeResponse(response: Response): void {
    if (response.podUid === this.podUid) this.responses.push(response);
  }

  /** Packets or operations by vector. */
  get packets(): Record<string, number> {
    const sums: Record<string, number> = {};
    for (const { vector, packets } of this.#byEpoch.values()) sums[vector] = (sums[vector] ?? 0) + packets;
    return sums;
  }
  get totalPackets(): number {
    return Object.values(this.packets).reduce((sum, packets) => sum + packets, 0);
  }
  /** Of these, the packets that the kernel judged under a confirmed identity. */
  get programmedPackets(): number {
    return [...this.#byEpoch.values()].reduce(
      (sum, { state, packets }) => sum + (state === 'programmed' ? packets : 0),
      0,
    );
  }
  /** Responses with a terminal phase: done, refused, failed, dry run. */
  get finished(): Response[] {
    return this.responses.filter((response) => !UNFINISHED.includes(response.phase));
  }
  /**
   * Whether each of these actions has a terminal phase, all for one verdict, and none is under way.
   * The delete of a later verdict is refused while that of the first is under way.
   */
  isAnswered(actions: readonly Response['action'][]): boolean {
    const done = (verdictId: string, action: string) =>
      this.finished.some((response) => response.verdictId === verdictId && response.action === action);
    const isUnderWay = ({ phase, verdictId, action }: Response) => phase === 'started' && !done(verdictId, action);
    return (
      this.verdicts.some(({ verdictId }) => actions.every((action) => done(verdictId, action))) &&
      !this.responses.some(isUnderWay)
    );
  }
}

export interface BusWatch {
  tally: BusTally;
  /** Rejects if a stream cannot be read or a message cannot be decoded. */
  failed: Promise<never>;
  stop(): Promise<void>;
}

/** Reads the three streams from now on. The caller stops the watch, then closes the bus. */
export function watchBus(bus: Bus, podUid: string, kind: Violation['kind'] = 'spoof'): BusWatch {
  const tally = new BusTally(podUid, kind);
  const stop = new AbortController();
  const read = (stream: string, onMessage: (message: StreamMessage) => void) =>
    consumeOrdered(bus, stream, { start: 'all', onMessage, signal: stop.signal });
  const reading = Promise.all([
    read('VIOLATIONS', (m) => tally.takeFrame(decodeViolationFrame(m.data), m.timestampMicros)),
    read('VERDICTS', (m) => tally.takeVerdict(decodeVerdict(m.data), m.timestampMicros)),
    read('RESPONSES', (m) => tally.takeResponse(decodeResponse(m.data))),
  ]);
  const failed = reading.then(() => new Promise<never>(() => undefined));
  // Prevents an unhandled rejection; `stop` throws the error in any case.
  failed.catch(() => undefined);
  return {
    tally,
    failed,
    stop: async () => {
      stop.abort();
      await reading;
    },
  };
}
