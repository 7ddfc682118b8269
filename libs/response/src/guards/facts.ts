/**
 * The fields of a pod, its owner and its node that guards and actions use, parsed from API server
 * responses. Also the labels and annotations that mark Bailiff's own changes: it undoes only those.
 */
import { isStaticUid } from '@bailiff/schemas';
import type { OwnerRef } from './confirmed-owner.ts';

/** Pod label: level of the verdict. */
export const VERDICT_LABEL = 'bailiff.dev/verdict';
/**
 * Pod annotation: id of the verdict, so that undoing an older verdict keeps the label of a newer
 * one.
 */
export const VERDICT_ID = 'bailiff.dev/verdict-id';
/** Pod label during quarantine: the pod's uid, which the NetworkPolicy selects. */
export const QUARANTINE_LABEL = 'bailiff.dev/quarantine';
/** Node annotation: id of the verdict that cordoned it. */
export const CORDONED_BY = 'bailiff.dev/cordoned-by';

export interface PodFacts {
  uid: string;
  resourceVersion: string;
  /**
   * For a mirror pod: the uid of the static pod, known to kubelet and container runtime. Otherwise
   * null.
   */
  staticUid: string | null;
  namespace: string;
  name: string;
  /** Empty if the pod is not scheduled. */
  nodeName: string;
  /** It uses the network of its node, so no quarantine can block its traffic. */
  hostNetwork: boolean;
  labels: Readonly<Record<string, string>>;
  annotations: Readonly<Record<string, string>>;
  deleting: boolean;
  /** Grace period of a deletion in progress; null without one. */
  deletionGraceSeconds: number | null;
  /** The pod's own grace period between SIGTERM and SIGKILL; null if its spec has none. */
  terminationGraceSeconds: number | null;
  ready: boolean;
  /** The controller that the pod references; null without one. Unconfirmed: see `Facts.owner`. */
  owner: OwnerRef | null;
}

/**
 * Replica counts of an owner. For a DaemonSet: number of nodes that should run a pod.
 */
export interface OwnerFacts {
  replicas: number;
  ready: number;
  /** The pod is a claimed member, not a confirmed one (confirmed-owner.ts). */
  isClaimed?: true;
}

export interface NodeFacts {
  uid: string;
  resourceVersion: string;
  name: string;
  unschedulable: boolean;
  /** Without the mark of Bailiff's cordon if another client has cordoned the node since. */
  annotations: Readonly<Record<string, string>>;
}

/** All facts for one task. A pod or node that does not exist is null. */
export interface Facts {
  pod: PodFacts | null;
  /** null if the pod's owner reference is false: the pod counts as one without owner. */
  owner: OwnerFacts | null;
  node: NodeFacts | null;
}

type Json = Record<string, unknown>;
const object = (value: unknown): Json => (typeof value === 'object' && value !== null ? (value as Json) : {});
const text = (value: unknown): string => (typeof value === 'string' ? value : '');
const count = (value: unknown): number | null => (Number.isSafeInteger(value) ? (value as number) : null);

/**
 * The pod's author chooses any number of 64 bits. One above 2^53 is rounded here, and long all the same. The
 * API server takes a negative one for one second.
 */
const graceSeconds = (value: unknown): number | null => (typeof value !== 'number' ? null : value < 0 ? 1 : value);

function strings(value: unknown): Record<string, string> {
  const entries = Object.entries(object(value)).filter(([, v]) => typeof v === 'string');
  return Object.fromEntries(entries) as Record<string, string>;
}

/**
 * Annotation of a mirror pod; its value is the uid of the static pod. Every author of a pod can write it, so
 * one of another form counts for nothing: it could be the uid of a pod whose object was removed by force.
 */
const MIRROR = 'kubernetes.io/config.mirror';

