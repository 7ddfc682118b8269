import type { Response } from '@bailiff/schemas';
import { describe, expect, it } from 'vitest';
import { PHASE_GROUPS, phaseGroupOf, responseIdOf, taskIdOf } from '../planning/ids.ts';
import { approvalOf, denialOf, RELEASED, releaseOf } from './records.ts';

const key = { verdictId: 'v1', policy: 'p', action: 'quarantine' as const };
const base = {
  ...key,
  responseId: responseIdOf(key, 'pending'),
  phase: 'pending',
  podUid: 'u',
  expiresAt: 5,
} as Response;
const operator = { by: 'anna', nowMicros: 77 };

describe('ids', () => {
  it('differ by verdict, policy, action and group, and by nothing else', () => {
    const ids = PHASE_GROUPS.map((group) => responseIdOf(key, group));
    expect(new Set([...ids, taskIdOf(key)]).size).toBe(PHASE_GROUPS.length + 1);
    expect(responseIdOf({ ...base, podUid: 'other' } as Response, 'started')).toBe(responseIdOf(key, 'started'));
    expect(responseIdOf({ ...key, policy: 'q' }, 'started')).not.toBe(responseIdOf(key, 'started'));
  });

  it('are unambiguous for all parts', () => {
    expect(taskIdOf({ verdictId: 'a', policy: 'bc', action: 'label' })).not.toBe(
      taskIdOf({ verdictId: 'ab', policy: 'c', action: 'label' }),
    );
  });

  it('all terminal phases have the same record id', () => {
    const phases: Response['phase'][] = ['succeeded', 'dryrun', 'refused', 'failed'];
    expect(phases.map(phaseGroupOf)).toEqual(Array(4).fill('terminal'));
  });
});

describe('records', () => {
  it.each([
    ['approval', approvalOf, 'approved', '', 'approved by anna'],
    ['denial', denialOf, 'refused', 'approval-denied', 'denied by anna'],
    ['release', releaseOf, 'undone', RELEASED, 'released by anna'],
  ] as const)('%s - is the one record of its group', (_name, make, phase, reasonCode, reason) => {
    const record = make(base, operator);
    expect(record).toMatchObject({ phase, reasonCode, reason, podUid: 'u', recordedAt: 77, expiresAt: null });
    expect(record.responseId).toBe(responseIdOf(key, phaseGroupOf(phase)));
    expect(make(base, { ...operator, note: 'false alarm' }).reason).toContain(': false alarm');
  });
});
