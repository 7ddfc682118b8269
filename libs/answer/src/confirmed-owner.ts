/**
 * Is an object really the owner of a pod, or does only the pod say so? Pure.
 *
 * Anyone who may write a pod may write any owner reference and any labels into it. Three things must hold. The pod names the controller by UID with
 * `controller: true`. The controller's selector matches the pod's labels, without which it releases the pod. And the verdict names the top of that
 * owner chain: ipam-sync publishes an owner only for a pod that runs the controller's template (apps/ipam-sync/src/program.ts).
 */

export interface OwnerRef {
  apiVersion: string;
  kind: string;
  name: string;
  uid: string;
}

/** What is kept of an owner that the API server returned. */
export interface OwnerObject {
  uid: string;
  /** Its own controller, as a Deployment of a ReplicaSet; empty when it has none. */
  controllerUid: string;
  /** `spec.selector`: a LabelSelector, or the plain map of a ReplicationController. */
  selector: unknown;
}

type Json = Record<string, unknown>;
const object = (value: unknown): Json => (typeof value === 'object' && value !== null ? (value as Json) : {});

const textOf = (value: unknown): string => (typeof value === 'string' ? value : '');

export function ownerObjectOf(body: unknown): OwnerObject {
  const { metadata, spec } = object(body);
  const { uid, ownerReferences } = object(metadata);
  const references = Array.isArray(ownerReferences) ? ownerReferences.map(object) : [];
  const controller = references.find((reference) => reference['controller'] === true);
  return { uid: textOf(uid), controllerUid: textOf(controller?.['uid']), selector: object(spec)['selector'] };
}

/**
 * The reference that the API server confirms; null for an object without a controller, or whose claim is not true.
 * @param child a pod; `owner` is its controller reference
 * @param found the object under the reference's namespace, kind and name; null when there is none, or it cannot be read
 * @param topUid top of the pod's owner chain as the verdict has it; empty for a pod without a confirmed owner
 */
export function confirmedOwner(
  child: { labels: Readonly<Record<string, string>>; owner: OwnerRef | null },
  found: OwnerObject | null,
  topUid: string,
): OwnerRef | null {
  const { owner, labels } = child;
  if (!owner || !found || owner.uid === '' || found.uid !== owner.uid) return null;
  if (topUid === '' || (topUid !== found.uid && topUid !== found.controllerUid)) return null;
  return selects(owner.kind, found.selector, labels) ? owner : null;
}

/** An empty selector selects nothing: apps/v1 refuses one, and a ReplicationController without one is filled in by the server. */
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
