import type { InstanceStatus } from '@bailiff/schemas';
import { expect, it } from 'vitest';
import { versionProblems } from './versions.ts';

const NOW = Date.parse('2026-11-24T12:00:00Z');
const service = (version: string, agoMs = 5_000) =>
  ({ service: 'correlator', version, updatedAt: new Date(NOW - agoMs).toISOString() }) as unknown as InstanceStatus;
const old = (collectorVersion: string, instances: readonly InstanceStatus[]) =>
  versionProblems('a', { collectorVersion }, { instances, nowMs: NOW });

it('a collector of an earlier release than the services - is not enforced, and nothing else is', () => {
  const [problem, ...more] = old('0.9.7', [service('0.9.9'), service('0.10.0')]);
  expect(more).toEqual([]);
  expect(problem).toMatchObject({ node: 'a', exitCode: 10 });
  expect(problem?.text).toMatch(/is of version "0\.9\.7", the services of 0\.10\.0:/);
  expect(old('0.10.4', [service('1.0.0')])).toHaveLength(1);
});

it.each<[string, ReturnType<typeof old>]>([
  ['another patch', old('0.10.0', [service('0.10.3')])],
  ['a newer collector', old('0.11.0', [service('0.10.3')])],
  ['a claim of a node', old('0.10.0', [])],
  ['services that have stopped', old('0.9.0', [service('0.10.0', 3_600_000)])],
  ['a version without numbers', old('main', [service('0.10.0')])],
])('control: %s - is no problem here', (_, problems) => {
  expect(problems).toEqual([]);
});
