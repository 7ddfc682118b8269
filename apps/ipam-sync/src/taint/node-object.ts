/** The fields of a node object that the taint controller needs. Pure. */
import type { Node, Taint } from '@bailiff/kube';
import { UNGUARDED_TAINT_KEY } from '@bailiff/policy';

export interface NodeObject {
  name: string;
  uid: string;
  resourceVersion: string;
  labels: Readonly<Record<string, string>>;
  cordoned: boolean;
  /** All taints of the object: a patch replaces the whole list. */
  taints: readonly Taint[];
}

/** Added by Kubernetes to a node without kubelet heartbeats; they keep pods away already. */
const OF_KUBERNETES: readonly string[] = ['node.kubernetes.io/not-ready', 'node.kubernetes.io/unreachable'];

export function nodeObject({ metadata, spec = {} }: Node): NodeObject {
  const { name, uid, resourceVersion, labels = {} } = metadata;
  return { name, uid, resourceVersion, labels, cordoned: spec.unschedulable === true, taints: spec.taints ?? [] };
}

const isOurs = ({ key }: Taint): boolean => key === UNGUARDED_TAINT_KEY;

export const isTainted = ({ taints }: NodeObject): boolean => taints.some(isOurs);

/** True if the node accepts pods, apart from Bailiff's taint. */
export const takesPods = ({ cordoned, taints }: NodeObject): boolean =>
  !cordoned && !taints.some(({ key }) => OF_KUBERNETES.includes(key));

export const hasLabels = ({ labels }: NodeObject, wanted: Readonly<Record<string, string>>): boolean =>
  Object.entries(wanted).every(([key, value]) => labels[key] === value);

/** Its taints with Bailiff's, or without it. The other taints keep their order. */
export function taintsWith({ taints }: NodeObject, effect: string | null): Taint[] {
  const others = taints.filter((taint) => !isOurs(taint));
  return effect === null ? others : [...others, { key: UNGUARDED_TAINT_KEY, effect }];
}
