/**
 * Status of a custom resource. Pure.
 *
 * Condition `Accepted`: the key holds the value of the resource. Condition `InForce`: the stored
 * value is in force wherever it applies. If a change is refused, `InForce` describes the last valid
 * value.
 */
import { isDeepStrictEqual } from 'node:util';
import type { StoredConfig } from '@bailiff/bus';
import type { Place } from '@bailiff/response';
import { escapeUnsafe } from '@bailiff/service/printable';
import { type Decision, timeText } from './decide.ts';
import type { Condition, MirroredResource, ResourceStatus } from './resource.ts';

/** Nodes or services named with the reason. */
const MAX_NAMED = 3;
/** Kubernetes allows 32 KiB; a message stays readable. */
const MAX_MESSAGE = 1024;

type NewCondition = Pick<Condition, 'type' | 'status' | 'reason' | 'message'>;

/** Where the stored value of a key is in force. */
export interface Rollout {
  stored: StoredConfig;
  enabled: boolean;
  /** null: not known yet. */
  places: readonly Place[] | null;
}

/** kubectl prints a message as it is. */
function printable(message: string): string {
  const text = escapeUnsafe(message, '\n');
  return text.length <= MAX_MESSAGE ? text : `${text.slice(0, MAX_MESSAGE - 1)}…`;
}

function accepted(decision: Decision, rollout: Rollout | null): NewCondition {
  if (decision.state !== 'refused') {
    const at = rollout ? ` at revision ${rollout.stored.revision}` : '';
    return { type: 'Accepted', status: 'True', reason: 'Written', message: `${decision.key} is written${at}` };
  }
  const rest = rollout
    ? `; generation ${rollout.stored.owner?.generation}, revision ${rollout.stored.revision}, stays in force`
    : '';
  return { type: 'Accepted', status: 'False', reason: decision.reason, message: decision.message + rest };
}

function inForce(rollout: Rollout | null): { text: string; condition: NewCondition } {
  const result = (status: NewCondition['status'], reason: string, message: string, text = '') => ({
    text,
    condition: { type: 'InForce', status, reason, message },
  });
  if (!rollout) return result('False', 'NotAccepted', 'no value is stored');
  if (!rollout.enabled) return result('False', 'Disabled', 'enabled is false: stored, but in force nowhere');
  const { places } = rollout;
  if (!places) return result('Unknown', 'NotAsked', 'not known yet where it is in force');
  const count = places.filter(({ state }) => state === 'in-force').length;
  const text = `${count}/${places.length}`;
  if (places.length === 0) return result('Unknown', 'NoNodes', 'no node has reported', text);
  if (count === places.length) return result('True', 'Everywhere', `in force on ${text}`, text);
  const missing = places.filter(({ state }) => state !== 'in-force');
  const named = missing.slice(0, MAX_NAMED).map(({ node, reason }) => `${node}: ${reason}`);
  const more = missing.length > MAX_NAMED ? [`and ${missing.length - MAX_NAMED} more`] : [];
  const isPending = missing.every(({ state }) => state === 'pending');
  return result('False', isPending ? 'Pending' : 'NotEverywhere', [...named, ...more].join('; '), text);
}

/** lastTransitionTime changes only with the status of a condition. */
function condition(
  next: NewCondition,
  before: readonly Condition[],
  observedGeneration: number,
  nowMs: number,
): Condition {
  const known = before.find(({ type }) => type === next.type);
  const lastTransitionTime = known?.status === next.status ? known.lastTransitionTime : timeText(nowMs);
  return { ...next, message: printable(next.message), observedGeneration, lastTransitionTime };
}

/** @param rollout of the stored value, if this resource wrote it */
export function statusOf(
  resource: MirroredResource,
  decision: Decision,
  rollout: Rollout | null,
  nowMs: number,
): ResourceStatus {
  const { generation, status } = resource;
  const before = status.conditions ?? [];
  const force = inForce(rollout);
  const foreign = before.filter(({ type }) => type !== 'Accepted' && type !== 'InForce');
  return {
    observedGeneration: generation,
    ...(decision.key === '' ? {} : { configKey: decision.key }),
    ...(rollout ? { configRevision: rollout.stored.revision } : {}),
    ...(force.text === '' ? {} : { inForce: force.text }),
    conditions: [
      condition(accepted(decision, rollout), before, generation, nowMs),
      condition(force.condition, before, generation, nowMs),
      ...foreign,
    ],
  };
}

const FIELDS = ['observedGeneration', 'configKey', 'configRevision', 'inForce', 'conditions'] as const;

/** The status as a merge patch that removes absent fields; null if nothing changes. */
export function statusPatch(before: ResourceStatus, after: ResourceStatus): Record<string, unknown> | null {
  const pick = (status: ResourceStatus) => Object.fromEntries(FIELDS.map((field) => [field, status[field] ?? null]));
  return isDeepStrictEqual(sorted(pick(before)), sorted(pick(after))) ? null : pick(after);
}

/** Sorts the fields of objects, because servers reorder them. */
function sorted(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sorted);
  if (typeof value !== 'object' || value === null) return value;
  const entries = Object.entries(value).filter(([, member]) => member !== undefined);
  return Object.fromEntries(entries.sort(([a], [b]) => (a < b ? -1 : 1)).map(([key, member]) => [key, sorted(member)]));
}
