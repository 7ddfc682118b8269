/**
 * Loads policy files: YAML with one policy per document. Errors name file, line and field.
 *
 * A document is `{ kind: RuntimePolicy, metadata: { name, namespace? }, spec }`, the shape of a
 * Kubernetes object, so that kubectl and the command accept the same file. Invariants: pure. If any
 * document of a file is invalid, the whole file is refused.
 */
import {
  type ConfigError,
  type ConfigKey,
  formatConfigKey,
  type RuntimePolicy,
  runtimePolicy,
  runtimePolicyScoped,
} from '@bailiff/policy';
import type * as z from 'zod';
import type { NamedPolicy } from './select.ts';
import { type Place, placesIn, plainValue, refusePlace, zodIssues } from './yaml-documents.ts';

const FIELDS = ['apiVersion', 'kind', 'metadata', 'spec'];
export const POLICY_KIND = 'RuntimePolicy';

function keyOf(place: Place, value: Record<string, unknown>): { key: ConfigKey; text: string } {
  const metadata = (value['metadata'] ?? {}) as Record<string, unknown>;
  const { name, namespace = null } = metadata;
  if (typeof name !== 'string') refusePlace(place, [{ path: ['metadata', 'name'], message: 'is missing' }]);
  if (namespace !== null && typeof namespace !== 'string')
    refusePlace(place, [{ path: ['metadata', 'namespace'], message: 'must be the name of a namespace' }]);
  const key: ConfigKey = { kind: 'runtime', scope: namespace === null ? 'cluster' : 'namespace', namespace, name };
  try {
    return { key, text: formatConfigKey(key) };
  } catch (error) {
    return refusePlace(place, [{ path: ['metadata'], message: (error as ConfigError).message }]);
  }
}

function policyIn(place: Place): NamedPolicy {
  const value = plainValue(place);
  if (value === null || typeof value !== 'object' || Array.isArray(value))
    refusePlace(place, [{ path: [], message: `is no policy: expected kind, metadata and spec` }]);
  const fields = value as Record<string, unknown>;
  if (fields['kind'] !== POLICY_KIND) refusePlace(place, [{ path: ['kind'], message: `must be ${POLICY_KIND}` }]);
  const unknown = Object.keys(fields).filter((field) => !FIELDS.includes(field));
  if (unknown.length > 0)
    refusePlace(
      place,
      unknown.map((field) => ({ path: [field], message: 'is unknown' })),
    );
  const { key, text } = keyOf(place, fields);
  const schema: z.ZodType<RuntimePolicy> = key.namespace === null ? runtimePolicy : runtimePolicyScoped;
  const result = schema.safeParse(fields['spec'] ?? {});
  if (!result.success) refusePlace(place, zodIssues(result.error, ['spec']));
  return { key: text, name: key.name, namespace: key.namespace, policy: result.data };
}

/**
 * Loads the policies of a file. `file` names it in messages: `file:line: field: problem`, one line
 * per problem.
 * @throws PolicyError POLICY_FILE
 */
export function loadPolicyFile(text: string, file = 'policy'): NamedPolicy[] {
  const policies = new Map<string, NamedPolicy>();
  for (const place of placesIn(text, file)) {
    const named = policyIn(place);
    if (policies.has(named.key))
      refusePlace(place, [{ path: ['metadata', 'name'], message: `${named.key} is defined twice` }]);
    policies.set(named.key, named);
  }
  return [...policies.values()];
}
