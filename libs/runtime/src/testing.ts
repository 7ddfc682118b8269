/** Builders for tests: a policy by its rules, a set of one policy, operations. */

import { type RuntimePolicyInput, runtimePolicy } from '@bailiff/policy';
import type { OperationName } from '@bailiff/vocabulary';
import type { Operation, TaskFacts } from './model/model.ts';
import { mergeSelected } from './policies/merge.ts';
import { type NamedPolicy, type PodFacts, selects } from './policies/select.ts';
import { socketValue } from './sets/names.ts';
import type { PolicySet } from './sets/set.ts';

/** Mode is enforce unless the input has another. */
export function policyOf(input: RuntimePolicyInput, name = 'test', namespace: string | null = null): NamedPolicy {
  const key = namespace === null ? `runtime.cluster._.${name}` : `runtime.namespace.${namespace}.${name}`;
  return { key, name, namespace, policy: runtimePolicy.parse({ mode: 'enforce', ...input }) };
}

export function setOf(...inputs: RuntimePolicyInput[]): PolicySet {
  return mergeSelected(inputs.map((input, index) => policyOf(input, `test-${index}`)));
}

export const task = (...chain: string[]): TaskFacts => ({
  chain: chain.length === 0 ? ['/app/server'] : chain,
  cut: false,
});

export const onPath = (op: OperationName, path: string): Operation => ({ kind: 'path', op, path });
export const onValue = (op: OperationName, value: number | bigint): Operation => ({
  kind: 'value',
  op,
  value: BigInt(value),
});
export const socket = (family: number, type: number, protocol: number): Operation =>
  onValue('socket', socketValue(family, type, protocol));
export const onAddress = (op: OperationName, address: string, port: number, protocol = 6): Operation => ({
  kind: 'address',
  op,
  address,
  port,
  protocol,
});

/**
 * Policy set of a container. `container` is null for containers whose name is not known yet. Null
 * if no policy selects it.
 * @throws PolicyError POLICY_LIMIT
 */
export function mergePolicies(
  policies: readonly NamedPolicy[],
  pod: PodFacts,
  container: string | null,
): PolicySet | null {
  const holding = policies.filter((named) => selects(named, pod, container));
  return holding.length === 0 ? null : mergeSelected(holding);
}
