/**
 * What the API server says about a pod, its owner and its node, cut down to what guards and actions look at; and the names by which
 * Bailiff marks what it has changed, so that it undoes its own changes only.
 */
import type { OwnerRef } from './confirmed-owner.ts';

/** Pod label: level of the verdict. */
export const VERDICT_LABEL = 'bailiff.dev/verdict';
/** Pod annotation beside it: id of the verdict, so that undoing an older one leaves a newer one alone. */
export const VERDICT_ID = 'bailiff.dev/verdict-id';
/** Pod label while in quarantine: the pod's own uid, which the NetworkPolicy selects. */
export const QUARANTINE_LABEL = 'bailiff.dev/quarantine';
/** Node annotation: id of the verdict that cordoned it. */
export const CORDONED_BY = 'bailiff.dev/cordoned-by';

export interface PodFacts {
  uid: string;
  resourceVersion: string;
  /** For the API's picture of a static pod: the uid by which kubelet and container runtime know it. Else null. */
  staticUid: string | null;
  namespace: string;
  name: string;
  /** Empty while not scheduled. */
  nodeName: string;
  labels: Readonly<Record<string, string>>;
  annotations: Readonly<Record<string, string>>;
  deleting: boolean;
  /** Seconds of grace of a deletion under way; null when there is none. */
  deletionGraceSeconds: number | null;
  /** Seconds between SIGTERM and SIGKILL that the pod asks for; null where its spec names none. */
  terminationGraceSeconds: number | null;
  ready: boolean;
  /** The owner that the pod names as its controller; null for a bare pod. A claim: `Facts.owner` says whether it is confirmed. */
  owner: OwnerRef | null;
}

/** Replica counts of a confirmed owner (confirmed-owner.ts). Of a DaemonSet: the nodes that should have a pod of it. */
export interface OwnerFacts {
  replicas: number;
  ready: number;
}

export interface NodeFacts {
  uid: string;
  resourceVersion: string;
  name: string;
  unschedulable: boolean;
  annotations: Readonly<Record<string, string>>;
}

/** Everything read for one task. A pod or node that does not exist is null. */
export interface Facts {
  pod: PodFacts | null;
  /** null where the owner that the pod names is not confirmed: the pod then counts as a bare one. */
  owner: OwnerFacts | null;
  node: NodeFacts | null;
}

type Json = Record<string, unknown>;
const object = (value: unknown): Json => (typeof value === 'object' && value !== null ? (value as Json) : {});
const text = (value: unknown): string => (typeof value === 'string' ? value : '');
const count = (value: unknown): number | null => (Number.isSafeInteger(value) ? (value as number) : null);

function strings(value: unknown): Record<string, string> {
  const entries = Object.entries(object(value)).filter(([, v]) => typeof v === 'string');
  return Object.fromEntries(entries) as Record<string, string>;
}

/** Annotation by which the kubelet marks its picture of a static pod; its value is the static pod's own uid. */
const MIRROR = 'kubernetes.io/config.mirror';

export function podFactsOf(body: unknown): PodFacts {
  const { metadata, spec, status } = object(body);
  const meta = object(metadata);
  const annotations = strings(meta['annotations']);
  const owners = Array.isArray(meta['ownerReferences']) ? meta['ownerReferences'].map(object) : [];
  const controller = owners.find((owner) => owner['controller'] === true);
  const statuses = object(status);
  const conditions = Array.isArray(statuses['conditions']) ? statuses['conditions'].map(object) : [];
  return {
    uid: text(meta['uid']),
    resourceVersion: text(meta['resourceVersion']),
    staticUid: annotations[MIRROR] ?? null,
    namespace: text(meta['namespace']),
    name: text(meta['name']),
    nodeName: text(object(spec)['nodeName']),
    labels: strings(meta['labels']),
    annotations,
    deleting: meta['deletionTimestamp'] != null,
    deletionGraceSeconds: count(meta['deletionGracePeriodSeconds']),
    terminationGraceSeconds: count(object(spec)['terminationGracePeriodSeconds']),
    ready: conditions.some((condition) => condition['type'] === 'Ready' && condition['status'] === 'True'),
    owner: controller
      ? {
          apiVersion: text(controller['apiVersion']),
          kind: text(controller['kind']),
          name: text(controller['name']),
          uid: text(controller['uid']),
        }
      : null,
  };
}

export function nodeFactsOf(body: unknown): NodeFacts {
  const { metadata, spec } = object(body);
  const meta = object(metadata);
  return {
    uid: text(meta['uid']),
    resourceVersion: text(meta['resourceVersion']),
    name: text(meta['name']),
    unschedulable: object(spec)['unschedulable'] === true,
    annotations: strings(meta['annotations']),
  };
}

/** Of a ReplicaSet, StatefulSet, ReplicationController, Deployment or DaemonSet. */
export function ownerFactsOf(body: unknown, kind: string): OwnerFacts {
  const { spec, status } = object(body);
  if (kind === 'DaemonSet') {
    const { desiredNumberScheduled, numberReady } = object(status);
    return { replicas: count(desiredNumberScheduled) ?? 1, ready: count(numberReady) ?? 0 };
  }
  const replicas = count(object(spec)['replicas']) ?? 1; // The API's own default.
  // The API leaves the count of ready ones out when it is zero.
  return { replicas, ready: count(object(status)['readyReplicas']) ?? 0 };
}

/** Kinds of apps/v1 that have replica counts, as they stand in a path. */
const APPS: Readonly<Record<string, string>> = {
  ReplicaSet: 'replicasets',
  StatefulSet: 'statefulsets',
  Deployment: 'deployments',
  DaemonSet: 'daemonsets',
};

/** Longest name of an object, and what it is made of (RFC 1123 subdomain). */
const OBJECT_NAME = /^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$/;

/** Path under which an owner's replica counts are read; null for kinds that have none, and for a name that no object can have. */
export function ownerPath(namespace: string, owner: OwnerRef): string | null {
  const plural = APPS[owner.kind];
  if (!OBJECT_NAME.test(owner.name)) return null;
  const at = (base: string, kind: string) =>
    `${base}/namespaces/${encodeURIComponent(namespace)}/${kind}/${owner.name}`;
  if (plural && owner.apiVersion === 'apps/v1') return at('/apis/apps/v1', plural);
  if (owner.kind === 'ReplicationController' && owner.apiVersion === 'v1')
    return at('/api/v1', 'replicationcontrollers');
  return null;
}

/**
 * The owner that protects the pod and whose budgets it spends; null when there is none, or the API server does not confirm it. A kind
 * without replica counts (a Job, a custom resource) is never confirmed: the responder may not read it.
 */
export function ownerOf({ pod, owner }: Facts): OwnerRef | null {
  return owner === null ? null : (pod?.owner ?? null);
}
