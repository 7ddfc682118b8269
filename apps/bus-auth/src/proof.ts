/**
 * Whether a token was signed by the API server, told from its public keys: what nobody but the API server can have made is told from
 * what anybody can type, before a question is spent on it.
 *
 * Place in the path: examine (decide.ts) → here → a lane of questions to the API server. Invariants: this lets nobody in, TokenReview
 * alone does; a key that is not known proves nothing, and refuses nobody. Bounds: MAX_KEYS keys; they are fetched at start, every
 * REFRESH_MS, and for a key id that is not known, but never more often than every LEAST_REFRESH_MS.
 */
import { createPublicKey, type JsonWebKey, type KeyObject, verify } from 'node:crypto';

/** Where an API server publishes them, whatever else it calls its issuer. */
export const KEYS_PATH = '/openid/v1/jwks';
/** A server has one, and two while it changes it. */
export const MAX_KEYS = 32;
export const REFRESH_MS = 300_000;
export const LEAST_REFRESH_MS = 5_000;

/** `forged`: it names a key of the API server that did not sign it. `unproven`: by what is known here it may be either. */
export type Proof = 'proven' | 'forged' | 'unproven';

/** By JWS `alg`: key type and hash. What stands here is all that is looked at. */
const ALGORITHMS: Readonly<Record<string, { type: string; hash: string }>> = {
  RS256: { type: 'rsa', hash: 'sha256' },
  RS384: { type: 'rsa', hash: 'sha384' },
  RS512: { type: 'rsa', hash: 'sha512' },
  ES256: { type: 'ec', hash: 'sha256' },
  ES384: { type: 'ec', hash: 'sha384' },
  ES512: { type: 'ec', hash: 'sha512' },
};

/** Keys by their id. What cannot be read, or is for something else, is left out. */
export function keysOf(document: unknown): Map<string, KeyObject> {
  const found = new Map<string, KeyObject>();
  const { keys } = (document ?? {}) as { keys?: unknown };
  for (const one of Array.isArray(keys) ? (keys as (JsonWebKey & { kid?: unknown; use?: unknown })[]) : []) {
    if (found.size >= MAX_KEYS) break;
    if (typeof one?.kid !== 'string' || (one.use ?? 'sig') !== 'sig') continue;
    try {
      found.set(one.kid, createPublicKey({ key: one, format: 'jwk' }));
    } catch {
      // Of a kind that this Node does not know: its tokens are unproven.
    }
  }
  return found;
}

/** Id of the key that a token says it was signed by, and how; null when it says neither. */
function headOf(token: string): { kid: string; alg: string } | null {
  try {
    const { kid, alg } = JSON.parse(Buffer.from(token.split('.')[0] ?? '', 'base64url').toString('utf8')) as Record<
      string,
      unknown
    >;
    return typeof kid === 'string' && typeof alg === 'string' ? { kid, alg } : null;
  } catch {
    return null;
  }
}

/** Judges the signature of a token of three parts. */
export function prove(token: string, keys: ReadonlyMap<string, KeyObject>): Proof {
  const head = headOf(token);
  const key = head && keys.get(head.kid);
  if (!key) return 'unproven';
  const algorithm = ALGORITHMS[head.alg];
  if (!algorithm || key.asymmetricKeyType !== algorithm.type) return 'forged';
  const end = token.lastIndexOf('.');
  const signature = Buffer.from(token.slice(end + 1), 'base64url');
  const how = { key, dsaEncoding: 'ieee-p1363' as const };
  return verify(algorithm.hash, Buffer.from(token.slice(0, end)), how, signature) ? 'proven' : 'forged';
}

/** The keys as they were fetched last, and when to fetch them again. */
export class SigningKeys {
  readonly #fetch: () => Promise<unknown>;
  #keys: ReadonlyMap<string, KeyObject> = new Map();
  #askedAtMs = Number.NEGATIVE_INFINITY;
  #asking: Promise<void> | null = null;

  /** @param fetch answers the JWKS document; what it throws leaves the keys as they were */
  constructor(fetch: () => Promise<unknown>) {
    this.#fetch = fetch;
  }

  get size(): number {
    return this.#keys.size;
  }

  /** Judges a token; one that may be of a newer key has them fetched for the next attempt. */
  prove(token: string, nowMs: number): Proof {
    const proof = prove(token, this.#keys);
    if (proof === 'unproven' && nowMs - this.#askedAtMs >= LEAST_REFRESH_MS) void this.refresh(nowMs);
    return proof;
  }

  isDue(nowMs: number): boolean {
    return nowMs - this.#askedAtMs >= REFRESH_MS;
  }

  /** Resolves when asked for; never rejects. */
  refresh(nowMs: number): Promise<void> {
    this.#askedAtMs = nowMs;
    this.#asking ??= this.#fetch()
      .then(
        (document) => {
          this.#keys = keysOf(document);
        },
        () => undefined,
      )
      .finally(() => {
        this.#asking = null;
      });
    return this.#asking;
  }
}
