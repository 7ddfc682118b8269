// Properties of the correlation engine over whole histories: its state expires as specified, and no
// crash, start or replica changes the verdicts.
import { type CorrelationEngineOptions, planReplay, warmUpMicros } from '@bailiff/correlation';
import type { Verdict } from '@bailiff/schemas';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type EmittedVerdict, type History, play, Reader, rulesOfHistory, steps } from './correlator-stream.ts';

const longest = (history: History) => warmUpMicros(rulesOfHistory(history).longestSince(0));

/** As the bus has verdicts: one a subject, the first stays. */
class VerdictStream {
  readonly bySubject = new Map<string, Verdict>();
  readonly stored: EmittedVerdict[] = [];
  publishOnce(printed: EmittedVerdict): void {
    const { level, pod, verdictId } = printed.verdict;
    const subject = `${level}.${pod?.namespace ?? '_'}.${pod?.name ?? '_'}.${verdictId}`;
    if (this.bySubject.has(subject)) return;
    this.bySubject.set(subject, printed.verdict);
    this.stored.push(printed);
  }
}

/**
 * One process: starts as the replay plan specifies, publishes in order with some verdicts in
 * flight, and may end at any moment.
 */
class Replica {
  readonly reader: Reader;
  readonly #stream: VerdictStream;
  #sent = 0;
  readonly #publishFrom: number;

  constructor(
    history: History,
    visible: number,
    stream: VerdictStream,
    options: Partial<CorrelationEngineOptions> = {},
  ) {
    this.#stream = stream;
    const first = history.frames[0];
    const last = history.frames[visible - 1];
    const newest = stream.stored.at(-1)?.verdict.evidence.at(-1)?.streamSequence;
    const plan = planReplay(
      {
        firstSequence: first ? 1 : 0,
        firstMicros: first?.timestampMicros ?? 0,
        lastMicros: last?.timestampMicros ?? 0,
        lastTriggerMicros: newest === undefined ? null : (history.frames[newest - 1]?.timestampMicros ?? null),
      },
      longest(history),
    );
    this.#publishFrom = plan.publishFromMicros;
    const start = history.frames.findIndex((frame) => frame.timestampMicros >= plan.readFromMicros);
    this.reader = new Reader(history, Math.max(0, start), options);
  }

  /** Gets so many of the verdicts in flight stored. */
  publish(most: number): void {
    for (let i = 0; i < most && this.#sent < this.reader.printed.length; i++) {
      const printed = this.reader.printed[this.#sent++] as EmittedVerdict;
      if (printed.streamMicros >= this.#publishFrom) this.#stream.publishOnce(printed);
    }
  }
}

/** The first step of an ordered rule completed it: a later one was on the bus before. */
const isTurned = ({ verdict: { rule, evidence } }: EmittedVerdict) =>
  rule === 'ordered' && evidence.at(-1)?.vector !== 'quarantine-ingress';

describe('fold - a function of the stream alone', () => {
  it('property - after its warm-up, a restarted engine produces the verdicts of one that never stopped, byte for byte', () => {
    let compared = 0;
    let turned = 0;
    fc.assert(
      fc.property(steps(400), fc.nat(), (all, at) => {
        const history = play(all);
        if (history.frames.length === 0) return;
        const start = at % history.frames.length;
        const warm = (history.frames[start]?.timestampMicros ?? 0) + longest(history);
        const later = ({ printed }: Reader) => printed.filter(({ streamMicros }) => streamMicros >= warm);
        const whole = later(new Reader(history, 0).run());
        expect(later(new Reader(history, start).run())).toEqual(whole);
        if (start > 0) compared += whole.length;
        turned += whole.filter(isTurned).length;
      }),
      { numRuns: 200 },
    );
    // It must have had something to compare.
    expect(compared).toBeGreaterThan(100);
    expect(turned).toBeGreaterThan(50);
  });

  it('property - twice the same', () => {
    fc.assert(
      fc.property(steps(80), (all) => {
        const history = play(all);
        expect(new Reader(history, 0).run().printed).toEqual(new Reader(history, 0).run().printed);
      }),
      { numRuns: 50 },
    );
  });

  it('property - frames decoded from the bus give the verdicts of the original frames', () => {
    fc.assert(
      fc.property(steps(200), (all) => {
        const history = play(all);
        const made = new Reader(history, 0, {}, false).run();
        const read = new Reader(history, 0).run();
        expect(read.printed).toEqual(made.printed);
        expect([read.engine.size, read.engine.counted]).toEqual([made.engine.size, made.engine.counted]);
      }),
      { numRuns: 100 },
    );
  });

  it('property - a verdict id is issued once, with one subject', () => {
    fc.assert(
      fc.property(steps(150), (all) => {
        const ids = new Reader(play(all), 0).run().printed.map(({ verdict }) => verdict.verdictId);
        expect(new Set(ids).size).toBe(ids.length);
      }),
      { numRuns: 100 },
    );
  });

  it('property - resends and duplicates change no verdict', () => {
    fc.assert(
      fc.property(steps(120), (all) => {
        const twice = all.map((one) =>
          one.do === 'spoof' && one.fate === 'ok' ? { ...one, fate: 'twice' as const } : one,
        );
        const ids = (from: typeof all) =>
          new Reader(play(from), 0).run().printed.map(({ verdict }) => verdict.verdictId);
        expect(ids(twice)).toEqual(ids(all));
      }),
      { numRuns: 100 },
    );
  });
});

/** Events between two frames that arrive on the bus. */
const event = fc.record({
  start: fc.boolean(),
  crash: fc.option(fc.nat(), { nil: undefined }),
  reads: fc.array(fc.nat({ max: 12 }), { maxLength: 4 }),
  publishes: fc.array(fc.nat({ max: 3 }), { maxLength: 4 }),
});

describe('replicas - any number of them, killed at any point', () => {
  it('property - together they publish exactly the verdicts of one that never stopped', () => {
    let verdicts = 0;
    let restarts = 0;
    fc.assert(
      fc.property(steps(300), fc.array(event, { minLength: 10, maxLength: 60 }), (all, events) => {
        const history = play(all);
        const stream = new VerdictStream();
        let replicas: Replica[] = [];
        events.forEach(({ start, crash, reads, publishes }, index) => {
          const visible = Math.ceil(((index + 1) / events.length) * history.frames.length);
          if (start && replicas.length < 3) {
            replicas.push(new Replica(history, visible, stream));
            restarts++;
          }
          replicas.forEach((replica, i) => {
            for (let n = reads[i] ?? 0; n > 0 && replica.reader.next < visible; n--) replica.reader.step();
            replica.publish(publishes[i] ?? 0);
          });
          if (crash !== undefined) replicas = replicas.filter((_, i) => i !== crash % 4);
        });
        // At last one that is left in peace.
        const last = new Replica(history, history.frames.length, stream);
        last.reader.run();
        last.publish(Number.POSITIVE_INFINITY);
        const whole = new VerdictStream();
        for (const printed of new Reader(history, 0).run().printed) whole.publishOnce(printed);
        const sorted = (from: VerdictStream) => [...from.bySubject].sort(([a], [b]) => (a < b ? -1 : 1));
        expect(sorted(stream)).toEqual(sorted(whole));
        verdicts += whole.bySubject.size;
      }),
      { numRuns: 150 },
    );
    expect(verdicts).toBeGreaterThan(500);
    expect(restarts).toBeGreaterThan(500);
  });
});
