/**
 * Calls that change or read cluster objects, each with its precondition. Pod actions name the UID,
 * so that a recreated pod with the same name is never affected (KUBE_CONFLICT). Where stated, an
 * effect that already exists counts as success.
 */
import { apiPath, type KubeApi, type RequestOptions } from './client.ts';
import { KubeError, nullOn } from './errors.ts';
import type { KubeObject, Node, Pod, Taint } from './types.ts';

/** Identifies one pod by UID. */
export interface PodRefWithUid {
  namespace: string;
  name: string;
  uid: string;
}
export type CallOptions = Pick<RequestOptions, 'signal' | 'timeoutMs'>;

const podPath = (pod: { namespace: string; name: string }) =>
  apiPath`/api/v1/namespaces/${pod.namespace}/pods/${pod.name}`;

/** Reads a pod; null if it does not exist. */
export async function getPod(client: KubeApi, pod: { namespace: string; name: string }): Promise<Pod | null> {
  return nullOn('KUBE_NOT_FOUND', client.request<Pod>({ path: podPath(pod) }));
}

const METADATA_TYPE = 'application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1';

/**
 * Reads the metadata of a pod; null if it does not exist. A tenant chooses the size of a pod, up to
 * 10 MiB, of which metadata is a small part.
 */
export async function getPodMetadata(
  client: KubeApi,
  pod: { namespace: string; name: string },
): Promise<Pick<Pod, 'metadata'> | null> {
  return nullOn('KUBE_NOT_FOUND', client.request<Pod>({ path: podPath(pod), accept: METADATA_TYPE }));
}

/**
 * Merges labels and annotations into a pod; null removes one. The UID in the patch is the
 * precondition, because the server refuses to change it; so is a resourceVersion.
 * @throws KubeError KUBE_CONFLICT if the UID or the version differs, KUBE_NOT_FOUND
 */
export async function patchPod(
  client: KubeApi,
  pod: PodRefWithUid,
  change: {
    labels?: Record<string, string | null>;
    annotations?: Record<string, string | null>;
    resourceVersion?: string;
  },
): Promise<Pod> {
  try {
    return await client.request<Pod>({
      verb: 'PATCH',
      path: podPath(pod),
      body: { metadata: { uid: pod.uid, ...change } },
    });
  } catch (error) {
    throw asUidConflict(error, pod);
  }
}

/**
 * Deletes a pod gracefully.
 * @returns false if it was already gone
 * @throws KubeError KUBE_CONFLICT if another pod now has the name (the caller decides)
 */
export async function deletePod(
  client: KubeApi,
  pod: PodRefWithUid & { resourceVersion?: string; gracePeriodSeconds?: number },
): Promise<boolean> {
  const { uid, resourceVersion, gracePeriodSeconds } = pod;
  return doneOrGone(
    client.request({
      verb: 'DELETE',
      path: podPath(pod),
      body: deleteOptions({ uid, resourceVersion, gracePeriodSeconds }),
    }),
  );
}

/**
 * Evicts a pod, subject to disruption budgets. A 429 is not retried here: the caller schedules.
 * @returns false if it was already gone
 * @throws KubeError KUBE_TOO_MANY_REQUESTS if a budget refuses (`retryAfterMs`), several budgets select the
 * pod, it or its budget changes all the time, or there is no answer in time; KUBE_CONFLICT as for `deletePod`
 */
export async function evictPod(
  client: KubeApi,
  pod: PodRefWithUid & { gracePeriodSeconds?: number },
): Promise<boolean> {
  const { namespace, name, uid, gracePeriodSeconds } = pod;
  const eviction = client.request({
    verb: 'POST',
    path: `${podPath(pod)}/eviction`,
    body: {
      apiVersion: 'policy/v1',
      kind: 'Eviction',
      metadata: { name, namespace },
      deleteOptions: deleteOptions({ uid, gracePeriodSeconds }),
    },
    // With the UID as precondition, a second eviction of the same pod has no further effect.
    idempotent: true,
    retryTooManyRequests: false,
  });
  return doneOrGone(eviction.catch(refusedByBudgets));
}

