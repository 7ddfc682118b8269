/**
 * The custom resources of group `bailiff.dev`: which key of the configuration each one keeps, and with what value. Pure.
 *
 * All four kinds are cluster-scoped: who may write them decides for the whole cluster what is dropped, denied and answered. A spoof
 * policy says by `target` how narrow it is; a runtime policy selects namespaces in its own words, so its key is the cluster's.
 */
import { type ConfigKey, formatConfigKey } from './keys.ts';

export const RESOURCE_GROUP = 'bailiff.dev';
export const RESOURCE_VERSION = 'v1alpha1';
export const RESOURCE_KINDS = ['SpoofPolicy', 'RuntimePolicy', 'CorrelationRule', 'ResponsePolicy'] as const;
export type ResourceKind = (typeof RESOURCE_KINDS)[number];
export const RESOURCE_PLURALS: Readonly<Record<ResourceKind, string>> = {
  SpoofPolicy: 'spoofpolicies',
  RuntimePolicy: 'runtimepolicies',
  CorrelationRule: 'correlationrules',
  ResponsePolicy: 'responsepolicies',
};

const KEY_KINDS = { RuntimePolicy: 'runtime', CorrelationRule: 'correlation', ResponsePolicy: 'response' } as const;

interface Target {
  namespace?: unknown;
  workload?: unknown;
}

function spoofKey({ namespace, workload }: Target): ConfigKey {
  const text = (name: unknown) => (typeof name === 'string' ? name : '');
  if (namespace === undefined) return { kind: 'spoof', scope: 'cluster', namespace: null, name: 'default' };
  if (workload === undefined) return { kind: 'spoof', scope: 'namespace', namespace: text(namespace), name: 'default' };
  return { kind: 'spoof', scope: 'workload', namespace: text(namespace), name: text(workload) };
}

/** The key that a resource keeps. @throws ConfigError CONFIG_KEY when its target or its name is no Kubernetes name */
export function keyOfResource(kind: ResourceKind, name: string, spec: Readonly<Record<string, unknown>>): ConfigKey {
  const key: ConfigKey =
    kind === 'SpoofPolicy'
      ? spoofKey((spec['target'] ?? {}) as Target)
      : { kind: KEY_KINDS[kind], scope: 'cluster', namespace: null, name };
  formatConfigKey(key);
  return key;
}

/** What stands under the key: the spec, without what only says where. */
export function valueOfResource(
  kind: ResourceKind,
  spec: Readonly<Record<string, unknown>>,
): Readonly<Record<string, unknown>> {
  if (kind !== 'SpoofPolicy') return spec;
  const { target: _where, ...value } = spec;
  return value;
}

/** The resource that keeps a key, and what of it was written last. */
export interface ResourceOwner {
  kind: string;
  name: string;
  uid: string;
  generation: number;
  resourceVersion: string;
}

/** `bailiff.dev/RuntimePolicy/no-shell/<uid>` */
export function formatOwner({ kind, name, uid }: Pick<ResourceOwner, 'kind' | 'name' | 'uid'>): string {
  return `${RESOURCE_GROUP}/${kind}/${name}/${uid}`;
}

/** Reads it; null for anything else, which is the command line's. */
export function parseOwner(text: string): Pick<ResourceOwner, 'kind' | 'name' | 'uid'> | null {
  const [group, kind, name, uid, ...rest] = text.split('/');
  if (group !== RESOURCE_GROUP || !kind || !name || !uid || rest.length > 0) return null;
  return { kind, name, uid };
}
