import type { NodeStatus } from '@bailiff/schemas';
import { describe, expect, it } from 'vitest';
import { conditional, notInForce } from './in-force.ts';

const NOW_MS = Date.parse('2026-11-24T12:00:00Z');
const status = (state: string, reason = '', ageMs = 0) =>
  ({
    collectorVersion: '0.1.0',
    updatedAt: new Date(NOW_MS - ageMs).toISOString(),
    configRefused: [],
    runtime: { state, reason, remedy: '', policies: [] },
  }) as unknown as NodeStatus;

describe('policies where a pod runs', () => {
  it.each<[string, NodeStatus | undefined, string | null]>([
    ['a node that enforces', status('available'), null],
    ['one that is silent: what was in force still is', status('available', '', 600_000), null],
    ['one without LSM', status('unavailable', 'EPERM'), 'not in force on node-1: LSM unavailable: EPERM'],
    ['one where it is not wanted', status('off', 'runtime is off'), 'not in force on node-1: runtime is off'],
    ['one without a collector', undefined, 'not in force on node-1: no collector has ever reported'],
  ])('%s', (_, node, words) => {
    expect(notInForce('node-1', node, NOW_MS)).toBe(words);
  });

  it('what nothing enforces - would be; what passes does', () => {
    expect(conditional('connect 1.1.1.1 is blocked: rule a/b denies it')).toBe(
      'connect 1.1.1.1 would be blocked: rule a/b denies it',
    );
    expect(conditional('x is blocked and its process killed: y')).toBe('x would be blocked and its process killed: y');
    expect(conditional('x passes: y is blocked')).toBe('x passes: y is blocked');
  });
});
