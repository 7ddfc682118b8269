/**
 * What an administrator does once on a new bus, done by the lab: streams and buckets, and with --enforce a response policy
 * that is not a dry run.
 */
import { type Bus, ensureTopology, writeConfig } from '@bailiff/bus';
import type { ConfigKey } from '@bailiff/policy';

/** The name of the built-in policy, so that this one takes its place. */
export const ENFORCING_POLICY: ConfigKey = { kind: 'response', scope: 'cluster', namespace: null, name: 'answer-high' };

/** High and critical verdicts: an event on the pod, a label that expires, and the pod deleted. */
export const enforcingPolicy = () => ({
  dryRun: false,
  match: { levels: ['high', 'critical'] },
  steps: [{ action: 'observe' }, { action: 'label', expires: '24h' }, { action: 'delete' }],
});

export async function provisionBus(bus: Bus, options: { enforce: boolean }): Promise<void> {
  await ensureTopology(bus);
  if (!options.enforce) return;
  await writeConfig(bus, ENFORCING_POLICY, enforcingPolicy(), {
    by: 'lab',
    why: 'lab up --enforce: verdicts are answered for real',
  });
}
