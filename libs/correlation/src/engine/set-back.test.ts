// The clock of a NATS server was ahead and is set back: a frame of the future is in the stream.
import type { CorrelationRule } from '@bailiff/policy';
import { describe, expect, it } from 'vitest';
import { PodInventory } from '../attribution/pod-inventory.ts';
import { PriorRefusals } from '../attribution/prior-refusals.ts';
import {
  MINUTE,
  makeFrame,
  makeViolation,
  podInventoryOf,
  podRef,
  recordingEngine,
  ruleHistoryOf,
  SECOND,
  snapshotJson,
  T0,
} from '../testing.ts';

const HOUR = 60 * MINUTE;
const RULE = { type: 'event_count', level: 'high', timespan: '60s', cooldown: '5m', condition: { gte: 10 } };
const own = podRef('own');
const other = podRef('other');

type Options = Partial<Parameters<typeof recordingEngine>[0]> & { rule?: Partial<CorrelationRule> };

function setUp({ rule, ...options }: Options = {}) {
  const inventory = podInventoryOf({ n1: [own], n2: [other] });
  const recorded = recordingEngine({ rules: ruleHistoryOf({ r: { ...RULE, ...rule } }), inventory, ...options });
  let packets = 0;
  /** Violations of one packet, from one pod, that the bus stores at a time. */
  const report = (timeMicros: number, count = 1, pod = own, nodeName = 'n1') => {
    packets += count;
    const violation = makeViolation({ pod, cumulativePackets: packets, count, lastSeenAt: timeMicros });
    recorded.send(timeMicros, makeFrame([violation], { nodeName, frameSequence: packets }));
  };
  const jump = (byMicros: number) => report(T0 + byMicros, 1, other, 'n2');
  return { ...recorded, inventory, report, jump };
}

