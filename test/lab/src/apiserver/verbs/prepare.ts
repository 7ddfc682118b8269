/**
 * Prepares a client's object for the store: server-owned metadata, split of spec and status,
 * validation. Pure: time and ids are passed in. Errors are the Status of a real server.
 */
import { badRequest, conflict, invalid, staleUpdate } from '../errors.ts';
import { badValue, forbiddenField, labelCauses, nameCauses } from '../kinds/names.ts';
import { nameSuffix } from '../kinds/pods.ts';
import type { ResourceDef } from '../kinds/resources.ts';
import { strategyFor } from '../kinds/strategies.ts';
import { type KubeObject, type ObjectInput, type ObjectMeta, sameJson, thaw } from '../types.ts';

export interface Birth {
  namespace: string;
  uid: string;
  /** RFC 3339, whole seconds. */
  nowText: string;
}

/** A new object, ready to store. Throws 400 and 422. */
export function prepareCreate(def: ResourceDef, input: ObjectInput, birth: Birth): KubeObject {
  const object = thaw(input) as KubeObject;
  const sent: Partial<ObjectMeta> = object.metadata ?? {};
  if (sent.resourceVersion) throw badRequest('resourceVersion should not be set on objects to be created');
  const name = sent.name || (sent.generateName ? `${sent.generateName}${nameSuffix()}` : '');
  if (name === '') {
    const cause = {
      reason: 'FieldValueRequired',
      message: 'Required value: name or generateName is required',
      field: 'metadata.name',
    };
    throw invalid(def, '', [cause]);
  }
  object.metadata = {
    ...ownedByClient(sent),
    name,
    uid: birth.uid,
    resourceVersion: '',
    creationTimestamp: birth.nowText,
  };
  if (def.namespaced) object.metadata.namespace = birth.namespace;
  if (def.generation) object.metadata.generation = 1;
  if (def.separateStatus && !def.statusOnCreate) delete object.status;
  const strategy = strategyFor(def.storage);
  strategy.prepareCreate?.(object, birth.nowText);
  const causes = [
    ...nameCauses(name, def.storage),
    ...labelCauses(object.metadata),
    ...(strategy.validate?.(object) ?? []),
  ];
  if (causes.length > 0) throw invalid(def, name, causes);
  return object;
}

/** The metadata that a client may set. */
function ownedByClient(sent: Partial<ObjectMeta>): Partial<ObjectMeta> {
  const { generateName, labels, annotations, finalizers, ownerReferences } = sent;
  const kept = { generateName, labels, annotations, finalizers, ownerReferences };
  return Object.fromEntries(Object.entries(kept).filter(([, value]) => !isEmpty(value)));
}

function isEmpty(value: unknown): boolean {
  if (value === undefined || value === null || value === '') return true;
  return typeof value === 'object' && Object.keys(value).length === 0;
}

export interface Change {
  subresource: '' | 'status';
  /** A PUT whose uid differs is a conflict; a patch that would change it is invalid. */
  by: 'put' | 'patch';
}

/** The object after an update, ready to store. Throws 400, 409 and 422. */
export function prepareUpdate(def: ResourceDef, input: ObjectInput, current: KubeObject, change: Change): KubeObject {
  const next = thaw(input) as KubeObject;
  const name = current.metadata.name;
  checkIdentity(def, next, current, change);
  const sent: Partial<ObjectMeta> = next.metadata ?? {};
  const { uid, creationTimestamp, generation, deletionTimestamp, deletionGracePeriodSeconds, resourceVersion } =
    current.metadata;
  next.metadata = { ...ownedByClient(sent), name, uid, creationTimestamp, resourceVersion };
  if (current.metadata.namespace !== undefined) next.metadata.namespace = current.metadata.namespace;
  if (generation !== undefined) next.metadata.generation = generation;
  if (deletionTimestamp !== undefined) next.metadata.deletionTimestamp = deletionTimestamp;
  if (deletionGracePeriodSeconds !== undefined) next.metadata.deletionGracePeriodSeconds = deletionGracePeriodSeconds;
  const merged = splitStatus(def, next, current, change.subresource);
  const strategy = strategyFor(def.storage);
  strategy.prepareUpdate?.(merged, current);
  const causes = [...labelCauses(merged.metadata), ...finalizerCauses(merged, current)];
  if (change.subresource === '')
    causes.push(...(strategy.validate?.(merged) ?? []), ...(strategy.validateUpdate?.(merged, current) ?? []));
  if (causes.length > 0) throw invalid(def, name, causes);
  if (def.generation && change.subresource === '' && !sameJson(substance(merged), substance(current))) {
    merged.metadata.generation = (current.metadata.generation ?? 0) + 1;
  }
  return merged;
}

function checkIdentity(def: ResourceDef, next: KubeObject, current: KubeObject, change: Change): void {
  const sent: Partial<ObjectMeta> = next.metadata ?? {};
  const { name, uid, resourceVersion } = current.metadata;
  if (sent.name !== undefined && sent.name !== name) {
    throw badRequest(`the name of the object (${sent.name}) does not match the name on the URL (${name})`);
  }
  if (sent.uid && sent.uid !== uid) {
    if (change.by === 'patch') throw invalid(def, name, [badValue('metadata.uid', sent.uid, 'field is immutable')]);
    throw conflict(def, name, `Precondition failed: UID in precondition: ${sent.uid}, UID in object meta: ${uid}`);
  }
  if (!sent.resourceVersion) {
    if (def.unconditionalUpdate) return;
    throw invalid(def, name, [
      {
        reason: 'FieldValueInvalid',
        message: 'Invalid value: 0x0: must be specified for an update',
        field: 'metadata.resourceVersion',
      },
    ]);
  }
  if (sent.resourceVersion !== resourceVersion) throw conflict(def, name, staleUpdate);
}

/** Only /status writes the status of kinds that separate it, and it writes nothing else. */
function splitStatus(def: ResourceDef, next: KubeObject, current: KubeObject, subresource: string): KubeObject {
  if (subresource === 'status') {
    if (def.custom) return { ...thaw(current), status: next.status };
    const { status: _, metadata: __, ...rest } = thaw(current);
    return {
      ...rest,
      apiVersion: current.apiVersion,
      kind: current.kind,
      metadata: next.metadata,
      status: statusOf(next, current),
    };
  }
  if (!def.separateStatus) return next;
  const merged = { ...next };
  if (current.status === undefined) delete merged.status;
  else merged.status = current.status;
  return merged;
}

/** A pod's QoS class is set at creation. */
function statusOf(next: KubeObject, current: KubeObject): KubeObject['status'] {
  const qosClass = current.kind === 'Pod' ? current.status?.['qosClass'] : undefined;
  return qosClass === undefined ? next.status : { ...next.status, qosClass };
}

function finalizerCauses(next: KubeObject, current: KubeObject) {
  if (current.metadata.deletionTimestamp === undefined) return [];
  const before = new Set(current.metadata.finalizers ?? []);
  const added = (next.metadata.finalizers ?? []).filter((finalizer) => !before.has(finalizer));
  if (added.length === 0) return [];
  return [forbiddenField('metadata.finalizers', 'no new finalizers can be added if the object is being deleted')];
}

/** The part that the generation counts: everything except metadata and status. */
function substance(object: KubeObject): object {
  const { metadata: _, status: __, ...rest } = object;
  return rest;
}
