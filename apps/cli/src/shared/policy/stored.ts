/** Stored runtime policies, parsed or with the reason why readers refuse them. */
import { openBucket, type StoredConfig, storedConfig } from '@bailiff/bus';
import type { Reader } from '@bailiff/insight';
import { ConfigError, configRefusal, parseConfigKey, parseConfigValue, type RuntimePolicy } from '@bailiff/policy';
import type { NamedPolicy } from '@bailiff/runtime';
import type { Cell } from '../text/table.ts';
import { RUNTIME_KEYS } from './names.ts';

export interface StoredPolicy {
  key: string;
  name: string;
  namespace: string | null;
  /** Null if readers refuse it. */
  policy: RuntimePolicy | null;
  refused: string;
  stored: StoredConfig;
}

/** Parses one entry. Pure. */
export function storedPolicy(stored: StoredConfig): StoredPolicy | null {
  try {
    const key = parseConfigKey(stored.key);
    const refused = configRefusal(stored.key, stored.json);
    const policy = refused === '' ? (parseConfigValue(key, stored.json) as RuntimePolicy) : null;
    return { key: stored.key, name: key.name, namespace: key.namespace, policy, refused, stored };
  } catch (error) {
    // Not a valid key.
    if (error instanceof ConfigError) return null;
    throw error;
  }
}

/** All policies in merge order. @throws BusError */
export async function readPolicies({ bus }: Pick<Reader, 'bus'>): Promise<StoredPolicy[]> {
  const entries = await openBucket(bus, 'bailiff_config').entries(RUNTIME_KEYS);
  const all = entries.map((entry) => storedPolicy(storedConfig(entry)));
  return all.filter((one) => one !== null).sort((a, b) => (a.key < b.key ? -1 : 1));
}

/** Accepted policies in the form that libs/runtime expects. Pure. */
export function namedPolicies(stored: readonly StoredPolicy[]): NamedPolicy[] {
  return stored.flatMap(({ key, name, namespace, policy }) => (policy ? [{ key, name, namespace, policy }] : []));
}

/** The pods that a policy selects: `shop,web app=cart not kube-system container app`. Pure. */
export function selectsText(policy: RuntimePolicy, namespace: string | null): string {
  const { namespaces, excludeNamespaces, podLabels, containers } = policy.selector;
  const labels = Object.entries(podLabels?.matchLabels ?? {}).map(([key, value]) => `${key}=${value}`);
  const expressions = (podLabels?.matchExpressions ?? []).map(({ key, operator, values = [] }) => {
    if (operator === 'Exists') return key;
    if (operator === 'DoesNotExist') return `!${key}`;
    return `${key} ${operator === 'In' ? 'in' : 'not in'} (${values.join(',')})`;
  });
  const within = namespace === null ? namespaces : [namespace];
  const parts = [
    within ? within.join(',') : 'all',
    ...labels,
    ...expressions,
    ...(excludeNamespaces ? [`not ${excludeNamespaces.join(',')}`] : []),
    ...(containers ? [`container ${containers.join(',')}`] : []),
  ];
  return parts.join(' ');
}

/** `enforce`, `audit`, or `off`. */
export function modeCell({ enabled, mode }: RuntimePolicy): Cell {
  if (!enabled) return { text: 'off', style: 'dim' };
  return { text: mode, style: mode === 'enforce' ? 'green' : 'yellow' };
}
