/**
 * Who may read: one-time tokens, and the sessions that they open.
 *
 * A session has two secrets. The cookie is HttpOnly, so no script can read it; but a browser sends it to
 * every port of the name. The key is a header that only scripts of the page's own origin can send. Every
 * request for data needs both. Only hashes are kept.
 *
 * Bounds: MAX_TOKENS and MAX_SESSIONS, of which the oldest ends first; SESSION_MS.
 */
import { createHash, randomBytes, timingSafeEqual } from 'node:crypto';

export const MAX_TOKENS = 8;
export const MAX_SESSIONS = 16;
export const SESSION_MS = 12 * 3_600_000;
const SECRET_BYTES = 32;

const hashOf = (secret: string): Buffer => createHash('sha256').update(secret).digest();
const newSecret = (): string => randomBytes(SECRET_BYTES).toString('base64url');

interface Session {
  cookie: Buffer;
  key: Buffer;
  endsMs: number;
}

export interface Opened {
  cookie: string;
  key: string;
}

export class Sessions {
  readonly #nowMs: () => number;
  #tokens: Buffer[] = [];
  #sessions: Session[] = [];

  constructor(nowMs: () => number) {
    this.#nowMs = nowMs;
  }

  /** A token that opens one session. */
  issue(): string {
    const token = newSecret();
    this.#tokens = [...this.#tokens, hashOf(token)].slice(-MAX_TOKENS);
    return token;
  }

  /** Opens a session and uses the token up. Null: the token is wrong, or was used. */
  open(token: string): Opened | null {
    const hash = hashOf(token);
    const left = this.#tokens.filter((one) => !timingSafeEqual(one, hash));
    if (left.length === this.#tokens.length) return null;
    this.#tokens = left;
    const opened = { cookie: newSecret(), key: newSecret() };
    const session = { cookie: hashOf(opened.cookie), key: hashOf(opened.key), endsMs: this.#nowMs() + SESSION_MS };
    this.#sessions = [...this.#sessions, session].slice(-MAX_SESSIONS);
    return opened;
  }

  /** Whether both secrets are those of one open session. */
  isOpen(cookie: string, key: string): boolean {
    const nowMs = this.#nowMs();
    this.#sessions = this.#sessions.filter(({ endsMs }) => endsMs > nowMs);
    const [cookieHash, keyHash] = [hashOf(cookie), hashOf(key)];
    return this.#sessions.some((one) => timingSafeEqual(one.cookie, cookieHash) && timingSafeEqual(one.key, keyHash));
  }
}
