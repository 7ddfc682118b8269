/**
 * Built-in resources of the stand-in. A definition is data: names for discovery, and the switches
 * in which real resources differ (status on create, update without version, response to a delete).
 * Other behaviour is in strategies.ts under the definition's `storage` name.
 */
import type { JsonObject } from '../types.ts';

export type Verb = 'get' | 'list' | 'watch' | 'create' | 'update' | 'patch' | 'delete' | 'deletecollection';

export interface Subresource {
  name: string;
  /** Group, version and kind of the body if they differ from the parent's. */
  group?: string;
  version?: string;
  kind?: string;
  verbs: Verb[];
}

export interface ResourceDef {
  group: string;
  version: string;
  plural: string;
  singular: string;
  kind: string;
  listKind: string;
  namespaced: boolean;
  shortNames: string[];
  categories: string[];
  verbs: Verb[];
  subresources: Subresource[];
  /** Bucket in the store; definitions with the same storage show the same objects. */
  storage: string;
  /** Spec changes raise metadata.generation. */
  generation: boolean;
  /** Status sent with a create is kept (nodes and a few others). */
  statusOnCreate: boolean;
  /** Writes to the main path ignore status; /status ignores the rest. */
  separateStatus: boolean;
  /** An update without resourceVersion is accepted. */
  unconditionalUpdate: boolean;
  /** PUT of an absent object creates it. */
  createOnUpdate: boolean;
  /** DELETE returns the object instead of a Status. */
  returnsDeleted: boolean;
  /** A custom resource: no strategic merge patch, kind on each item of a list. */
  custom: boolean;
  /** openAPIV3Schema of a custom resource. */
  schema?: JsonObject;
}

export const allVerbs: Verb[] = ['create', 'delete', 'deletecollection', 'get', 'list', 'patch', 'update', 'watch'];

const statusSubresource: Subresource = { name: 'status', verbs: ['get', 'patch', 'update'] };

const evictionSubresource: Subresource = {
  name: 'eviction',
  group: 'policy',
  version: 'v1',
  kind: 'Eviction',
  verbs: ['create'],
};

const tokenSubresource: Subresource = {
  name: 'token',
  group: 'authentication.k8s.io',
  version: 'v1',
  kind: 'TokenRequest',
  verbs: ['create'],
};

type Seed = Pick<ResourceDef, 'group' | 'version' | 'plural' | 'kind' | 'namespaced'> & Partial<ResourceDef>;

/** Completes a definition with defaults. */
export function defineResource(seed: Seed): ResourceDef {
  return {
    singular: seed.kind.toLowerCase(),
    listKind: `${seed.kind}List`,
    shortNames: [],
    categories: [],
    verbs: allVerbs,
    subresources: [],
    storage: seed.group === '' ? seed.plural : `${seed.plural}.${seed.group}`,
    generation: false,
    statusOnCreate: false,
    separateStatus: (seed.subresources ?? []).some((sub) => sub.name === 'status'),
    unconditionalUpdate: true,
    createOnUpdate: false,
    returnsDeleted: false,
    custom: false,
    ...seed,
  };
}

function workload(plural: string, kind: string, shortName: string): ResourceDef {
  return defineResource({
    group: 'apps',
    version: 'v1',
    plural,
    kind,
    namespaced: true,
    shortNames: [shortName],
    categories: ['all'],
    subresources: [statusSubresource],
    generation: true,
  });
}

/** Stored kinds without behaviour, so that manifests can be applied. */
function kept(
  group: string,
  version: string,
  plural: string,
  kind: string,
  more: Partial<ResourceDef> = {},
): ResourceDef {
  return defineResource({ group, version, plural, kind, namespaced: true, ...more });
}

const admission = (plural: string, kind: string, subresources: Subresource[]) =>
  kept('admissionregistration.k8s.io', 'v1', plural, kind, { namespaced: false, generation: true, subresources });

