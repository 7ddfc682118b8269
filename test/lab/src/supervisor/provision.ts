/**
 * Provisions a new bus, which an administrator does once in an installation: streams and buckets,
 * and with --enforce a response policy without dry run.
 */
import { type Bus, ensureTopology, writeConfig } from '@bailiff/bus';
import type { ConfigKey } from '@bailiff/policy';

/** Same name as the built-in policy, which it replaces. */
export const ENFORCING_POLICY: ConfigKey = { kind: 'response', scope: 'cluster', namespace: null, name: 'answer-high' };

/** Actions of the policy: an event on the pod, a label that expires, and the pod deleted. */
export const ENFORCED_ACTIONS = ['observe', 'label', 'delete'] as const;

/** For high and critical verdicts. */
export const enforcingPolicy = () => ({
  dryRun: false,
  match: { levels: ['high', 'critical'] },
  steps: ENFORCED_ACTIONS.map((action) => (action === 'label' ? { action, expires: '24h' } : { action })),
});

export async function provisionBus(bus: Bus, options: { enforce: boolean }): Promise<void> {
  await ensureTopology(bus);
  if (!options.enforce) return;
  await writeConfig(bus, ENFORCING_POLICY, enforcingPolicy(), {
    by: 'lab',
    why: 'lab up --enforce: responses are executed',
  });
}
