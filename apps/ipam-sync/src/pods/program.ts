/**
 * Digest of the program of a pod: equal for a pod and the template of its controller. Pure.
 *
 * Anyone who may create and patch pods chooses name, labels, owner references and managed fields,
 * but not the template. So the digest covers what runs: image, command, environment, mounts, hooks
 * and probes of the containers, name resolution, and the grace period. It leaves out what admission
 * adds to every pod: service account token, resources, pull policies, security contexts. An
 * injected container makes a difference.
 *
 * A pod whose program changed is never confirmed again (ClusterState): its old container may ignore
 * SIGTERM until the grace period ends. Bounded: a spec with more than MAX_PARTS values has no
 * digest.
 */
import { createHash } from 'node:crypto';

type Json = Readonly<Record<string, unknown>>;

/** Container fields that decide which code runs with which input. */
const CONTAINER_FIELDS = [
  ...['name', 'image', 'command', 'args', 'workingDir', 'env', 'envFrom', 'volumeMounts', 'volumeDevices'],
  ...['lifecycle', 'livenessProbe', 'readinessProbe', 'startupProbe', 'restartPolicy'],
];
/** The same for fields of a pod's spec, with the API's defaults. */
const POD_FIELDS = {
  dnsPolicy: 'ClusterFirst',
  dnsConfig: null,
  hostAliases: null,
  terminationGracePeriodSeconds: 30,
};
/**
 * Compared values of a spec, nested ones included. Ten containers with 100 variables each have
 * about 3,500.
 */
export const MAX_PARTS = 5_000;
/** Mount path of the service account token that admission adds. */
const TOKEN_PATH = '/var/run/secrets/kubernetes.io/serviceaccount';
/**
 * ConfigMaps with certificates mounted beside the token. A controller restores them after foreign
 * writes.
 */
const TOKEN_CONFIG_MAPS: readonly unknown[] = ['kube-root-ca.crt', 'openshift-service-ca.crt'];
/** The controller of an indexed Job adds this variable. */
const INDEX_VARIABLE = 'JOB_COMPLETION_INDEX';

/**
 * Digest of the program in a spec; null above MAX_PARTS. @param podName null for a template. Claims
 * of a StatefulSet's pod are named after the pod.
 */
export function programOf(spec: Json, podName: string | null): string | null {
  const pod = Object.fromEntries(
    Object.entries(POD_FIELDS).map(([field, byDefault]) => [field, spec[field] ?? byDefault]),
  );
  const tokens = new Set(
    listOf(spec['volumes'])
      .filter(isToken)
      .map(({ name }) => name),
  );
  const containers = {
    init: containersIn(spec['initContainers'], tokens),
    main: containersIn(spec['containers'], tokens),
  };
  const mounted = new Set(
    [...containers.init, ...containers.main].flatMap((container) =>
      [...listOf(container['volumeMounts']), ...listOf(container['volumeDevices'])].map(({ name }) => name),
    ),
  );
  const volumes = listOf(spec['volumes']).filter(
    (volume) => mounted.has(volume['name']) && !isClaimOf(volume, podName),
  );
  const text = canonicalText({ ...pod, ...containers, volumes });
  return text === null ? null : createHash('sha256').update(text).digest('base64').slice(0, 22);
}

/** JSON with sorted fields; null above MAX_PARTS. */
function canonicalText(program: object): string | null {
  let parts = 0;
  const text = JSON.stringify(program, (_key, value: unknown) => {
    parts += 1;
    // The text is discarded, so the rest is skipped.
    if (parts > MAX_PARTS) return undefined;
    if (typeof value !== 'object' || value === null || Array.isArray(value)) return value;
    return Object.fromEntries(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1)));
  });
  return parts > MAX_PARTS ? null : text;
}

/** @param tokens volumes that contain only a token */
function containersIn(value: unknown, tokens: ReadonlySet<unknown>): Json[] {
  // A longer list exceeds MAX_PARTS and is never confirmed.
  return listOf(value)
    .slice(0, MAX_PARTS)
    .map((container) => {
      const kept = Object.fromEntries(CONTAINER_FIELDS.map((field) => [field, container[field]]));
      const mounts = listOf(container['volumeMounts']).filter(
        ({ mountPath, name }) => mountPath !== TOKEN_PATH || !tokens.has(name),
      );
      const env = listOf(container['env']).filter(
        (one) => one['name'] !== INDEX_VARIABLE || one['value'] !== undefined,
      );
      return { ...kept, volumeMounts: mounts, env };
    });
}

/**
 * True for a volume of tokens, the pod's own fields, and certificates that controllers maintain.
 */
function isToken({ projected }: Json): boolean {
  const sources = (projected as Json | undefined)?.['sources'];
  const isOne = ({ serviceAccountToken, downwardAPI, configMap }: Json) =>
    serviceAccountToken !== undefined ||
    downwardAPI !== undefined ||
    TOKEN_CONFIG_MAPS.includes((configMap as Json | undefined)?.['name']);
  return Array.isArray(sources) && sources.every(isOne);
}

const isClaimOf = (volume: Json, podName: string | null): boolean =>
  podName !== null &&
  (volume['persistentVolumeClaim'] as Json | undefined)?.['claimName'] === `${String(volume['name'])}-${podName}`;

const listOf = (value: unknown): Json[] => (Array.isArray(value) ? (value as Json[]) : []);
