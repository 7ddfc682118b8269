/**
 * Behaviour per kind beyond the switches of resources.ts: defaults, validation, grace period.
 * `prepareCreate` and `prepareUpdate` may change the object before validation; a strategy never
 * accesses the store. Kinds without an entry have no special behaviour.
 */
import type { StatusCause } from '../errors.ts';
import { type KubeObject, listAt, sameJson, textAt } from '../types.ts';
import { crdCauses, defaultCrd, keepCrdStatus } from './crds.ts';
import { badValue, forbiddenField } from './names.ts';
import { defaultPod, podCauses, podGraceSeconds, podUpdateCauses } from './pods.ts';

export interface Strategy {
  prepareCreate?(object: KubeObject, nowText: string): void;
  prepareUpdate?(next: KubeObject, current: KubeObject): void;
  validate?(object: KubeObject): StatusCause[];
  validateUpdate?(next: KubeObject, current: KubeObject): StatusCause[];
  /** Present on kinds with graceful deletion. */
  graceSeconds?(object: KubeObject, requestedSeconds: number | undefined): number;
}

const namespaces: Strategy = {
  prepareCreate(object) {
    object.spec = { finalizers: ['kubernetes'] };
    object.status = { phase: 'Active' };
    const name = object.metadata.name;
    object.metadata.labels = { ...object.metadata.labels, 'kubernetes.io/metadata.name': name };
  },
  prepareUpdate(next, current) {
    next.spec = current.spec;
  },
};

const events: Strategy = {
  prepareCreate(object) {
    object['source'] ??= {};
    object['eventTime'] ??= null;
    object['reportingComponent'] ??= '';
    object['reportingInstance'] ??= '';
    for (const field of ['firstTimestamp', 'lastTimestamp']) object[field] ??= null;
  },
  validate(object) {
    const involved = textAt(object, 'involvedObject', 'namespace');
    const own = object.metadata.namespace ?? '';
    if (involved === own || (involved === '' && own === 'default')) return [];
    return [badValue('involvedObject.namespace', involved, 'does not match event.namespace')];
  },
};

const poddisruptionbudgets: Strategy = {
  prepareCreate(object) {
    object.status = { disruptionsAllowed: 0, currentHealthy: 0, desiredHealthy: 0, expectedPods: 0 };
  },
  validate(object) {
    if (object.spec?.['minAvailable'] === undefined || object.spec['maxUnavailable'] === undefined) return [];
    return [badValue('spec', object.spec, 'minAvailable and maxUnavailable cannot be both set')];
  },
};

const nodes: Strategy = {
  prepareCreate(object) {
    object.spec ??= {};
    object.status ??= {};
  },
  validateUpdate(next, current) {
    const before = listAt<string>(current, 'spec', 'podCIDRs');
    if (before.length === 0 || sameJson(before, listAt<string>(next, 'spec', 'podCIDRs'))) return [];
    return [forbiddenField('spec.podCIDRs', 'node updates may not change podCIDR except from "" to valid')];
  },
};

const pods: Strategy = {
  prepareCreate: defaultPod,
  validate: podCauses,
  validateUpdate: podUpdateCauses,
  graceSeconds: podGraceSeconds,
};

const strategies: { [storage: string]: Strategy } = {
  pods,
  nodes,
  namespaces,
  events,
  'poddisruptionbudgets.policy': poddisruptionbudgets,
  'customresourcedefinitions.apiextensions.k8s.io': {
    prepareCreate: defaultCrd,
    prepareUpdate: keepCrdStatus,
    validate: crdCauses,
  },
};

/** The strategy of the kind in this bucket. */
export function strategyFor(storage: string): Strategy {
  return Object.hasOwn(strategies, storage) ? strategies[storage]! : {};
}
