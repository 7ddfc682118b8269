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
import { type Decision, timeText } from './decide.ts';
import type { Condition, MirroredResource, ResourceStatus } from './resource.ts';

/** Nodes or services named with the reason. */
const MAX_NAMED = 3;
/** Kubernetes allows 32 KiB; a message stays readable. */
const MAX_MESSAGE = 1024;

type Told = Pick<Condition, 'type' | 'status' | 'reason' | 'message'>;

/** Where the stored value of a key is in force. */
export interface Standing {
  stored: StoredConfig;
  enabled: boolean;
  /** null: not known yet. */
  places: readonly Place[] | null;
}

const cut = (text: string) => (text.length <= MAX_MESSAGE ? text : `${text.slice(0, MAX_MESSAGE - 1)}…`);

function accepted(decision: Decision, standing: Standing | null): Told {
  if (decision.state !== 'refused') {
    const at = standing ? ` at revision ${standing.stored.revision}` : '';
    return { type: 'Accepted', status: 'True', reason: 'Written', message: `${decision.key} says it${at}` };
  }
  const rest = standing
    ? `; generation ${standing.stored.owner?.generation}, revision ${standing.stored.revision}, stays in force`
    : '';
  return { type: 'Accepted', status: 'False', reason: decision.reason, message: decision.message + rest };
}

function inForce(standing: Standing | null): { text: string; told: Told } {
  const told = (status: Told['status'], reason: string, message: string, text = '') => ({
    text,
    told: { type: 'InForce', status, reason, message },
  });
  if (!standing) return told('False', 'NotAccepted', 'nothing of it stands');
  if (!standing.enabled) return told('False', 'Disabled', 'enabled is false: it stands, and holds nowhere');
  const { places } = standing;
  if (!places) return told('Unknown', 'NotAsked', 'where it holds is not known yet');
  const count = places.filter(({ state }) => state === 'in-force').length;
  const text = `${count}/${places.length}`;
  if (places.length === 0) return told('Unknown', 'NoNodes', 'no node has reported', text);
  if (count === places.length) return told('True', 'Everywhere', `in force on ${text}`, text);
  const missing = places.filter(({ state }) => state !== 'in-force');
  const named = missing.slice(0, MAX_NAMED).map(({ node, reason }) => `${node}: ${reason}`);
  const more = missing.length > MAX_NAMED ? [`and ${missing.length - MAX_NAMED} more`] : [];
  const isPending = missing.every(({ state }) => state === 'pending');
  return told('False', isPending ? 'Pending' : 'NotEverywhere', [...named, ...more].join('; '), text);
}

/** lastTransitionTime changes only with the status of a condition. */
function condition(told: Told, before: readonly Condition[], observedGeneration: number, nowMs: number): Condition {
  const known = before.find(({ type }) => type === told.type);
  const lastTransitionTime = known?.status === told.status ? known.lastTransitionTime : timeText(nowMs);
  return { ...told, message: cut(told.message), observedGeneration, lastTransitionTime };
}

/** @param rollout of the stored value, if this resource wrote it */
export function statusOf(
  resource: MirroredResource,
  decision: Decision,
  standing: Standing | null,
  nowMs: number,
): ResourceStatus {
  const { generation, status } = resource;
  const before = status.conditions ?? [];
  const force = inForce(standing);
  const foreign = before.filter(({ type }) => type !== 'Accepted' && type !== 'InForce');
  return {
    observedGeneration: generation,
    ...(decision.key === '' ? {} : { configKey: decision.key }),
    ...(standing ? { configRevision: standing.stored.revision } : {}),
    ...(force.text === '' ? {} : { inForce: force.text }),
    conditions: [
      condition(accepted(decision, standing), before, generation, nowMs),
      condition(force.told, before, generation, nowMs),
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
