/**
 * Words that correlation rules and Sigma share: fields of a violation as its Avro schema names them.
 * Pure data.
 */
import {
  type GROUP_BY,
  IFACE_STATES,
  LEVELS,
  NAMED_ONLY_VECTORS,
  OPERATIONS,
  PACKET_ACTIONS,
  type Selection,
  USERSPACE_VECTORS,
  VECTORS,
  VIOLATION_KINDS,
} from '@bailiff/policy';
import type { ValueField } from '../windows/compiled-rule.ts';

export const LOG_SOURCE = { product: 'bailiff', service: 'violations' } as const;

/** Lists of a selection whose items are values of one field. */
export const LIST_FIELDS = {
  kinds: 'kind',
  vectors: 'vector',
  actions: 'action',
  states: 'state',
  operations: 'operation.operation',
  severities: 'severity',
  namespaces: 'pod.namespace',
} as const satisfies Partial<Record<keyof Selection, string>>;
export type ListName = keyof typeof LIST_FIELDS;

/** Fields with a fixed set of values. */
export const FIELD_VALUES: Readonly<Record<string, readonly string[]>> = {
  kind: VIOLATION_KINDS,
  action: PACKET_ACTIONS,
  state: IFACE_STATES,
  'operation.operation': OPERATIONS,
  severity: LEVELS,
};

/** Field by group; `pod.ownerUid` is empty for a pod without an owner. */
export const GROUP_FIELDS: Readonly<Record<(typeof GROUP_BY)[number], string>> = {
  pod: 'pod.uid',
  owner: 'pod.ownerUid',
  namespace: 'pod.namespace',
  node: 'nodeName',
};

/** `vector` stands for `policyRule` where only operations are selected. */
export const COUNTED_FIELDS: Readonly<Record<Exclude<ValueField, 'policyRule'>, string>> = {
  vector: 'vector',
  claimedAddress: 'sample.claimedAddress',
  claimedMac: 'sample.claimedMac',
  destinationAddress: 'sample.destinationAddress',
  destinationPort: 'sample.destinationPort',
  operation: 'operation.operation',
  executable: 'operation.executable',
  subject: 'operation.subject',
};

export const PACKET_VECTORS: readonly string[] = [...VECTORS, ...USERSPACE_VECTORS];
export const NAMED_ONLY: readonly string[] = [...NAMED_ONLY_VECTORS];
/** Vectors of packets that have a mode, so that a violation of one may be audited. */
const WITH_MODE: readonly string[] = VECTORS;

/** A map of a document. */
export const isMap = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/** A map of a detection: values by field, with an optional modifier. */
export type FieldMap = Readonly<Record<string, readonly string[]>>;

/** Whether only operations of programs can match. */
export const isOfOperations = ({ kinds, policies, rules }: Selection): boolean =>
  policies !== undefined || rules !== undefined || (kinds?.every((kind) => kind === 'lsm') ?? false);

/**
 * What a selection without `actions` leaves out: audited violations of vectors with a mode. Any of
 * the maps, none of which has a further condition.
 */
export function auditedMaps(selection: Selection): FieldMap[] {
  const { kinds, vectors } = selection;
  if (vectors !== undefined) {
    const tunable = vectors.filter((vector) => WITH_MODE.includes(vector));
    return tunable.length === 0 ? [] : [{ action: ['audit'], vector: tunable }];
  }
  if (isOfOperations(selection)) return [{ action: ['audit'] }];
  const packets = { kind: ['spoof'], action: ['audit'], vector: WITH_MODE };
  return kinds?.includes('lsm') === false ? [packets] : [{ kind: ['lsm'], action: ['audit'] }, packets];
}