describe('a clock of the bus that was ahead and is set back', () => {
  it.each([HOUR, 24 * HOUR])('packets of different minutes do not reach a threshold together', (ahead) => {
    const { verdicts, report, jump } = setUp();
    jump(ahead);
    for (let minute = 1; minute < 60; minute++) report(T0 + minute * MINUTE);
    expect(verdicts).toEqual([]);
    // The allow: ten packets within 60 s.
    report(T0 + 60 * MINUTE, 9);
    report(T0 + 60 * MINUTE + SECOND, 1);
    expect(verdicts).toMatchObject([{ observed: 10, triggeredAt: T0 + 60 * MINUTE + SECOND }]);
  });

  it('a pod has a verdict in each cooldown, and the windows of the future count for none', () => {
    const { verdicts, report, jump } = setUp();
    report(T0 + HOUR - SECOND, 9);
    jump(HOUR);
    for (let minute = 1; minute < 60; minute += 5) report(T0 + minute * MINUTE, minute === 1 ? 1 : 10);
    const times = verdicts.map(({ triggeredAt }) => (triggeredAt - T0) / MINUTE);
    expect(times).toEqual([6, 11, 16, 21, 26, 31, 36, 41, 46, 51, 56]);
  });

  it('the verdicts of a minute are those of a minute of the bus', () => {
    const { verdicts, report, jump } = setUp({ verdictsPerMinute: 4, rule: { cooldown: '10s' } });
    jump(HOUR);
    for (let second = 1; second < 180; second++) report(T0 + second * SECOND, 10);
    expect(verdicts.length).toBeGreaterThanOrEqual(3);
  });

  it('a restart after it gives the same verdicts as a run that saw the jump', () => {
    const frames = (reader: ReturnType<typeof setUp>) => {
      for (let minute = 1; minute < 60; minute++) reader.report(T0 + minute * MINUTE, minute % 7 === 0 ? 10 : 1);
      return reader.verdicts.map(({ verdictId }) => verdictId);
    };
    const saw = setUp();
    saw.jump(HOUR);
    const ids = frames(saw);
    expect(ids).toHaveLength(8);
    expect(frames(setUp())).toEqual(ids);
  });

  it('pods that were listed while the clock was ahead, or afterwards, are judged', () => {
    const { verdicts, refusals, inventory, report, jump } = setUp();
    const late = podRef('late');
    const later = podRef('later');
    const list = (revision: number, timestampMicros: number, pods: (typeof own)[]) =>
      inventory.apply({
        node: 'n1',
        timestampMicros,
        revision,
        previousRevision: revision === 3 ? 1 : 3,
        json: snapshotJson('n1', pods, revision),
      });
    list(3, T0 + HOUR - MINUTE, [own, late]);
    jump(HOUR);
    report(T0 + MINUTE, 10, late);
    list(4, T0 + 2 * MINUTE, [own, late, later]);
    report(T0 + 2 * MINUTE, 10, later);
    report(T0 + 3 * MINUTE);
    expect(refusals).toEqual([]);
    expect(verdicts.map(({ pod }) => pod?.name)).toEqual(['late', 'later']);
  });

  it('a pod that left its list is judged for as long as ever, and so is one of a replay', () => {
    const brief = podRef('brief');
    const listed = setUp();
    const list = (revision: number, timestampMicros: number, pods: (typeof own)[]) =>
      listed.inventory.apply({
        node: 'n1',
        timestampMicros,
        revision,
        previousRevision: revision === 3 ? 1 : revision - 1,
        json: snapshotJson('n1', pods, revision),
      });
    listed.jump(HOUR);
    list(3, T0 + MINUTE, [own, brief]);
    list(4, T0 + MINUTE + 3 * SECOND, [own]);
    listed.report(T0 + MINUTE + 5 * SECOND, 10, brief);
    expect(listed.verdicts).toMatchObject([{ pod: { name: 'brief' } }]);
    // Control: more than ten minutes later, it is not.
    listed.report(T0 + 12 * MINUTE, 10, brief);
    expect([listed.verdicts.length, listed.refusals.map(({ reason }) => reason)]).toEqual([1, ['unproven-pod']]);

    // The first lists that a correlator reads are those of after the removal.
    const inventory = new PodInventory();
    const json = snapshotJson('n1', [own], 4);
    inventory.apply({ node: 'n1', timestampMicros: T0 + 2 * MINUTE, revision: 4, previousRevision: 3, json });
    const priorRefusals = new PriorRefusals(T0 + 3 * MINUTE);
    priorRefusals.add({
      node: 'n1',
      sequence: 3,
      reason: 'unproven-pod',
      detail: '[0] no list names pod',
      writtenMicros: 0,
    });
    const replayed = setUp({ inventory, priorRefusals });
    replayed.jump(HOUR);
    replayed.report(T0 + MINUTE + 5 * SECOND, 10, brief);
    expect(replayed.verdicts).toMatchObject([{ pod: { name: 'brief' } }]);
    // Control: a report with a dead letter is refused again, although its pod is listed now.
    replayed.report(T0 + 2 * MINUTE, 10);
    expect([replayed.verdicts.length, replayed.refusals.length]).toEqual([1, 1]);
  });

  it('a clock that has caught up goes on as before', () => {
    const { verdicts, report, jump } = setUp();
    jump(HOUR);
    report(T0 + MINUTE);
    for (let minute = 58; minute < 70; minute++) report(T0 + minute * MINUTE);
    expect(verdicts).toEqual([]);
    report(T0 + 70 * MINUTE, 10);
    expect(verdicts).toMatchObject([{ triggeredAt: T0 + 70 * MINUTE }]);
  });

  it('control - the clock of another leader, some seconds behind, does not take the count of a window', () => {
    const { verdicts, report } = setUp();
    report(T0 + 5 * SECOND, 9);
    report(T0, 1);
    expect(verdicts).toMatchObject([{ observed: 10 }]);
  });
});
