/**
 * How complete the record is: of which classes allowed operations of a pod are recorded. Pure.
 *
 * Operations that no rule in audit and no posture counts leave no trace. A posture in audit counts
 * every operation of its class that no rule allows.
 */
import type { PlacedPod } from '@bailiff/insight';
import { POSTURE_CLASSES, type PostureClass } from '@bailiff/policy';
import {
  decidableOperations,
  mergeSelected,
  type NamedPolicy,
  OPERATIONS,
  postureOf,
  selectsPod,
} from '@bailiff/runtime';
import { type OperationRecord, postureIn, type Seen } from './record.ts';

export interface ClassCoverage {
  name: PostureClass;
  /** First and last operation that a posture counted; null: none. */
  recorded: { firstAtMicros: number; lastAtMicros: number } | null;
}

export interface PodCoverage {
  pod: Pick<PlacedPod, 'uid' | 'namespace' | 'name'>;
  /** Classes in which the tried policies decide. */
  classes: ClassCoverage[];
}

/** Classes in which the tried policies of a pod decide. */
function decidedClasses(policies: readonly NamedPolicy[]): PostureClass[] {
  if (policies.length === 0) return [];
  const decidable = [...decidableOperations(mergeSelected(policies))];
  return POSTURE_CLASSES.filter((name) => decidable.some((op) => postureOf(op) === name));
}

/** The pods that tried policies select. */
export function coverageOf(
  record: OperationRecord,
  {
    policies,
    tried,
    pods,
  }: { policies: readonly NamedPolicy[]; tried: ReadonlySet<string>; pods: readonly PlacedPod[] },
): PodCoverage[] {
  const spans = new Map<string, { firstAtMicros: number; lastAtMicros: number }>();
  const take = (name: PostureClass, { pod, firstAtMicros, lastAtMicros }: Seen) => {
    const key = `${pod.uid} ${name}`;
    const known = spans.get(key) ?? { firstAtMicros, lastAtMicros };
    spans.set(key, {
      firstAtMicros: Math.min(known.firstAtMicros, firstAtMicros),
      lastAtMicros: Math.max(known.lastAtMicros, lastAtMicros),
    });
  };
  for (const seen of record.operations) {
    const op = OPERATIONS.find((name) => name === seen.operation.operation);
    const name = op === undefined ? null : postureOf(op);
    if (name && [...seen.generations.values()].some(({ posture }) => posture > 0)) take(name, seen);
  }
  for (const cell of record.unsampled) {
    const name = postureIn(cell.vector);
    if (name && !cell.denied) take(name, cell);
  }
  return pods.flatMap((pod): PodCoverage[] => {
    const mine = policies.filter((named) => tried.has(named.key) && selectsPod(named, pod));
    const classes = decidedClasses(mine).map((name) => ({ name, recorded: spans.get(`${pod.uid} ${name}`) ?? null }));
    const { uid, namespace, name } = pod;
    return classes.length === 0 ? [] : [{ pod: { uid, namespace, name }, classes }];
  });
}
