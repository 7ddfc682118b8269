/**
 * API permissions of the cluster's console as RBAC rules, each with its reason. A test compares the
 * chart with this list.
 */
export const KUBE_RULES = [
  {
    apiGroups: ['authentication.k8s.io'],
    resources: ['tokenreviews'],
    verbs: ['create'],
    why: 'to identify a visitor by a token; the request stores no object',
  },
  {
    apiGroups: ['authorization.k8s.io'],
    resources: ['subjectaccessreviews'],
    verbs: ['create'],
    why: 'what a visitor may see; the request stores no object',
  },
  {
    apiGroups: [''],
    resources: ['namespaces'],
    verbs: ['list'],
    why: 'the namespaces that a visitor may be allowed to see',
  },
] as const;

/** What a visitor needs to change something here, as with kubectl. The console itself has no such right. */
export const EDITOR_RULE = {
  apiGroups: ['bailiff.dev'],
  resources: ['correlationrules', 'responsepolicies', 'runtimepolicies', 'spoofpolicies'],
  verbs: ['get', 'list', 'watch', 'create', 'update', 'patch'],
} as const;

/** What a visitor needs. Names of the resource exist in roles only. */
export const VIEWER_RULE = { apiGroups: ['bailiff.dev'], resources: ['violations'], verbs: ['get'] } as const;
