/**
 * What bus-auth asks of the API server, as RBAC rules, each with the reason. Manifests are compared with this list by test, so a call
 * that is added somewhere is named here too.
 */

/** As in a ClusterRole, with where it applies and why. */
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
    why: 'whose token a collector shows, and on which node it runs; nothing is read or changed by it',
  },
];

/** Paths that are no resources. */
export const KUBE_PATHS = [
  {
    nonResourceURLs: ['/openid/v1/jwks'],
    verbs: ['get'],
    why: 'the public keys by which a token is told from what anybody can type, before a question is spent on it',
  },
] as const;
