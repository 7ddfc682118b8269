import { expect, it } from 'vitest';
import { addChecks } from './readings.ts';

type Check = () => true | string;

/** The check `pods` of an ipam-sync that received the last data of the API server so long ago. */
function podsCheck(silentMs: number): true | string {
  const checks = new Map<string, Check>();
  const ctx = {
    health: { ready: (name: string, check: Check) => void checks.set(name, check) },
    config: { inactivityMs: 90_000, leaderElection: false },
  };
  const informer = { synced: true, silentMs, refusal: '' };
  const sync = { pods: informer, nodes: informer, services: { services: informer, slices: informer } };
  addChecks(ctx as never, sync as never);
  return checks.get('pods')?.() ?? 'no check';
}

it('an API server that sends no data while the lease is renewed - the lists are stale after two minutes', () => {
  expect(podsCheck(119_000)).toBe(true);
  expect(podsCheck(121_000)).toMatch(/^silent for 121000 ms/);
});