/** The built-in resources in the order of discovery. */
export const builtinResources: ResourceDef[] = [
  defineResource({
    group: '',
    version: 'v1',
    plural: 'configmaps',
    kind: 'ConfigMap',
    namespaced: true,
    shortNames: ['cm'],
  }),
  defineResource({
    group: '',
    version: 'v1',
    plural: 'events',
    kind: 'Event',
    namespaced: true,
    shortNames: ['ev'],
    createOnUpdate: true,
  }),
  defineResource({
    group: '',
    version: 'v1',
    plural: 'namespaces',
    kind: 'Namespace',
    namespaced: false,
    shortNames: ['ns'],
    subresources: [statusSubresource],
    returnsDeleted: true,
    verbs: allVerbs.filter((verb) => verb !== 'deletecollection'),
  }),
  defineResource({
    group: '',
    version: 'v1',
    plural: 'nodes',
    kind: 'Node',
    namespaced: false,
    shortNames: ['no'],
    subresources: [statusSubresource],
    statusOnCreate: true,
  }),
  defineResource({
    group: '',
    version: 'v1',
    plural: 'pods',
    kind: 'Pod',
    namespaced: true,
    shortNames: ['po'],
    categories: ['all'],
    subresources: [evictionSubresource, statusSubresource],
    returnsDeleted: true,
  }),
  defineResource({
    group: '',
    version: 'v1',
    plural: 'serviceaccounts',
    kind: 'ServiceAccount',
    namespaced: true,
    shortNames: ['sa'],
    subresources: [tokenSubresource],
    returnsDeleted: true,
  }),
  kept('', 'v1', 'persistentvolumeclaims', 'PersistentVolumeClaim', {
    shortNames: ['pvc'],
    subresources: [statusSubresource],
    returnsDeleted: true,
  }),
  kept('', 'v1', 'resourcequotas', 'ResourceQuota', {
    shortNames: ['quota'],
    subresources: [statusSubresource],
    returnsDeleted: true,
  }),
  kept('', 'v1', 'secrets', 'Secret'),
  kept('', 'v1', 'services', 'Service', {
    shortNames: ['svc'],
    categories: ['all'],
    subresources: [statusSubresource],
    returnsDeleted: true,
  }),
  admission('validatingadmissionpolicies', 'ValidatingAdmissionPolicy', [statusSubresource]),
  admission('validatingadmissionpolicybindings', 'ValidatingAdmissionPolicyBinding', []),
  defineResource({
    group: 'apiextensions.k8s.io',
    version: 'v1',
    plural: 'customresourcedefinitions',
    kind: 'CustomResourceDefinition',
    namespaced: false,
    shortNames: ['crd', 'crds'],
    categories: ['api-extensions'],
    subresources: [statusSubresource],
    generation: true,
    unconditionalUpdate: false,
  }),
  kept('apps', 'v1', 'controllerrevisions', 'ControllerRevision'),
  workload('daemonsets', 'DaemonSet', 'ds'),
  workload('deployments', 'Deployment', 'deploy'),
  workload('replicasets', 'ReplicaSet', 'rs'),
  workload('statefulsets', 'StatefulSet', 'sts'),
  kept('batch', 'v1', 'cronjobs', 'CronJob', {
    shortNames: ['cj'],
    categories: ['all'],
    subresources: [statusSubresource],
    generation: true,
  }),
  kept('batch', 'v1', 'jobs', 'Job', { categories: ['all'], subresources: [statusSubresource], generation: true }),
  defineResource({
    group: 'events.k8s.io',
    version: 'v1',
    plural: 'events',
    kind: 'Event',
    namespaced: true,
    shortNames: ['ev'],
    storage: 'events',
    createOnUpdate: true,
  }),
  defineResource({
    group: 'coordination.k8s.io',
    version: 'v1',
    plural: 'leases',
    kind: 'Lease',
    namespaced: true,
    unconditionalUpdate: false,
    createOnUpdate: true,
  }),
  defineResource({
    group: 'networking.k8s.io',
    version: 'v1',
    plural: 'networkpolicies',
    kind: 'NetworkPolicy',
    singular: 'networkpolicy',
    namespaced: true,
    shortNames: ['netpol'],
    generation: true,
  }),
  defineResource({
    group: 'policy',
    version: 'v1',
    plural: 'poddisruptionbudgets',
    kind: 'PodDisruptionBudget',
    namespaced: true,
    shortNames: ['pdb'],
    subresources: [statusSubresource],
    generation: true,
    unconditionalUpdate: false,
  }),
  kept('discovery.k8s.io', 'v1', 'endpointslices', 'EndpointSlice', { generation: true }),
  kept('flowcontrol.apiserver.k8s.io', 'v1', 'flowschemas', 'FlowSchema', {
    namespaced: false,
    subresources: [statusSubresource],
    generation: true,
  }),
  kept('rbac.authorization.k8s.io', 'v1', 'clusterrolebindings', 'ClusterRoleBinding', { namespaced: false }),
  kept('rbac.authorization.k8s.io', 'v1', 'clusterroles', 'ClusterRole', { namespaced: false }),
  kept('rbac.authorization.k8s.io', 'v1', 'rolebindings', 'RoleBinding'),
  kept('rbac.authorization.k8s.io', 'v1', 'roles', 'Role'),
  kept('scheduling.k8s.io', 'v1', 'priorityclasses', 'PriorityClass', {
    namespaced: false,
    shortNames: ['pc'],
    generation: true,
  }),
];

const review = (group: string, plural: string, kind: string): ResourceDef =>
  defineResource({ group, version: 'v1', plural, kind, namespaced: false, verbs: ['create'] });

/** The review resources in the order of discovery. */
export const reviewResources: ResourceDef[] = [
  review('authentication.k8s.io', 'selfsubjectreviews', 'SelfSubjectReview'),
  review('authentication.k8s.io', 'tokenreviews', 'TokenReview'),
  review('authorization.k8s.io', 'selfsubjectaccessreviews', 'SelfSubjectAccessReview'),
  review('authorization.k8s.io', 'subjectaccessreviews', 'SubjectAccessReview'),
];

/** `v1` or `group/version`. */
export function apiVersionOf(def: Pick<ResourceDef, 'group' | 'version'>): string {
  return def.group === '' ? def.version : `${def.group}/${def.version}`;
}
