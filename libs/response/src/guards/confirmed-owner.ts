/**
 * Decides whether an owner reference is true. Pure. Anyone who may write a pod may write any owner
 * reference into it.
 *
 * Kubernetes assigns a pod to a controller if the pod references it by UID with `controller: true`
 * and the controller's selector matches the pod's labels. The controller releases a pod that stops
 * matching and deletes surplus pods, so an attacker cannot keep up a false reference. The same
 * check applies to a ReplicaSet and its Deployment: pass the ReplicaSet's labels and reference.
 */

export interface OwnerRef {
  apiVersion: string;
  kind: string;
  name: string;
  uid: string;
}

/** The checked fields of an owner that the API server returned. */
export interface OwnerObject {
  uid: string;
  /** `spec.selector`: a LabelSelector, or the plain map of a ReplicationController. */
  selector: unknown;
}

type Json = Record<string, unknown>;
const object = (value: unknown): Json => (typeof value === 'object' && value !== null ? (value as Json) : {});

export function ownerObjectOf(body: unknown): OwnerObject {
  const { metadata, spec } = object(body);
  const { uid } = object(metadata);
  return { uid: typeof uid === 'string' ? uid : '', selector: object(spec)['selector'] };
}

/**
 * The confirmed reference; null for an object without a controller or with a false reference.
 * @param child a pod, or a ReplicaSet of a Deployment; `owner` is its controller reference
 * @param found the object with the reference's namespace, kind and name; null if it is absent or
 *   unreadable
 */
export function confirmedOwner(
  child: { labels: Readonly<Record<string, string>>; owner: OwnerRef | null },
  found: OwnerObject | null,
): OwnerRef | null {
  const { owner, labels } = child;
  if (!owner || !found || owner.uid === '' || found.uid !== owner.uid) return null;
  return selects(owner.kind, found.selector, labels) ? owner : null;
}

/**
 * An empty selector selects nothing: apps/v1 rejects it, and the server fills in that of a
 * ReplicationController.
 */
function selects(kind: string, selector: unknown, labels: Readonly<Record<string, string>>): boolean {
  const { matchLabels, matchExpressions } =
    kind === 'ReplicationController' ? { matchLabels: selector, matchExpressions: [] } : object(selector);
  const equal = Object.entries(object(matchLabels));
  const expressions = Array.isArray(matchExpressions) ? matchExpressions.map(object) : [];
  if (equal.length + expressions.length === 0) return false;
  return (
    equal.every(([key, value]) => Object.hasOwn(labels, key) && labels[key] === value) &&
    expressions.every((one) => isMet(one, labels))
  );
}

function isMet({ key, operator, values }: Json, labels: Readonly<Record<string, string>>): boolean {
  if (typeof key !== 'string') return false;
  const value = Object.hasOwn(labels, key) ? labels[key] : undefined;
  const among = Array.isArray(values) && values.includes(value);
  switch (operator) {
    case 'In':
      return value !== undefined && among;
    case 'NotIn':
      return !among;
    case 'Exists':
      return value !== undefined;
    case 'DoesNotExist':
      return value === undefined;
    default:
      return false;
  }
}
