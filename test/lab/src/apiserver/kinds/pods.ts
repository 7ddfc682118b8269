/**
 * A real API server's handling of pods: defaults at creation, immutable spec, grace period,
 * readiness. Pure.
 */
import { randomUUID } from 'node:crypto';
import type { StatusCause } from '../errors.ts';
import {
  at,
  isObject,
  type JsonObject,
  type KubeObject,
  listAt,
  type PodCondition,
  sameJson,
  textAt,
  thaw,
} from '../types.ts';
import { forbiddenField, required } from './names.ts';

/** Kubernetes' default grace period. */
export const defaultGraceSeconds = 30;

/** Sets a new pod's defaults in place, and the status of a pod before its kubelet acts. */
export function defaultPod(pod: KubeObject): void {
  const spec: JsonObject = isObject(pod.spec) ? pod.spec : {};
  pod.spec = {
    restartPolicy: 'Always',
    terminationGracePeriodSeconds: defaultGraceSeconds,
    dnsPolicy: 'ClusterFirst',
    securityContext: {},
    schedulerName: 'default-scheduler',
    enableServiceLinks: true,
    priority: 0,
    preemptionPolicy: 'PreemptLowerPriority',
    ...spec,
  };
  for (const name of ['containers', 'initContainers']) {
    if (Array.isArray(spec[name])) pod.spec[name] = listAt(spec, name).map(defaultContainer);
  }
  if (spec['tolerations'] === undefined) pod.spec['tolerations'] = ['not-ready', 'unreachable'].map(tolerate);
  pod.status = { phase: 'Pending', qosClass: qosClass(pod) };
}

function tolerate(condition: string): JsonObject {
  return { key: `node.kubernetes.io/${condition}`, operator: 'Exists', effect: 'NoExecute', tolerationSeconds: 300 };
}

function defaultContainer(container: JsonObject): JsonObject {
  const image = textAt(container, 'image');
  const latest = image.endsWith(':latest') || !/[:@][^/]*$/.test(image);
  return {
    resources: {},
    terminationMessagePath: '/dev/termination-log',
    terminationMessagePolicy: 'File',
    imagePullPolicy: latest ? 'Always' : 'IfNotPresent',
    ...container,
  };
}

/** Guaranteed, Burstable or BestEffort, by the containers' CPU and memory. */
export function qosClass(pod: KubeObject): string {
  const resources = listAt(pod, 'spec', 'containers').map((container) => ({
    requests: at(container, 'resources', 'requests'),
    limits: at(container, 'resources', 'limits'),
  }));
  if (resources.every(({ requests, limits }) => requests === undefined && limits === undefined)) return 'BestEffort';
  const guaranteed = resources.every(({ requests, limits }) =>
    ['cpu', 'memory'].every((name) => {
      const limit = at(limits, name);
      return limit !== undefined && sameJson(at(requests, name) ?? limit, limit);
    }),
  );
  return guaranteed ? 'Guaranteed' : 'Burstable';
}

/** Errors of a new pod. */
export function podCauses(pod: KubeObject): StatusCause[] {
  const containers = listAt(pod, 'spec', 'containers');
  if (containers.length === 0) return [required('spec.containers')];
  return containers.flatMap((container, index) => {
    const field = `spec.containers[${index}]`;
    return [
      ...(textAt(container, 'name') === '' ? [required(`${field}.name`)] : []),
      ...(textAt(container, 'image') === '' ? [required(`${field}.image`)] : []),
    ];
  });
}

/** Errors of a change of a pod's spec: only images, deadline and further tolerations may change. */
export function podUpdateCauses(next: KubeObject, current: KubeObject): StatusCause[] {
  const kept = listAt(current, 'spec', 'tolerations').every((old) =>
    listAt(next, 'spec', 'tolerations').some((toleration) => sameJson(toleration, old)),
  );
  if (kept && sameJson(immutableSpec(next), immutableSpec(current))) return [];
  return [
    forbiddenField(
      'spec',
      'pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations)',
    ),
  ];
}

function immutableSpec(pod: KubeObject): JsonObject {
  const spec: JsonObject = thaw(pod.spec ?? {});
  delete spec['activeDeadlineSeconds'];
  delete spec['tolerations'];
  for (const name of ['containers', 'initContainers']) {
    for (const container of listAt(spec, name)) delete container['image'];
  }
  return spec;
}

/** Grace period in seconds. 0 removes at once: no node would confirm, or the pod has ended. */
export function podGraceSeconds(pod: KubeObject, requestedSeconds: number | undefined): number {
  const wanted = requestedSeconds ?? at(pod, 'spec', 'terminationGracePeriodSeconds');
  let seconds = typeof wanted === 'number' ? wanted : defaultGraceSeconds;
  if (seconds < 0) seconds = 1;
  const phase = textAt(pod, 'status', 'phase');
  if (textAt(pod, 'spec', 'nodeName') === '' || phase === 'Succeeded' || phase === 'Failed') return 0;
  return seconds;
}

/** True if the pod's Ready condition is True. */
export function isPodReady(pod: KubeObject): boolean {
  return listAt<PodCondition>(pod, 'status', 'conditions').some(
    (condition) => condition.type === 'Ready' && condition.status === 'True',
  );
}

/** Five characters of the alphabet for generated names (no vowels, no similar letters). */
export function nameSuffix(): string {
  const alphabet = 'bcdfghjklmnpqrstvwxz2456789';
  const random = randomUUID().replaceAll('-', '');
  let suffix = '';
  for (let index = 0; index < 5; index += 1) {
    suffix += alphabet[Number.parseInt(random.slice(index * 2, index * 2 + 2), 16) % alphabet.length];
  }
  return suffix;
}
