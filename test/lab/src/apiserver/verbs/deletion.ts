/**
 * Effect of a DELETE: none, a mark with a deadline, or removal. Pure. Pods are deleted gracefully:
 * marked, then removed when the kubelet deletes again without grace period. A second delete may
 * only shorten the grace period. Finalizers keep an object until the last one is removed.
 */
import { conflict } from '../errors.ts';
import type { ResourceDef } from '../kinds/resources.ts';
import { strategyFor } from '../kinds/strategies.ts';
import { timeText } from '../times.ts';
import type { KubeObject } from '../types.ts';

export interface DeleteOptions {
  gracePeriodSeconds?: number;
  preconditions?: { uid?: string; resourceVersion?: string };
  propagationPolicy?: 'Background' | 'Foreground' | 'Orphan';
  dryRun?: boolean;
  /** Called before the write; throws ApiError to reject it. */
  review?: (object: KubeObject | null, oldObject: KubeObject | null) => void;
}

export type DeletePlan =
  /** Already terminating; nothing changes. */
  | { step: 'pending' }
  /** Stored with these marks. */
  | { step: 'mark'; marked: KubeObject }
  /** Stored with these marks if present, then removed. */
  | { step: 'remove'; marked: KubeObject | undefined };

/** Throws 409 if a precondition fails. */
export function checkPreconditions(def: ResourceDef, object: KubeObject, options: DeleteOptions): void {
  const { uid, resourceVersion } = options.preconditions ?? {};
  const named = { ...def, plural: def.kind };
  if (uid && uid !== object.metadata.uid) {
    const why = `the UID in the precondition (${uid}) does not match the UID in record (${object.metadata.uid}). The object might have been deleted and then recreated`;
    throw conflict(named, object.metadata.name, why);
  }
  if (resourceVersion && resourceVersion !== object.metadata.resourceVersion) {
    const why = `the ResourceVersion in the precondition (${resourceVersion}) does not match the ResourceVersion in record (${object.metadata.resourceVersion}). The object might have been modified`;
    throw conflict(named, object.metadata.name, why);
  }
}

export function planDelete(def: ResourceDef, object: KubeObject, options: DeleteOptions, nowMs: number): DeletePlan {
  if (def.storage === 'namespaces') return planNamespace(object, nowMs);
  const finalizers = object.metadata.finalizers ?? [];
  const graceOf = strategyFor(def.storage).graceSeconds;
  const before = object.metadata.deletionTimestamp;
  if (graceOf === undefined) {
    if (finalizers.length === 0) return { step: 'remove', marked: undefined };
    return before === undefined ? { step: 'mark', marked: withMarks(object, nowMs, 0) } : { step: 'pending' };
  }
  let marked: KubeObject;
  let seconds: number;
  if (before === undefined) {
    seconds = graceOf(object, options.gracePeriodSeconds);
    marked = withMarks(object, nowMs + periodMs(seconds), seconds);
  } else {
    const current = object.metadata.deletionGracePeriodSeconds ?? 0;
    const asked = options.gracePeriodSeconds;
    if (asked === undefined || asked >= current) return { step: 'pending' };
    seconds = Math.max(0, asked);
    const deadline = Date.parse(before) - periodMs(current) + periodMs(seconds);
    marked = withMarks(object, Math.max(deadline, nowMs), seconds);
  }
  return seconds === 0 && finalizers.length === 0 ? { step: 'remove', marked } : { step: 'mark', marked };
}

/** A namespace is removed after its contents, by controllers/garbage.ts. */
function planNamespace(object: KubeObject, nowMs: number): DeletePlan {
  if (object.metadata.deletionTimestamp !== undefined) return { step: 'pending' };
  const marked = { ...object, metadata: { ...object.metadata, deletionTimestamp: timeText(nowMs) } };
  return { step: 'mark', marked: { ...marked, status: { ...object.status, phase: 'Terminating' } } };
}

/** The server counts nanoseconds in 64 bits: 2^53 seconds become 146 years. */
function periodMs(seconds: number): number {
  return Number(BigInt.asIntN(64, BigInt(seconds) * 1_000_000_000n) / 1_000_000n);
}

function withMarks(object: KubeObject, deadlineMs: number, graceSeconds: number): KubeObject {
  const metadata = { ...object.metadata };
  if (metadata.generation !== undefined && metadata.deletionTimestamp === undefined) metadata.generation += 1;
  metadata.deletionTimestamp = timeText(deadlineMs);
  metadata.deletionGracePeriodSeconds = graceSeconds;
  return { ...object, metadata };
}

/** True if an update removed the last finalizer of a deleted object. */
export function isReleased(def: ResourceDef, object: KubeObject): boolean {
  if (object.metadata.deletionTimestamp === undefined || def.storage === 'namespaces') return false;
  return (object.metadata.finalizers ?? []).length === 0 && (object.metadata.deletionGracePeriodSeconds ?? 0) === 0;
}