/** Of a missing right, the message has another resource. Names contain no blank. */
const BUDGET_IS_FORBIDDEN = /poddisruptionbudgets?\.policy "[^"]*" is forbidden: /;
/** Of the budget, or of the pod. Of another pod that has the name, the message has the UIDs. */
const HAS_CHANGED = /": the object has been modified/;

/**
 * If several budgets select a pod, the API server refuses its eviction with status 500. A tenant can also keep the
 * answer back: the server reads all budgets of the namespace first (40 of 0.8 MB took 5 to 11 s), and repeats the
 * eviction of a pending pod, such as in its init containers, while others change the pod. It tries for ten seconds
 * while the pod or its budget changes before each try, then refuses with 409. A budget with more than 2,000 evictions
 * that nothing followed is refused with 403.
 */
function refusedByBudgets(error: unknown): never {
  if (!(error instanceof KubeError)) throw error;
  const areSeveral = error.code === 'KUBE_SERVER' && error.message.includes('more than one PodDisruptionBudget');
  const isFull = error.code === 'KUBE_FORBIDDEN' && BUDGET_IS_FORBIDDEN.test(error.message);
  const hasChanged = error.code === 'KUBE_CONFLICT' && HAS_CHANGED.test(error.message);
  if (!areSeveral && !isFull && !hasChanged && error.code !== 'KUBE_TIMEOUT') throw error;
  throw new KubeError('KUBE_TOO_MANY_REQUESTS', error.message, { status: error.status }, { cause: error });
}

/**
 * Replaces all taints of a node if it has not changed since it was read. The API server treats
 * taints as one list, so without that condition changes of other clients would be lost. @throws
 * KubeError KUBE_CONFLICT (it has changed), KUBE_NOT_FOUND, KUBE_FORBIDDEN
 */
export async function replaceTaints(
  client: KubeApi,
  node: { name: string; uid: string; resourceVersion: string },
  taints: readonly Taint[],
  options: CallOptions = {},
): Promise<Node> {
  const { name, uid, resourceVersion } = node;
  return client.request<Node>({
    ...options,
    verb: 'PATCH',
    path: apiPath`/api/v1/nodes/${name}`,
    body: { metadata: { uid, resourceVersion }, spec: { taints: taints.length > 0 ? taints : null } },
  });
}

/** An access to check. `group` is empty for the core group. */
export interface Access {
  verb: string;
  group?: string;
  resource: string;
  subresource?: string;
}

/** Whether this identity has an access anywhere in the cluster. Every identity may check itself. */
export async function mayAccess(
  client: KubeApi,
  access: Access,
  options: CallOptions & Pick<RequestOptions, 'attempts'> = {},
) {
  const { verb, group = '', resource, subresource = '' } = access;
  const review = await client.request<{ status?: { allowed?: boolean } }>({
    ...options,
    verb: 'POST',
    path: '/apis/authorization.k8s.io/v1/selfsubjectaccessreviews',
    body: {
      apiVersion: 'authorization.k8s.io/v1',
      kind: 'SelfSubjectAccessReview',
      spec: { resourceAttributes: { verb, group, resource, subresource } },
    },
    // The request only checks.
    idempotent: true,
  });
  return review.status?.allowed === true;
}

export interface PodEvent {
  /** Name of the Event object. Retries create the same name only once. */
  name: string;
  pod: PodRefWithUid;
  type: 'Normal' | 'Warning';
  /** UpperCamelCase, at most 128 characters. */
  reason: string;
  /** At most 1024 bytes; longer text is truncated. */
  message: string;
  /** Reporting component, for example `bailiff-responder`. */
  component: string;
  timeMs: number;
}

