/**
 * Verifies token signatures with the API server's public keys, so that forged tokens cost no
 * TokenReview.
 *
 * decide.ts (`examine`) → here → fair-queue.ts. A verified signature grants nothing: only a
 * TokenReview does. An unknown key proves nothing and refuses nothing. Limits: MAX_KEYS keys;
 * fetched at start, every REFRESH_MS, and for an unknown key id at most every LEAST_REFRESH_MS.
 */
import { createPublicKey, type JsonWebKey, type KeyObject, verify } from 'node:crypto';

/** Path of the API server's keys, independent of its issuer URL. */
export const KEYS_PATH = '/openid/v1/jwks';
/** A server has one key, and two during a rotation. */
export const MAX_KEYS = 32;
export const REFRESH_MS = 300_000;
export const LEAST_REFRESH_MS = 5_000;

/** `forged`: names a key of the API server but is not signed by it. `unproven`: could be either. */
export type Proof = 'proven' | 'forged' | 'unproven';

/** Values of JWS `alg` with which API servers sign: key type and hash. */
const ALGORITHMS: Readonly<Record<string, { type: string; hash: string }>> = {
  RS256: { type: 'rsa', hash: 'sha256' },
  RS384: { type: 'rsa', hash: 'sha384' },
  RS512: { type: 'rsa', hash: 'sha512' },
  ES256: { type: 'ec', hash: 'sha256' },
  ES384: { type: 'ec', hash: 'sha384' },
  ES512: { type: 'ec', hash: 'sha512' },
};

const KEY_TYPES = new Set<string | undefined>(Object.values(ALGORITHMS).map(({ type }) => type));

/**
 * Keys by id. Unreadable keys, keys for other uses and keys of other types are skipped: their
 * tokens stay unproven.
 */
export function keysOf(document: unknown): Map<string, KeyObject> {
  const found = new Map<string, KeyObject>();
  const { keys } = (document ?? {}) as { keys?: unknown };
  for (const one of Array.isArray(keys) ? (keys as (JsonWebKey & { kid?: unknown; use?: unknown })[]) : []) {
    if (found.size >= MAX_KEYS) break;
    if (typeof one?.kid !== 'string' || (one.use ?? 'sig') !== 'sig') continue;
    try {
      const key = createPublicKey({ key: one, format: 'jwk' });
      if (KEY_TYPES.has(key.asymmetricKeyType)) found.set(one.kid, key);
    } catch {
      // Unreadable.
    }
  }
  return found;
}

/** Key id and algorithm in the token's header; null if either is missing. */
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

/** Verifies the signature of a three-part token. */
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

/** The last fetched keys, and when to fetch them again. */
export class SigningKeys {
  readonly #fetch: () => Promise<unknown>;
  #keys: ReadonlyMap<string, KeyObject> = new Map();
  #askedAtMs = Number.NEGATIVE_INFINITY;
  #asking: Promise<void> | null = null;

  /** @param fetch returns the JWKS document; on an exception the current keys stay */
  constructor(fetch: () => Promise<unknown>) {
    this.#fetch = fetch;
  }

  get size(): number {
    return this.#keys.size;
  }

  /** Verifies a token. For an unknown key, a fetch is started for the next attempt. */
  prove(token: string, nowMs: number): Proof {
    const proof = prove(token, this.#keys);
    if (proof === 'unproven' && nowMs - this.#askedAtMs >= LEAST_REFRESH_MS) void this.refresh(nowMs);
    return proof;
  }

  isDue(nowMs: number): boolean {
    return nowMs - this.#askedAtMs >= REFRESH_MS;
  }

  /** Resolves after the fetch; never rejects. */
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
