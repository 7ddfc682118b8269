/**
 * What a pod runs, as a digest that a pod and the template of its controller have in common. Pure.
 *
 * A tenant who may create and patch pods chooses everything else that could tell a controller's pod from a forged one: name, labels, owner
 * references, managed fields. It cannot write the template. So a pod counts as its controller's when it runs what the template names: the same
 * containers with the same image, command, environment, mounts, hooks and probes, the same resolution of names, the same grace period. What admission
 * adds for every pod is left out: the service account's token, resources, pull policies, security contexts. A container that a webhook injects is a
 * difference.
 *
 * The writer of a pod can change its images. The kubelet then stops the former container, which may ignore SIGTERM for the grace period: a pod whose
 * program was changed is never its controller's again (ClusterState), and the digest has the grace period for a process that starts in between.
 * Bounded: a spec of more than MAX_PARTS values has no digest.
 */
import { createHash } from 'node:crypto';

type Json = Readonly<Record<string, unknown>>;

/** Fields of a container that decide which code runs on which input. */
const CONTAINER_FIELDS = [
  ...['name', 'image', 'command', 'args', 'workingDir', 'env', 'envFrom', 'volumeMounts', 'volumeDevices'],
  ...['lifecycle', 'livenessProbe', 'readinessProbe', 'startupProbe', 'restartPolicy'],
];
/** Fields of a pod's spec, likewise, with the API's defaults. */
const POD_FIELDS = {
  ...{ dnsPolicy: 'ClusterFirst', dnsConfig: null, hostAliases: null },
  terminationGracePeriodSeconds: 30,
};
/** Values of a spec that are compared, nested ones included. Ten containers with 100 variables each have some 3,500. */
export const MAX_PARTS = 5_000;
/** Admission mounts the token of the service account here. */
const TOKEN_PATH = '/var/run/secrets/kubernetes.io/serviceaccount';
/** Certificates that are mounted with the token. A controller puts back what others write into these ConfigMaps. */
const TOKEN_CONFIG_MAPS: readonly unknown[] = ['kube-root-ca.crt', 'openshift-service-ca.crt'];
/** The controller of an indexed Job adds this variable. */
const INDEX_VARIABLE = 'JOB_COMPLETION_INDEX';

/**
 * Digest of what a pod's spec runs; null when it has too many parts.
 * @param podName of a pod; null for a template. A StatefulSet gives each pod claims of its own, named after the pod.
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

/** JSON with the fields of each object in one order; null above MAX_PARTS. */
function canonicalText(program: object): string | null {
  let parts = 0;
  const text = JSON.stringify(program, (_key, value: unknown) => {
    parts += 1;
    // The rest is left out: the text is not used.
    if (parts > MAX_PARTS) return undefined;
    if (typeof value !== 'object' || value === null || Array.isArray(value)) return value;
    return Object.fromEntries(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1)));
  });
  return parts > MAX_PARTS ? null : text;
}

/** @param tokens volumes that hold a token only */
function containersIn(value: unknown, tokens: ReadonlySet<unknown>): Json[] {
  // More are never confirmed: MAX_PARTS.
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

/** True for a volume with nothing but tokens, the pod's own fields, and certificates that controllers write. */
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