export function podFactsOf(body: unknown): PodFacts {
  const { metadata, spec, status } = object(body);
  const meta = object(metadata);
  const annotations = strings(meta['annotations']);
  const staticUid = annotations[MIRROR] ?? '';
  const owners = Array.isArray(meta['ownerReferences']) ? meta['ownerReferences'].map(object) : [];
  const controller = owners.find((owner) => owner['controller'] === true);
  const statuses = object(status);
  const conditions = Array.isArray(statuses['conditions']) ? statuses['conditions'].map(object) : [];
  return {
    uid: text(meta['uid']),
    resourceVersion: text(meta['resourceVersion']),
    staticUid: isStaticUid(staticUid) ? staticUid : null,
    namespace: text(meta['namespace']),
    name: text(meta['name']),
    nodeName: text(object(spec)['nodeName']),
    hostNetwork: object(spec)['hostNetwork'] === true,
    labels: strings(meta['labels']),
    annotations,
    deleting: meta['deletionTimestamp'] != null,
    deletionGraceSeconds: graceSeconds(meta['deletionGracePeriodSeconds']),
    terminationGraceSeconds: graceSeconds(object(spec)['terminationGracePeriodSeconds']),
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

/**
 * Facts of a pod whose removal is in progress, from its metadata. Its grace period is that of the
 * removal.
 */
export function removalFactsOf(body: unknown): PodFacts {
  const facts = podFactsOf(body);
  return { ...facts, terminationGraceSeconds: facts.deletionGraceSeconds };
}

export function nodeFactsOf(body: unknown): NodeFacts {
  const { metadata, spec } = object(body);
  const meta = object(metadata);
  const { [CORDONED_BY]: mark, ...others } = strings(meta['annotations']);
  const isOwn = mark !== undefined && !isCordonedByOther(meta['managedFields']);
  return {
    uid: text(meta['uid']),
    resourceVersion: text(meta['resourceVersion']),
    name: text(meta['name']),
    unschedulable: object(spec)['unschedulable'] === true,
    annotations: isOwn ? { ...others, [CORDONED_BY]: mark } : others,
  };
}

/**
 * `kubectl uncordon` leaves the mark, and the node may be cordoned again, such as for maintenance. The API server names
 * the client that has set each field. If it names none for `unschedulable`, the mark decides.
 */
function isCordonedByOther(managedFields: unknown): boolean {
  const clients = Array.isArray(managedFields) ? managedFields.map((one) => object(object(one)['fieldsV1'])) : [];
  const cordoning = clients.filter((fields) => 'f:unschedulable' in object(fields['f:spec']));
  const isMarking = (fields: Json) => `f:${CORDONED_BY}` in object(object(fields['f:metadata'])['f:annotations']);
  return cordoning.length > 0 && !cordoning.some(isMarking);
}

/** Parses a ReplicaSet, StatefulSet, ReplicationController, Deployment or DaemonSet. */
export function ownerFactsOf(body: unknown, kind: string): OwnerFacts {
  const { spec, status } = object(body);
  if (kind === 'DaemonSet') {
    const { desiredNumberScheduled, numberReady } = object(status);
    return { replicas: count(desiredNumberScheduled) ?? 1, ready: count(numberReady) ?? 0 };
  }
  const replicas = count(object(spec)['replicas']) ?? 1; // Default of the API.
  // The API omits `readyReplicas` if it is 0.
  return { replicas, ready: count(object(status)['readyReplicas']) ?? 0 };
}

/** Kinds of apps/v1 with replica counts → plural in the path. */
const APPS: Readonly<Record<string, string>> = {
  ReplicaSet: 'replicasets',
  StatefulSet: 'statefulsets',
  Deployment: 'deployments',
  DaemonSet: 'daemonsets',
};

/** Object name: RFC 1123 subdomain. */
const OBJECT_NAME = /^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$/;

/** API path of an owner; null for a kind without replica counts and for an invalid name. */
export function ownerPath(namespace: string, owner: OwnerRef): string | null {
  // A tenant chooses the kind, also one that every object has (`constructor`).
  const plural = Object.hasOwn(APPS, owner.kind) ? APPS[owner.kind] : undefined;
  if (!OBJECT_NAME.test(owner.name)) return null;
  const at = (base: string, kind: string) =>
    `${base}/namespaces/${encodeURIComponent(namespace)}/${kind}/${owner.name}`;
  if (plural && owner.apiVersion === 'apps/v1') return at('/apis/apps/v1', plural);
  if (owner.kind === 'ReplicationController' && owner.apiVersion === 'v1')
    return at('/api/v1', 'replicationcontrollers');
  return null;
}

/**
 * The owner that a removal is charged to; null if the pod has none or is no confirmed member.
 */
export function ownerOf({ pod, owner }: Facts): OwnerRef | null {
  return owner === null || owner.isClaimed ? null : (pod?.owner ?? null);
}

/**
 * The owner that may protect the pod from a removal, of which it may be a claimed member only. A kind
 * without replica counts (Job, custom resource) is none: the responder may not read it. A pod on the
 * network of its node has none: no quarantine could replace its removal, and tenants write owners.
 */
export function protectingOwnerOf({ pod, owner }: Facts): OwnerRef | null {
  return owner === null || pod?.hostNetwork ? null : (pod?.owner ?? null);
}

/** UID of the owner of a claimed member; empty for others. */
export function claimedOwnerUidOf(facts: Facts): string {
  return facts.owner?.isClaimed ? (facts.pod?.owner?.uid ?? '') : '';
}