/** Creates an Event on a pod. @returns false if it already exists */
export async function createEvent(client: KubeApi, event: PodEvent): Promise<boolean> {
  const time = new Date(event.timeMs).toISOString();
  try {
    await client.request({
      verb: 'POST',
      path: apiPath`/api/v1/namespaces/${event.pod.namespace}/events`,
      body: {
        apiVersion: 'v1',
        kind: 'Event',
        metadata: { name: event.name, namespace: event.pod.namespace },
        involvedObject: { apiVersion: 'v1', kind: 'Pod', ...event.pod },
        type: event.type,
        reason: event.reason,
        message: cutToBytes(event.message, 1024),
        source: { component: event.component },
        firstTimestamp: time,
        lastTimestamp: time,
        count: 1,
      },
      idempotent: true,
    });
    return true;
  } catch (error) {
    if (error instanceof KubeError && error.code === 'KUBE_ALREADY_EXISTS') return false;
    throw error;
  }
}

const policyPath = (namespace: string) => apiPath`/apis/networking.k8s.io/v1/namespaces/${namespace}/networkpolicies`;

/** Reads a network policy; null if it does not exist. */
export function getNetworkPolicy(client: KubeApi, namespace: string, name: string) {
  const path = policyPath(namespace) + apiPath`/${name}`;
  return nullOn('KUBE_NOT_FOUND', client.request<KubeObject & { spec?: unknown }>({ path }));
}

/**
 * Creates a network policy. Never overwrites: @throws KubeError KUBE_ALREADY_EXISTS, and the caller
 * checks the owner
 */
export function createNetworkPolicy(
  client: KubeApi,
  policy: { metadata: { namespace: string; name: string } & Record<string, unknown>; spec: unknown },
): Promise<KubeObject> {
  return client.request<KubeObject>({
    verb: 'POST',
    path: policyPath(policy.metadata.namespace),
    body: { apiVersion: 'networking.k8s.io/v1', kind: 'NetworkPolicy', ...policy },
    idempotent: true,
  });
}

/** Deletes a network policy by name and UID. @returns false if it was already gone */
export function deleteNetworkPolicy(
  client: KubeApi,
  policy: { namespace: string; name: string; uid?: string },
): Promise<boolean> {
  return doneOrGone(
    client.request({
      verb: 'DELETE',
      path: policyPath(policy.namespace) + apiPath`/${policy.name}`,
      ...(policy.uid === undefined ? {} : { body: deleteOptions({ uid: policy.uid }) }),
    }),
  );
}

/** Reads an object of any kind by path; null if it does not exist. */
export function getObject<T = KubeObject>(client: KubeApi, path: string, options: CallOptions = {}): Promise<T | null> {
  return nullOn('KUBE_NOT_FOUND', client.request<T>({ ...options, path }));
}

function deleteOptions(from: {
  uid: string;
  resourceVersion?: string | undefined;
  gracePeriodSeconds?: number | undefined;
}) {
  const { uid, resourceVersion, gracePeriodSeconds } = from;
  return {
    apiVersion: 'v1',
    kind: 'DeleteOptions',
    preconditions: { uid, ...(resourceVersion === undefined ? {} : { resourceVersion }) },
    ...(gracePeriodSeconds === undefined ? {} : { gracePeriodSeconds }),
  };
}

async function doneOrGone(call: Promise<unknown>): Promise<boolean> {
  const done = call.then(() => true);
  return (await nullOn('KUBE_NOT_FOUND', done)) ?? false;
}

/** The message names the pod too, which can be called `metadata.uid`. */
const UID_IS_IMMUTABLE = /metadata\.uid: Invalid value/;

/**
 * A patch that changes the UID is refused with 409 by some servers and with 422 (immutable field)
 * by others.
 */
function asUidConflict(error: unknown, pod: PodRefWithUid): unknown {
  if (!(error instanceof KubeError) || error.status !== 422 || !UID_IS_IMMUTABLE.test(error.message)) return error;
  const message = `pod ${pod.namespace}/${pod.name} is no longer ${pod.uid}: ${error.message}`;
  return new KubeError('KUBE_CONFLICT', message, { status: 422, reason: error.reason }, { cause: error });
}

function cutToBytes(text: string, maxBytes: number): string {
  const bytes = Buffer.from(text, 'utf8');
  if (bytes.length <= maxBytes) return text;
  // Cutting inside a character leaves a replacement character, which is dropped.
  return `${bytes
    .subarray(0, maxBytes - 3)
    .toString('utf8')
    .replace(/�$/, '')}…`;
}
