/**
 * Authentication: bearer token → user. Tokens of users are passed in at start; tokens of service
 * accounts come from the TokenRequest API (tokens.ts). An unknown or expired token is 401.
 */
import { unauthorized } from '../errors.ts';
import { apiAudience, type Reviewed, type ServiceAccountTokens } from './tokens.ts';
import type { TokenUser } from './users.ts';

export class Tokens {
  readonly #users: TokenUser[];
  readonly #accounts: ServiceAccountTokens;
  #expired = new Set<string>();

  constructor(users: TokenUser[], accounts: ServiceAccountTokens) {
    this.#users = users;
    this.#accounts = accounts;
  }

  /** As at `/openid/v1/jwks`. */
  publicKeys(): object {
    return this.#accounts.publicKeys();
  }

  users(): TokenUser[] {
    return [...this.#users];
  }

  /** The user of a token for these audiences (default: the server's own), or the error. */
  review(token: string, audiences: string[] = [apiAudience]): Reviewed {
    const found = this.#users.find((entry) => entry.token === token);
    if (found === undefined) return this.#accounts.review(token, audiences) ?? { error: 'invalid bearer token' };
    if (this.#expired.has(found.token)) return { error: 'invalid bearer token' };
    // Static tokens have no audience; they are valid for the server's own.
    if (audiences.includes(apiAudience)) return { user: found, audiences: [apiAudience] };
    return { error: `token audiences ["${apiAudience}"] is invalid for the target audiences` };
  }

  /** The user behind an Authorization header. Throws 401. */
  identify(header: string | undefined): TokenUser {
    const token = /^Bearer\s+(\S+)$/i.exec(header ?? '')?.[1];
    const reviewed = token === undefined ? undefined : this.review(token);
    if (reviewed === undefined || 'error' in reviewed) throw unauthorized();
    return reviewed.user;
  }

  /** Makes this user's token (default: every token) unknown. */
  expire(user?: string): void {
    for (const entry of this.#users) if (user === undefined || entry.user === user) this.#expired.add(entry.token);
  }

  /** Undoes `expire`. */
  restore(user?: string): void {
    for (const entry of this.#users) if (user === undefined || entry.user === user) this.#expired.delete(entry.token);
  }
}
