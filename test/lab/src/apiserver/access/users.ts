/**
 * Users of the API server stand-in and their permissions. A user may do everything unless it has
 * `allow` rules (then only those) or a matching `deny` rule. Rules have the shape of RBAC rules, so
 * that a component runs with the role it ships with. Pure.
 */
import { ApiError } from '../errors.ts';
import type { ResourceRequest } from '../request/path.ts';

/** As in RBAC; '*' matches all. `resources` may name subresources, `pods/eviction`. */
export interface AccessRule {
  apiGroups?: string[];
  resources: string[];
  verbs: string[];
  resourceNames?: string[];
  /** Namespace of the rule; absent: all. */
  namespace?: string;
  /** Non-resource paths; `resources` is then empty. */
  nonResourceURLs?: string[];
}

export interface TokenUser {
  user: string;
  token: string;
  uid?: string;
  groups?: string[];
  /** As in a TokenReview, such as the pod and node that a service account's token is bound to. */
  extra?: { [key: string]: string[] };
  allow?: AccessRule[];
  deny?: AccessRule[];
}

type Asked = Pick<ResourceRequest, 'verb' | 'group' | 'resource' | 'subresource' | 'namespace' | 'name'>;

/** True if a rule covers a request. Without `apiGroups` it covers every group. */
export function ruleCovers(rule: AccessRule, asked: Asked): boolean {
  const resource = asked.subresource === '' ? asked.resource : `${asked.resource}/${asked.subresource}`;
  const covers = (list: string[], value: string) => list.includes('*') || list.includes(value);
  return (
    covers(rule.verbs, asked.verb) &&
    covers(rule.resources, resource) &&
    (rule.apiGroups === undefined || covers(rule.apiGroups, asked.group)) &&
    (rule.resourceNames === undefined || rule.resourceNames.includes(asked.name)) &&
    (rule.namespace === undefined || rule.namespace === asked.namespace)
  );
}

/** Reviews of oneself, permitted for every user. */
const selfReviews = new Set(['selfsubjectreviews', 'selfsubjectaccessreviews']);

/** True if the user has the permission. */
export function mayDo(user: TokenUser, asked: Asked): boolean {
  if (selfReviews.has(asked.resource)) return true;
  if (user.deny?.some((rule) => ruleCovers(rule, asked))) return false;
  return user.allow === undefined || user.allow.some((rule) => ruleCovers(rule, asked));
}

/** True if the user may read a non-resource path. */
export function mayGet(user: TokenUser, path: string): boolean {
  return user.allow === undefined || user.allow.some((rule) => rule.nonResourceURLs?.includes(path));
}

/** The 403 of a real server for a non-resource path. */
export function forbiddenPath(user: TokenUser, path: string): ApiError {
  return new ApiError(403, 'Forbidden', `forbidden: User "${user.user}" cannot get path "${path}"`);
}

/** The 403 of a real server. */
export function forbidden(user: TokenUser, asked: Asked): ApiError {
  const full = asked.subresource === '' ? asked.resource : `${asked.resource}/${asked.subresource}`;
  const where = asked.namespace === '' ? 'at the cluster scope' : `in the namespace "${asked.namespace}"`;
  const subject = asked.group === '' ? asked.resource : `${asked.resource}.${asked.group}`;
  const name = asked.name === '' ? '' : ` "${asked.name}"`;
  const message = `${subject}${name} is forbidden: User "${user.user}" cannot ${asked.verb} resource "${full}" in API group "${asked.group}" ${where}`;
  return new ApiError(403, 'Forbidden', message, {
    ...(asked.name === '' ? {} : { name: asked.name }),
    ...(asked.group === '' ? {} : { group: asked.group }),
    kind: asked.resource,
  });
}
