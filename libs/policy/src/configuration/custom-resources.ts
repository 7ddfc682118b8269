/**
 * Custom resources of the group `bailiff.dev`: the configuration key and the value that each one
 * sets. Pure.
 *
 * All four kinds are cluster-scoped, because their writer decides for the whole cluster what is
 * dropped, denied and responded to. A spoof policy narrows its scope by `target`. A runtime policy
 * selects namespaces itself, so its key is of cluster scope.
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

/**
 * Key that a resource sets. @throws ConfigError CONFIG_KEY if its target or its name is not a
 * Kubernetes name
 */
export function keyOfResource(kind: ResourceKind, name: string, spec: Readonly<Record<string, unknown>>): ConfigKey {
  const key: ConfigKey =
    kind === 'SpoofPolicy'
      ? spoofKey((spec['target'] ?? {}) as Target)
      : { kind: KEY_KINDS[kind], scope: 'cluster', namespace: null, name };
  formatConfigKey(key);
  return key;
}

/** The resource that sets a key. Null: none can (a namespace's own policy), or it has any name (SpoofPolicy). */
export function resourceOfKey({ kind, scope, name }: ConfigKey): { kind: ResourceKind; name: string } | null {
  const found = Object.entries(KEY_KINDS).find(([, own]) => own === kind);
  return found && scope === 'cluster' ? { kind: found[0] as ResourceKind, name } : null;
}

/** Collection of a kind. */
export const resourcePath = (kind: ResourceKind): string =>
  `/apis/${RESOURCE_GROUP}/${RESOURCE_VERSION}/${RESOURCE_PLURALS[kind]}`;

/** Who changed the spec of a resource, and why. */
export interface ResourceChange {
  by: string;
  why: string;
}

const BY = `${RESOURCE_GROUP}/changed-by`;
const WHY = `${RESOURCE_GROUP}/change-reason`;
const CHANGED_GENERATION = `${RESOURCE_GROUP}/changed-generation`;
const CHANGED_UID = `${RESOURCE_GROUP}/changed-uid`;

/** One state of one resource. */
interface Generation {
  /** Empty: not known yet. */
  uid: string;
  generation: number;
}

/** Annotations that record a change. @param made what the change makes */
export const changeAnnotations = ({ by, why }: ResourceChange, made: Generation): Record<string, string> => ({
  [BY]: by,
  [WHY]: why,
  [CHANGED_GENERATION]: String(made.generation),
  ...(made.uid === '' ? {} : { [CHANGED_UID]: made.uid }),
});

/**
 * The recorded change of a generation. Null: it was changed without a record, also if an earlier
 * generation has one, or if the annotations were copied from another resource. The record is a claim of the client that may update the resource.
 */
export function resourceChange(
  annotations: Readonly<Record<string, string>> | undefined,
  { uid, generation }: Generation,
): ResourceChange | null {
  const { [BY]: by = '', [WHY]: why = '', [CHANGED_GENERATION]: of = '', [CHANGED_UID]: own = uid } = annotations ?? {};
  return by !== '' && of === String(generation) && own === uid ? { by, why } : null;
}

/** Value under the key: the spec without the fields that select the key. */
export function valueOfResource(
  kind: ResourceKind,
  spec: Readonly<Record<string, unknown>>,
): Readonly<Record<string, unknown>> {
  if (kind !== 'SpoofPolicy') return spec;
  const { target: _where, ...value } = spec;
  return value;
}

/** The resource that sets a key, and what it wrote last. */
export interface ResourceOwner {
  kind: string;
  name: string;
  uid: string;
  generation: number;
  resourceVersion: string;
}

/** Formats an owner: `bailiff.dev/RuntimePolicy/no-shell/<uid>`. */
export function formatOwner({ kind, name, uid }: Pick<ResourceOwner, 'kind' | 'name' | 'uid'>): string {
  return `${RESOURCE_GROUP}/${kind}/${name}/${uid}`;
}

/** Parses an owner. Null for any other text: the command line wrote the key. */
export function parseOwner(text: string): Pick<ResourceOwner, 'kind' | 'name' | 'uid'> | null {
  const [group, kind, name, uid, ...rest] = text.split('/');
  if (group !== RESOURCE_GROUP || !kind || !name || !uid || rest.length > 0) return null;
  return { kind, name, uid };
}
