/** Of each policy, whether this node has it in force, and if not, why. Pure. */
import type { RuntimePolicyStatus } from '@bailiff/schemas';
import type { Refusal, Subject } from './desired.ts';
import type { Policies } from './policies.ts';

export function policyStatuses(
  policies: Policies,
  subjects: readonly Subject[],
  refusals: readonly Refusal[],
): RuntimePolicyStatus[] {
  const counts = new Map<string, number>();
  for (const subject of subjects) for (const key of subject.policies) counts.set(key, (counts.get(key) ?? 0) + 1);
  const reasons = new Map<string, string>();
  for (const { policies: keys, reason } of refusals)
    for (const key of keys) if (!reasons.has(key)) reasons.set(key, reason);
  const statuses: RuntimePolicyStatus[] = [];
  for (const { key, policy } of policies.all) {
    if (policies.refused.has(key)) continue;
    const reason = reasons.get(key) ?? '';
    const state = reason === '' ? 'in-force' : 'refused';
    statuses.push({ key, revision: policy.revision, state, reason, subjects: counts.get(key) ?? 0 });
  }
  for (const [key, { revision, reason }] of policies.refused)
    statuses.push({ key, revision: revision ?? 0, state: 'refused', reason, subjects: counts.get(key) ?? 0 });
  return statuses;
}
