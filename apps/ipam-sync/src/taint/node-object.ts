/** What is kept of a node's object for the taint of unguarded nodes. Pure. */
import type { Node, Taint } from '@bailiff/kube';
import { UNGUARDED_TAINT_KEY } from '@bailiff/policy';

export interface NodeObject {
  name: string;
  uid: string;
  resourceVersion: string;
  labels: Readonly<Record<string, string>>;
  cordoned: boolean;
  /** As the object has them: they are written back whole. */
  taints: readonly Taint[];
}

/** Put by Kubernetes itself on a node whose kubelet does not speak: pods are kept off it as it is. */
const OF_KUBERNETES: readonly string[] = ['node.kubernetes.io/not-ready', 'node.kubernetes.io/unreachable'];

export function nodeObject({ metadata, spec = {} }: Node): NodeObject {
  const { name, uid, resourceVersion, labels = {} } = metadata;
  return { name, uid, resourceVersion, labels, cordoned: spec.unschedulable === true, taints: spec.taints ?? [] };
}

const isOurs = ({ key }: Taint): boolean => key === UNGUARDED_TAINT_KEY;

export const isTainted = ({ taints }: NodeObject): boolean => taints.some(isOurs);

/** Whether pods may be put there, but for our taint. */
export const takesPods = ({ cordoned, taints }: NodeObject): boolean =>
  !cordoned && !taints.some(({ key }) => OF_KUBERNETES.includes(key));

export const hasLabels = ({ labels }: NodeObject, wanted: Readonly<Record<string, string>>): boolean =>
  Object.entries(wanted).every(([key, value]) => labels[key] === value);

/** Its taints with ours, or without it; everybody else's stay as they are, in their order. */
export function taintsWith({ taints }: NodeObject, effect: string | null): Taint[] {
  const others = taints.filter((taint) => !isOurs(taint));
  return effect === null ? others : [...others, { key: UNGUARDED_TAINT_KEY, effect }];
}
