/**
 * Decides how a pod belongs to the controller that it references. Pure. Anyone who may write a pod may
 * write any owner reference into it.
 *
 * - claimed: the controller exists under this UID, and its selector matches the pod's labels; otherwise
 *   it would release the pod. Webhooks change pods, so this is enough to protect: a removal becomes a
 *   quarantine.
 * - confirmed: the verdict has the top of the same owner chain, too. ipam-sync publishes an owner only
 *   for a pod that runs the controller's template (apps/ipam-sync/src/pods/program.ts). Only such a pod
 *   uses up what its workload has: budgets and cooldowns.
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
  /** Its own controller, such as the Deployment of a ReplicaSet; empty without one. */
  controllerUid: string;
  /** `spec.selector`: a LabelSelector, or the plain map of a ReplicationController. */
  selector: unknown;
}

type Json = Record<string, unknown>;
const object = (value: unknown): Json => (typeof value === 'object' && value !== null ? (value as Json) : {});

const textOf = (value: unknown): string => (typeof value === 'string' ? value : '');

/**
 * Characters of a selector as JSON. Tenants write controllers with selectors of megabytes, which
 * would stay in memory; a longer one counts as absent, so its controller is not confirmed.
 */
const MAX_SELECTOR = 16 * 1024;

function shortSelector(selector: unknown): unknown {
  return (JSON.stringify(selector) ?? '').length > MAX_SELECTOR ? undefined : selector;
}

export function ownerObjectOf(body: unknown): OwnerObject {
  const { metadata, spec } = object(body);
  const { uid, ownerReferences } = object(metadata);
  const references = Array.isArray(ownerReferences) ? ownerReferences.map(object) : [];
  const controller = references.find((reference) => reference['controller'] === true);
  return {
    uid: textOf(uid),
    controllerUid: textOf(controller?.['uid']),
    selector: shortSelector(object(spec)['selector']),
  };
}

export type Membership = 'confirmed' | 'claimed';

/**
 * null for an object without a controller or with a false reference.
 * @param child a pod; `owner` is its controller reference
 * @param found the object with the reference's namespace, kind and name; null if it is absent or
 *   unreadable
 * @param topUid top of the pod's owner chain in the verdict; empty without a confirmed owner
 */
export function membershipOf(
  child: { labels: Readonly<Record<string, string>>; owner: OwnerRef | null },
  found: OwnerObject | null,
  topUid: string,
): Membership | null {
  const { owner, labels } = child;
  if (!owner || !found || owner.uid === '' || found.uid !== owner.uid) return null;
  if (!selects(owner.kind, found.selector, labels)) return null;
  return topUid !== '' && (topUid === found.uid || topUid === found.controllerUid) ? 'confirmed' : 'claimed';
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
