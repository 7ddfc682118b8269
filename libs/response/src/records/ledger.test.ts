import type { Response } from '@bailiff/schemas';
import fc from 'fast-check';
import { beforeAll, describe, expect, it } from 'vitest';
import { responseIdOf, taskIdOf } from '../planning/ids.ts';
import { ACTION_MEMORY_MICROS, Ledger, MAX_EXPIRING_LABELS, type NeededRecord } from './ledger.ts';
import { MAX_LABELLED } from './recent-actions.ts';
import { RELEASED } from './records.ts';

const record = (phase: Response['phase'], more: Partial<Response> = {}): Response => {
  const key = { verdictId: 'v1', policy: 'p', action: 'label' as const, ...more };
  const group =
    phase === 'succeeded' || phase === 'refused' || phase === 'failed' || phase === 'dryrun' ? 'terminal' : phase;
  return {
    responseId: responseIdOf(key, group),
    phase,
    reasonCode: '',
    reason: '',
    level: 'high',
    rule: 'r',
    podUid: 'pod-1',
    podNamespace: 'shop',
    podName: 'web-1',
    nodeName: 'node-a',
    ownerKind: '',
    ownerName: '',
    ownerUid: 'rs-1',
    claimedOwnerUid: '',
    recordedAt: 0,
    attempt: 1,
    apiVerb: '',
    apiPath: '',
    apiStatus: 0,
    expiresAt: null,
    capture: null,
    ...more,
    verdictId: key.verdictId,
    policy: key.policy,
    action: key.action,
  };
};
const at = (sequence: number, timestampMicros = sequence * 1000) => ({ sequence, timestampMicros });

