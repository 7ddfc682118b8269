/**
 * API permissions of bus-auth as RBAC rules, each with its reason. A test compares the manifests
 * with this list.
 */

/** A rule of a ClusterRole, with its scope and reason. */
export interface KubeRule {
  apiGroups: readonly string[];
  resources: readonly string[];
  verbs: readonly string[];
  scope: 'cluster';
  why: string;
}

export const KUBE_RULES: readonly KubeRule[] = [
  {
    apiGroups: ['authentication.k8s.io'],
    resources: ['tokenreviews'],
    verbs: ['create'],
    scope: 'cluster',
    why: 'to identify the pod and node of a token; the request stores no object',
  },
];

/** Non-resource paths. */
export const KUBE_PATHS = [
  {
    nonResourceURLs: ['/openid/v1/jwks'],
    verbs: ['get'],
    why: 'the public keys that verify tokens before a TokenReview',
  },
] as const;
