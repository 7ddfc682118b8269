/**
 * Permissions of ipam-sync and bus-auth at the API server, as RBAC rules with the reason of each. Tests
 * compare them with the manifests and with the requests of the services.
 */

/** A rule as in a Role or ClusterRole, with its scope and reason. */
export interface KubeRule {
  apiGroups: readonly string[];
  resources: readonly string[];
  /** Absent: all names. */
  resourceNames?: readonly string[];
  verbs: readonly string[];
  /** `cluster`: ClusterRole; `lease-namespace`: a Role in the namespace of `leaseNamespace`. */
  scope: 'cluster' | 'lease-namespace';
  why: string;
}

/** Plurals of the custom resources that ipam-sync mirrors, all cluster-scoped. */
const MIRRORED_RESOURCES = ['spoofpolicies', 'runtimepolicies', 'correlationrules', 'responsepolicies'] as const;

export const IPAM_SYNC_RULES: readonly KubeRule[] = [
  {
    apiGroups: [''],
    resources: ['pods', 'nodes'],
    verbs: ['list', 'watch'],
    scope: 'cluster',
    why: 'identities of all pods, addresses and pod CIDRs of nodes',
  },
  {
    apiGroups: [''],
    resources: ['services'],
    verbs: ['list', 'watch'],
    scope: 'cluster',
    why: 'UDP ports of Services that nodes may translate to a tunnel port',
  },
  {
    apiGroups: ['discovery.k8s.io'],
    resources: ['endpointslices'],
    verbs: ['list', 'watch'],
    scope: 'cluster',
    why: 'ports and addresses of the endpoints of these Services',
  },
  {
    apiGroups: [''],
    resources: ['namespaces'],
    resourceNames: ['kube-system'],
    verbs: ['get'],
    scope: 'cluster',
    why: 'its UID names the cluster in events',
  },
  {
    apiGroups: [''],
    resources: ['replicationcontrollers'],
    verbs: ['get'],
    scope: 'cluster',
    why: 'compares a pod with the template of its ReplicationController (resolveOwners)',
  },
  {
    apiGroups: ['apps'],
    resources: ['replicasets', 'controllerrevisions'],
    verbs: ['get'],
    scope: 'cluster',
    why: 'compares a pod with the template of its ReplicaSet, StatefulSet or DaemonSet, and finds the Deployment (flag --resolve-owners)',
  },
  {
    apiGroups: ['batch'],
    resources: ['jobs'],
    verbs: ['get'],
    scope: 'cluster',
    why: 'the same for Jobs and CronJobs (resolveOwners)',
  },
  {
    apiGroups: ['bailiff.dev'],
    resources: MIRRORED_RESOURCES,
    verbs: ['list', 'watch'],
    scope: 'cluster',
    why: 'policies and rules written as custom resources, mirrored to the configuration on the bus (mirror)',
  },
  {
    apiGroups: ['bailiff.dev'],
    resources: MIRRORED_RESOURCES.map((plural) => `${plural}/status`),
    verbs: ['patch'],
    scope: 'cluster',
    why: 'writes whether a policy is accepted and where it is in force; no other field is written',
  },
  {
    apiGroups: ['coordination.k8s.io'],
    resources: ['leases'],
    verbs: ['create'],
    scope: 'lease-namespace',
    why: 'the first replica creates the Lease of the election; RBAC cannot restrict create by name',
  },
  {
    apiGroups: ['coordination.k8s.io'],
    resources: ['leases'],
    resourceNames: ['bailiff-ipam-sync'],
    verbs: ['get', 'update'],
    scope: 'lease-namespace',
    why: 'acquires, renews and releases the Lease (leaseName)',
  },
];

/**
 * Additional permissions if `unguardedNodes.taint` is on. k8s/components/taint-unguarded grants
 * them.
 */
export const TAINT_RULES: readonly KubeRule[] = [
  {
    apiGroups: [''],
    resources: ['nodes'],
    verbs: ['patch'],
    scope: 'cluster',
    why: 'changes the taint of nodes that no collector guards; RBAC cannot restrict this to taints, but the admission policy of the component does',
  },
];

export const BUS_AUTH_RULES: readonly KubeRule[] = [
  {
    apiGroups: ['authentication.k8s.io'],
    resources: ['tokenreviews'],
    verbs: ['create'],
    scope: 'cluster',
    why: 'to identify the pod and node of a token; the request stores no object',
  },
];

/** Non-resource paths of bus-auth. */
export const BUS_AUTH_PATHS = [
  {
    nonResourceURLs: ['/openid/v1/jwks'],
    verbs: ['get'],
    why: 'the public keys that verify tokens before a TokenReview',
  },
] as const;