describe('ledger', () => {
  it('a task is open until its terminal record, and its start counts as an action', () => {
    const ledger = new Ledger();
    const taskId = ledger.applyInOrder(record('started'), at(1));
    expect(ledger.isClosed(taskId)).toBe(false);
    expect(ledger.actionsFor('label', 0)).toMatchObject([
      { action: 'label', podUid: 'pod-1', ownerUid: 'rs-1', atMicros: 1000 },
    ]);
    ledger.applyInOrder(record('failed'), at(2));
    expect(ledger.isClosed(taskId)).toBe(true);
    expect(ledger.actionsFor('label', 0)).toHaveLength(1);
  });

  it('a refusal closes a task and is no action', () => {
    const ledger = new Ledger();
    ledger.applyInOrder(record('refused'), at(1));
    expect(ledger.isClosed(taskIdOf(record('refused')))).toBe(true);
    expect(ledger.actionsFor('label', 0)).toEqual([]);
  });

  it('quarantines - in force from success to undo, with or without an expiry; not if held by another verdict', () => {
    const ledger = new Ledger();
    const cut = (phase: Response['phase'], verdictId: string, more: Partial<Response> = {}) =>
      record(phase, { action: 'quarantine', verdictId, ...more });
    const inForce = () => [...ledger.quarantines()].map(({ response, ...rest }) => [response.verdictId, rest]);
    for (const [index, response] of [
      cut('started', 'timed'),
      cut('succeeded', 'timed', { expiresAt: 90_000 }),
      cut('started', 'for-good', { recordedAt: 7 }),
      cut('succeeded', 'for-good', { recordedAt: 9 }),
      cut('succeeded', 'held', { reasonCode: 'already-quarantined' }),
      cut('failed', 'failed'),
      record('succeeded', { verdictId: 'label', expiresAt: 90_000 }),
    ].entries())
      ledger.applyInOrder(response, at(index + 1));
    const month = 30 * 86_400_000_000;
    expect(inForce()).toEqual([
      ['timed', { taskId: taskIdOf(cut('started', 'timed')), sequence: 2, sinceMicros: 1000, untilMicros: 90_000 }],
      [
        'for-good',
        { taskId: taskIdOf(cut('started', 'for-good')), sequence: 4, sinceMicros: 3000, untilMicros: month + 7 },
      ],
    ]);
    ledger.applyInOrder(cut('undone', 'for-good', { reasonCode: RELEASED }), at(8));
    ledger.applyInOrder(cut('succeeded', 'for-good', { recordedAt: 9 }), at(9));
    expect(inForce().map(([verdictId]) => verdictId)).toEqual(['timed']);
    ledger.prune(90_001);
    expect(inForce()).toEqual([]);
  });

  it("one's own record counts at once, and the position does not jump over what is still on its way", () => {
    const ledger = new Ledger();
    const started = (verdictId: string) => record('started', { verdictId, action: 'delete' });
    ledger.applyOwn(started('v1'), at(1));
    expect(ledger.position).toBe(1);
    ledger.applyOwn(started('v3'), at(3));
    expect(ledger.position).toBe(1);
    ledger.applyInOrder(started('v1'), at(1));
    ledger.applyInOrder(started('v2'), at(2));
    ledger.applyInOrder(started('v3'), at(3));
    expect(ledger.position).toBe(3);
    expect(ledger.actionsFor('delete', 0).map(({ atMicros }) => atMicros)).toEqual([1000, 2000, 3000]);
  });

  it('expiring - from a success with an expiry until its undo', () => {
    const ledger = new Ledger();
    ledger.applyInOrder(record('succeeded', { expiresAt: 99 }), at(1));
    expect([...ledger.expiring()]).toHaveLength(1);
    ledger.applyInOrder(record('undone'), at(2));
    expect([...ledger.expiring()]).toEqual([]);
    expect([...ledger.released()]).toEqual([]);
  });

  it('expiring - neither a success without an expiry nor a dry run', () => {
    const ledger = new Ledger();
    ledger.applyInOrder(record('succeeded', { verdictId: 'v1' }), at(1));
    ledger.applyInOrder(record('dryrun', { verdictId: 'v2', expiresAt: 99 }), at(2));
    expect([...ledger.expiring()]).toEqual([]);
  });

  it('released - a released quarantine is kept until its visible record is removed', () => {
    const ledger = new Ledger();
    ledger.applyInOrder(record('succeeded', { action: 'quarantine', expiresAt: 99 }), at(1));
    ledger.applyInOrder(record('undone', { action: 'quarantine', reasonCode: RELEASED }), at(2));
    expect([...ledger.expiring()]).toEqual([]);
    expect([...ledger.released()]).toHaveLength(1);
    ledger.prune(ACTION_MEMORY_MICROS + 3000);
    expect([...ledger.released()]).toEqual([]);
  });

  it('an ended task keeps only its id, unless an undo may follow', () => {
    const ledger = new Ledger();
    const rows = [
      [record('refused', { verdictId: 'v1' }), false],
      [record('refused', { verdictId: 'v2', action: 'delete', reasonCode: 'delete-storm' }), false],
      [record('succeeded', { verdictId: 'v3', expiresAt: 9e15 }), true],
      [record('succeeded', { verdictId: 'v4' }), false],
    ] as const;
    rows.forEach(([response, kept], index) => {
      const taskId = ledger.applyInOrder(response, at(index + 1));
      expect(ledger.isClosed(taskId)).toBe(true);
      expect(ledger.task(taskId) !== undefined).toBe(kept);
    });
    expect(ledger.size).toBe(4);
    ledger.applyInOrder(record('undone', { verdictId: 'v3' }), at(5));
    expect(ledger.task(taskIdOf(record('undone', { verdictId: 'v3' })))).toBeUndefined();
  });

  it('released - also a quarantine without an expiry', () => {
    const ledger = new Ledger();
    ledger.applyInOrder(record('succeeded', { action: 'quarantine' }), at(1));
    ledger.applyInOrder(record('undone', { action: 'quarantine', reasonCode: RELEASED }), at(2));
    expect([...ledger.released()]).toMatchObject([{ response: { podUid: 'pod-1' } }]);
  });

  it('deleted records - a task without a record may have run, if its verdict is older than the first record', () => {
    const ledger = new Ledger();
    const known = ledger.applyInOrder(record('refused', { verdictId: 'v1' }), at(7));
    expect(ledger.mayHaveRun('unknown', 4_000)).toBe(false);
    ledger.completeSinceMicros = 5_000;
    expect([ledger.mayHaveRun('unknown', 4_000), ledger.mayHaveRun('unknown', 5_000)]).toEqual([true, false]);
    expect(ledger.mayHaveRun(known, 4_000)).toBe(false);
    ledger.prune(10_000);
    expect(ledger.size).toBe(1);
    // An ended task is forgotten with its time, and then it does not run again either.
    ledger.completeSinceMicros = 8_000;
    ledger.completeSinceMicros = 1_000;
    ledger.prune(10_000);
    expect([ledger.size, ledger.mayHaveRun(known, 4_000)]).toEqual([0, true]);
  });

  it('a clock that was ahead by more than the age of records, and is set back - later verdicts are responded to', () => {
    const ledger = new Ledger();
    const now = 60_000_000;
    ledger.completeSinceMicros = 90_000_000;
    ledger.prune(99_000_000);
    expect(ledger.mayHaveRun('new', now)).toBe(true);
    ledger.completeSinceMicros = 1_000;
    ledger.prune(now);
    expect([ledger.mayHaveRun('earlier', 50_000_000), ledger.mayHaveRun('new', now - 1)]).toEqual([true, false]);
  });

  it('deleted records - whatever is left of an ended task, it is not open, and a budget counts it', () => {
    const cut = (phase: Response['phase']) => record(phase, { action: 'quarantine', expiresAt: 9e15 });
    const rows = [cut('pending'), cut('approved'), cut('started'), cut('succeeded'), cut('undone')];
    for (let deleted = 1; deleted < rows.length; deleted += 1) {
      const ledger = new Ledger();
      rows.slice(deleted).forEach((response, index) => {
        ledger.applyInOrder(response, at(deleted + index + 1));
      });
      ledger.completeSinceMicros = (deleted + 1) * 1000;
      const taskId = taskIdOf(rows[0] as Response);
      const left = `${rows.length - deleted} records left`;
      expect(ledger.isClosed(taskId) || ledger.mayHaveRun(taskId, 500), left).toBe(true);
      expect(ledger.actionsFor('delete', 0), left).toHaveLength(deleted < 4 ? 1 : 0);
      expect([...ledger.needed()], left).toEqual([]);
    }
  });

  it('needed - quarantines, effects that end, open tasks and counted actions, each by its newest copy', () => {
    const ledger = new Ledger();
    const cut = (phase: Response['phase'], more: Partial<Response> = {}) =>
      record(phase, { action: 'quarantine', verdictId: 'cut', expiresAt: 9e15, ...more });
    const needed = () => [...new Set([...ledger.needed()].map(({ sequence }) => sequence))].sort((a, b) => a - b);
    /** Every record that was needed at some time. */
    const named: NeededRecord[] = [];
    const rows: [Response, number[]][] = [
      [record('pending', { verdictId: 'asked' }), [1]],
      [record('refused', { verdictId: 'asked' }), []],
      // A label has no budget, and an end.
      [record('started', { verdictId: 'mark' }), [3]],
      [record('succeeded', { verdictId: 'mark', expiresAt: 9e15 }), [4]],
      [record('undone', { verdictId: 'mark' }), []],
      [record('started', { verdictId: 'gone', action: 'delete' }), [6]],
      [record('succeeded', { verdictId: 'gone', action: 'delete' }), [7]],
      [cut('started'), [7, 8]],
      [cut('succeeded'), [7, 9]],
      // Copies.
      [cut('succeeded'), [7, 10]],
      [record('succeeded', { verdictId: 'gone', action: 'delete' }), [10, 11]],
      [cut('undone', { reasonCode: RELEASED }), [11, 12]],
      [record('started', { verdictId: 'open' }), [11, 12, 13]],
    ];
    rows.forEach(([response, expected], index) => {
      ledger.applyInOrder(response, at(index + 1));
      expect(needed(), `after record ${index + 1}`).toEqual(expected);
      named.push(...ledger.needed());
      for (const one of named) {
        expect(ledger.isNeeded(one), `${one.sequence} after record ${index + 1}`).toBe(expected.includes(one.sequence));
      }
    });
    // Sequences of a deleted stream are not those of the new one.
    ledger.streamRecreated();
    expect(needed()).toEqual([]);
    expect(named.filter((one) => ledger.isNeeded(one))).toEqual([]);
    ledger.applyInOrder(record('started', { verdictId: 'new', action: 'evict' }), at(3));
    expect(needed()).toEqual([3]);
    ledger.applyInOrder(record('refused', { verdictId: 'new', action: 'evict' }), at(4));
    expect(needed()).toEqual([4]);
    ledger.prune(ACTION_MEMORY_MICROS + 20_000);
    expect(needed()).toEqual([]);
  });

  it('a clock of the bus that was ahead and is set back - what was stored then counts as of the step, once', () => {
    const ledger = new Ledger();
    const [then, ahead] = [2 * ACTION_MEMORY_MICROS, 2.5 * ACTION_MEMORY_MICROS];
    const apply = (verdictId: string, action: Response['action'], place: ReturnType<typeof at>) =>
      ledger.applyInOrder(record('started', { verdictId, action, ownerUid: verdictId }), place);
    const timesOf = (action: string) => ledger.actionsFor(action, 0).map(({ atMicros }) => atMicros);
    apply('before', 'delete', at(1, then));
    const open = apply('ahead', 'delete', at(2, ahead));
    apply('label', 'label', at(3, ahead));
    // The clock of this process may be some seconds behind.
    ledger.prune(ahead - 5_000_000);
    expect([timesOf('delete').at(-1), ledger.newestMicros]).toEqual([ahead, ahead]);
    ledger.prune(then + 7);
    expect(ledger.task(open)?.started?.atMicros).toBe(then + 7);
    apply('after', 'delete', at(4, then + 60));
    ledger.prune(then + 599_999_999);
    expect([timesOf('delete'), ledger.newestMicros]).toEqual([[then, then + 60, ahead], ahead]);
    ledger.prune(then + 600_000_007);
    expect([timesOf('delete'), timesOf('label')]).toEqual([[then, then + 7, then + 60], [then + 7]]);
    expect(ledger.newestMicros).toBe(then + 600_000_007);
    ledger.prune(then + 700_000_000);
    expect(timesOf('delete')).toEqual([then, then + 7, then + 60]);
  });

  it('a clock of the bus that is behind for a moment - forgets no action', () => {
    const ledger = new Ledger();
    const then = 2 * ACTION_MEMORY_MICROS;
    ledger.applyInOrder(record('started', { action: 'delete' }), at(1, then));
    for (const behind of [900_000_000, 840_000_000, 0]) ledger.prune(then - behind);
    ledger.prune(then + 700_000_000);
    expect(ledger.actionsFor('delete', 0)).toMatchObject([{ atMicros: then }]);
  });

  it('labels with an end - beyond the limit the oldest stay on their pods; no quarantine is forgotten', () => {
    const ledger = new Ledger();
    const until = (verdictId: string, action: Response['action']) =>
      ledger.applyInOrder(record('succeeded', { verdictId, action, expiresAt: 9e15 }), at(1));
    until('cut', 'quarantine');
    for (let n = 0; n <= MAX_EXPIRING_LABELS; n += 1) until(`label-${n}`, 'label');
    ledger.prune(1);
    const left = [...ledger.expiring()].map(({ first }) => first.verdictId);
    expect([left.length, left[0], left[1], ledger.labelsForgotten]).toEqual([
      MAX_EXPIRING_LABELS + 1,
      'cut',
      'label-1',
      1,
    ]);
  });

  describe('a tenant whose pods violate all day, each with an event, a label and a refused removal', () => {
    const PODS = MAX_LABELLED + 500;
    const ledger = new Ledger();
    beforeAll(() => {
      let sequence = 0;
      const apply = (phase: Response['phase'], more: Partial<Response>) =>
        ledger.applyInOrder(record(phase, more), at(++sequence));
      apply('started', { verdictId: 'shop', action: 'delete', podUid: 'of-shop' });
      for (let n = 0; n < PODS; n += 1) {
        const pod = { verdictId: `v${n}`, podNamespace: 'tenant', podUid: `pod-${n}`, ownerUid: '' };
        for (const action of ['observe', 'label'] as const)
          for (const phase of ['started', 'succeeded'] as const) apply(phase, { ...pod, action });
        apply('refused', { ...pod, action: 'delete', reasonCode: 'budget-exhausted' });
      }
    });
    const refusedAt = (n: number) => taskIdOf(record('refused', { verdictId: `v${n}`, action: 'delete' }));

    it('guards of a removal look at what budgets count, and not at its pods; events count nowhere', () => {
      expect(ledger.actionsFor('delete', 0).map(({ podUid }) => podUid)).toEqual(['of-shop']);
      expect([ledger.actionsFor('observe', 0), ledger.actionsFor('capture', 0)]).toEqual([[], []]);
      // The control: an action with a budget stays.
      ledger.applyInOrder(record('started', { verdictId: 'cut', action: 'quarantine' }), at(1e6));
      expect(ledger.actionsFor('delete', 0)).toHaveLength(2);
    });

    it('labels - the newest of each workload or pod, up to the limit', () => {
      const labels = ledger.actionsFor('label', 0);
      expect([labels.length, labels[0]?.podUid, labels.at(-1)?.podUid]).toEqual([
        MAX_LABELLED,
        'pod-500',
        `pod-${PODS - 1}`,
      ]);
      const ofOne = new Ledger();
      for (let n = 1; n <= 3; n += 1) ofOne.applyInOrder(record('succeeded', { verdictId: `v${n}` }), at(n));
      expect(ofOne.actionsFor('label', 0)).toMatchObject([{ ownerUid: 'rs-1', atMicros: 3000 }]);
    });

    it('a refused removal keeps no record, only how it ended, while RESPONSES holds it', () => {
      expect([ledger.isClosed(refusedAt(0)), ledger.task(refusedAt(0))]).toEqual([true, undefined]);
      expect(ledger.substitutedEnd(refusedAt(0))).toEqual({ atMicros: 6000, reasonCode: 'budget-exhausted' });
      expect(ledger.substitutedEnd(taskIdOf(record('refused', { verdictId: 'shop' })))).toBeNull();
      ledger.completeSinceMicros = 6001;
      ledger.prune(6001);
      expect([ledger.substitutedEnd(refusedAt(0)), ledger.substitutedEnd(refusedAt(1))]).toEqual([
        null,
        { atMicros: 11_000, reasonCode: 'budget-exhausted' },
      ]);
      ledger.prune(ACTION_MEMORY_MICROS + 11_001);
      expect(ledger.substitutedEnd(refusedAt(1))).toBeNull();
    });
  });

  it('prune - drops actions older than every window', () => {
    const ledger = new Ledger();
    for (const action of ['delete', 'label'] as const) {
      ledger.applyInOrder(record('started', { verdictId: 'v1', action, ownerUid: 'rs-1' }), at(1, 1000));
      ledger.applyInOrder(
        record('started', { verdictId: 'v2', action, ownerUid: 'rs-2' }),
        at(2, ACTION_MEMORY_MICROS),
      );
      expect(ledger.actionsFor(action, 0)).toHaveLength(2);
    }
    ledger.prune(ACTION_MEMORY_MICROS + 2000);
    expect(ledger.actionsFor('delete', 0)).toHaveLength(1);
    expect(ledger.actionsFor('label', 0)).toHaveLength(1);
  });

  it('budgets - an old record that the server stores again is no new action; the first one of its task is', () => {
    const ledger = new Ledger();
    const late = 2 * ACTION_MEMORY_MICROS;
    const ended = { action: 'delete' } as const;
    const held = { action: 'quarantine', verdictId: 'v2', expiresAt: 3 * late } as const;
    for (const key of [ended, held]) {
      ledger.applyInOrder(record('started', key), at(ledger.position + 1, 1000));
      ledger.applyInOrder(record('succeeded', key), at(ledger.position + 1, 2000));
    }
    expect(ledger.actionsFor('delete', 0), 'control').toHaveLength(2);
    ledger.prune(late);
    for (const phase of ['started', 'succeeded'] as const)
      for (const key of [ended, held]) ledger.applyInOrder(record(phase, key), at(ledger.position + 1, late));
    expect(ledger.actionsFor('delete', 0)).toEqual([]);
    ledger.applyInOrder(record('succeeded', { ...ended, verdictId: 'v3' }), at(ledger.position + 1, late));
    expect(ledger.actionsFor('delete', 0), 'its start was deleted').toMatchObject([
      { action: 'delete', atMicros: late },
    ]);
  });

  it("the fold is the same however one's own records run ahead of the stream", () => {
    const phases: Response['phase'][] = ['pending', 'approved', 'started', 'succeeded', 'refused', 'undone'];
    const stream = fc.array(
      fc.record({
        phase: fc.constantFrom(...phases),
        verdictId: fc.constantFrom('v1', 'v2', 'v3'),
        action: fc.constantFrom<Response['action'][]>('label', 'delete'),
        own: fc.boolean(),
        aheadBy: fc.nat(4),
      }),
      { maxLength: 30 },
    );
    fc.assert(
      fc.property(stream, (rows) => {
        const plain = new Ledger();
        const mixed = new Ledger();
        // The bus rejects second copies, so the stream has none.
        const ids = new Set<string>();
        const records = rows
          .map(({ phase, verdictId, action, ...row }) => {
            return { ...row, response: record(phase, { verdictId, action, expiresAt: 99 }) };
          })
          .filter(({ response }) => !ids.has(response.responseId) && ids.add(response.responseId));
        for (const [index, { response }] of records.entries()) plain.applyInOrder(response, at(index + 1));
        records.forEach(({ response }, index) => {
          records.slice(index).forEach((later, ahead) => {
            if (later.own && later.aheadBy >= ahead) mixed.applyOwn(later.response, at(index + ahead + 1));
          });
          mixed.applyInOrder(response, at(index + 1));
          expect(mixed.position).toBeGreaterThanOrEqual(index + 1);
        });
        expect(mixed.position).toBe(plain.position);
        for (const action of ['label', 'delete'])
          expect(mixed.actionsFor(action, 0)).toEqual(plain.actionsFor(action, 0));
        expect([...mixed.expiring()].map((s) => s.taskId).sort()).toEqual(
          [...plain.expiring()].map((s) => s.taskId).sort(),
        );
        for (const { response } of records) {
          expect(mixed.isClosed(taskIdOf(response))).toBe(plain.isClosed(taskIdOf(response)));
        }
      }),
    );
  });
});
