/** Approval and release select exactly one response or pod, and only those in a suitable state. */

import { foldTask, type TaskRecords, waitingOf } from '@bailiff/insight';
import { ALREADY_QUARANTINED, responseIdOf } from '@bailiff/response';
import type { Response } from '@bailiff/schemas';
import { sampleResponse } from '@bailiff/schemas/testing';
import { describe, expect, it } from 'vitest';
import { startedQuarantines, targetOf } from '../operate/quarantine.ts';
import { parsePod } from '../shared/arguments.ts';
import type { Quarantined } from '../shared/quarantined.ts';
import { findWaiting } from './responses.ts';

const NOW_MS = 1_790_000_000_000;

function fold(...records: (Partial<Response> & Pick<Response, 'phase'>)[]): TaskRecords[] {
  const tasks = new Map<string, TaskRecords>();
  records.forEach((part, index) => {
    const group = ['succeeded', 'refused', 'failed', 'dryrun'].includes(part.phase) ? 'terminal' : part.phase;
    const response = sampleResponse({ expiresAt: null, ...part });
    const responseId = responseIdOf(response, group as 'terminal');
    foldTask(tasks, { sequence: index + 1, storedAtMicros: 1, response: { ...response, responseId } });
  });
  return [...tasks.values()];
}

describe('approvals', () => {
  const one = fold({ phase: 'pending' });
  const id = one[0]?.pending?.response.responseId as string;

  it('found - by the beginning of its own id or of its verdict', () => {
    expect(findWaiting(one, id.slice(0, 6)).sequence).toBe(1);
    expect(findWaiting(one, sampleResponse().verdictId.slice(0, 5)).sequence).toBe(1);
  });

  it('not found - the remedy names the command that lists them', () => {
    expect(() => findWaiting(one, 'ffffffff')).toThrow(
      expect.objectContaining({ code: 'CLI_NOT_FOUND', remedy: expect.stringContaining('--pending') }),
    );
  });

  it('two responses of one verdict - their ids differ', () => {
    const two = fold({ phase: 'pending' }, { phase: 'pending', action: 'cordon' });
    expect(() => findWaiting(two, sampleResponse().verdictId)).toThrow(
      expect.objectContaining({ code: 'CLI_USAGE', remedy: expect.stringMatching(/cordon/) }),
    );
    expect(findWaiting(two, id).response.action).toBe('delete');
  });

  it.each(['approved', 'started', 'refused', 'succeeded'] as const)('decided - %s waits no more', (phase) => {
    const tasks = fold({ phase: 'pending' }, { phase, reason: 'so it is' });
    expect(waitingOf(tasks)).toEqual([]);
    expect(() => findWaiting(tasks, id)).toThrow(
      expect.objectContaining({ code: 'CLI_STATE', message: expect.stringContaining('so it is') }),
    );
  });
});

describe('release', () => {
  const quarantine = { action: 'quarantine' as const, phase: 'succeeded' as const };
  const later = (NOW_MS + 60_000) * 1000;
  const pod = parsePod('default/attacker-0', 'pod');
  const entry = (part: Partial<Quarantined> = {}): Quarantined => ({
    podUid: sampleResponse().podUid,
    podNamespace: 'default',
    podName: 'attacker-0',
    verdictId: 'v',
    until: '',
    untilMs: Number.POSITIVE_INFINITY,
    reason: '',
    nodeName: 'node-1.example',
    ...part,
  });

  it('startedQuarantines - only what was done, has not ended and was not undone', () => {
    expect(startedQuarantines(fold({ ...quarantine, expiresAt: later }), pod, NOW_MS)).toHaveLength(1);
    expect(startedQuarantines(fold({ ...quarantine, expiresAt: NOW_MS * 1000 - 1 }), pod, NOW_MS)).toEqual([]);
    expect(startedQuarantines(fold({ ...quarantine, expiresAt: null }), pod, NOW_MS)).toHaveLength(1);
    const notOurs = { ...quarantine, expiresAt: null, reasonCode: ALREADY_QUARANTINED };
    expect(startedQuarantines(fold(notOurs), pod, NOW_MS)).toEqual([]);
    expect(startedQuarantines(fold({ ...quarantine, phase: 'started', expiresAt: later }), pod, NOW_MS)).toHaveLength(
      1,
    );
    expect(startedQuarantines(fold({ ...quarantine, phase: 'dryrun', expiresAt: later }), pod, NOW_MS)).toEqual([]);
    expect(
      startedQuarantines(fold({ ...quarantine, expiresAt: later }, { ...quarantine, phase: 'undone' }), pod, NOW_MS),
    ).toEqual([]);
    expect(startedQuarantines(fold({ ...quarantine, expiresAt: later }), parsePod('other', 'pod'), NOW_MS)).toEqual([]);
  });

  it('target - the entry, or a response whose entry is gone already', () => {
    expect(targetOf([entry()], [], pod)).toMatchObject({ name: 'default/attacker-0', nodeNames: ['node-1.example'] });
    const [begun] = startedQuarantines(fold({ ...quarantine, expiresAt: later }), pod, NOW_MS);
    const response = begun?.response;
    expect(targetOf([], [response as Response], pod).podUid).toBe(sampleResponse().podUid);
    expect(targetOf([entry()], [response as Response], pod).podUid).toBe(sampleResponse().podUid);
  });

  it('target - none, or more than one', () => {
    expect(() => targetOf([], [], pod)).toThrow(expect.objectContaining({ code: 'CLI_NOT_FOUND' }));
    const two = [entry(), entry({ podUid: 'another', podNamespace: 'other' })];
    expect(() => targetOf(two, [], parsePod('attacker-0', 'pod'))).toThrow(
      expect.objectContaining({ code: 'CLI_USAGE', remedy: expect.stringContaining('other/attacker-0') }),
    );
    expect(targetOf(two, [], pod).podUid).toBe(sampleResponse().podUid);
  });
});
