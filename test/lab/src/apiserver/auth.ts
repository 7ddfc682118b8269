// Who a bearer token is, and what that user may do.
//
// Not real authentication: tokens are given at start. An unknown or expired one is 401. A user may do everything
// unless it has `allow` rules (then only those) or a `deny` rule that matches; both are in the shape of RBAC rules, so
// that a component can be run under the role it ships with.

import { ApiError, unauthorized } from './errors.ts';
import type { ResourceRequest } from './path.ts';

/** As in RBAC; '*' matches all. `resources` may name subresources, `pods/eviction`. */
export interface AccessRule {
  apiGroups?: string[];
  resources: string[];
  verbs: string[];
  resourceNames?: string[];
  /** Only in this namespace; absent: in all. */
  namespace?: string;
}

export interface TokenUser {
  user: string;
  token: string;
  groups?: string[];
  /** As in a TokenReview, such as the pod and node that a service account's token is bound to. */
  extra?: { [key: string]: string[] };
  allow?: AccessRule[];
  deny?: AccessRule[];
}

type Asked = Pick<ResourceRequest, 'verb' | 'group' | 'resource' | 'subresource' | 'namespace' | 'name'>;

/** True when a rule covers a request. `apiGroups` absent covers every group. */
export function ruleCovers(rule: AccessRule, asked: Asked): boolean {
  const resource = asked.subresource === '' ? asked.resource : `${asked.resource}/${asked.subresource}`;
  const named = (list: string[], value: string) => list.includes('*') || list.includes(value);
  return (
    named(rule.verbs, asked.verb) &&
    named(rule.resources, resource) &&
    (rule.apiGroups === undefined || named(rule.apiGroups, asked.group)) &&
    (rule.resourceNames === undefined || rule.resourceNames.includes(asked.name)) &&
    (rule.namespace === undefined || rule.namespace === asked.namespace)
  );
}

/** Questions about oneself, which everybody may ask. */
const selfReviews = new Set(['selfsubjectreviews', 'selfsubjectaccessreviews']);

/** True when the user may do this. */
export function mayDo(user: TokenUser, asked: Asked): boolean {
  if (selfReviews.has(asked.resource)) return true;
  if (user.deny?.some((rule) => ruleCovers(rule, asked))) return false;
  return user.allow === undefined || user.allow.some((rule) => ruleCovers(rule, asked));
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

export class Tokens {
  readonly #users: TokenUser[];
  #expired = new Set<string>();

  constructor(users: TokenUser[]) {
    this.#users = users;
  }

  users(): TokenUser[] {
    return [...this.#users];
  }

  /** The user behind a token that is known and not expired. */
  find(token: string | undefined): TokenUser | undefined {
    const found = this.#users.find((entry) => entry.token === token);
    return found === undefined || this.#expired.has(found.token) ? undefined : found;
  }

  /** The user behind an Authorization header. Throws 401. */
  identify(header: string | undefined): TokenUser {
    const token = /^Bearer\s+(\S+)$/i.exec(header ?? '')?.[1];
    const found = this.find(token);
    if (found === undefined) throw unauthorized();
    return found;
  }

  /** From now on this user's token (default: every token) is unknown. */
  expire(user?: string): void {
    for (const entry of this.#users) if (user === undefined || entry.user === user) this.#expired.add(entry.token);
  }

  /** Undoes `expire`. */
  restore(user?: string): void {
    for (const entry of this.#users) if (user === undefined || entry.user === user) this.#expired.delete(entry.token);
  }
}
