/**
 * Reconnects with a fresh token before the server drops the connection because its token expired.
 *
 * connect.ts starts it for connections by token. The kubelet replaces a projected token at 80 % of
 * its lifetime. From 85 % on, at a random time per process, the file is checked, and a different
 * token triggers a reconnect. If there is no new token, the server ends the connection when the old
 * one expires, and the ordinary reconnect retries.
 */
const RENEW_FROM = 0.85;
/** Spreads the reconnects of a fleet that was rolled out at once. */
const RENEW_SPREAD = 0.1;
/** Interval of checks while the file still holds the old token, and its lower bound. */
const LOOK_EVERY_MS = 10_000;
const LEAST_MS = 250;

/** The last time that a Date can hold, in seconds. */
const LAST_S = 8.64e12;

/**
 * Lifetime of a token in ms since 1970; null if it cannot be parsed. Nothing is verified here: the
 * server does that.
 */
export function lifeOfToken(token: string): { fromMs: number; untilMs: number } | null {
  try {
    const payload = Buffer.from(token.split('.')[1] ?? '', 'base64url').toString('utf8');
    const { iat, exp } = JSON.parse(payload) as { iat?: unknown; exp?: unknown };
    if (typeof iat !== 'number' || typeof exp !== 'number' || !(exp > iat)) return null;
    if (iat < 0 || exp > LAST_S) return null;
    return { fromMs: iat * 1000, untilMs: exp * 1000 };
  } catch {
    return null;
  }
}

/** When to replace a token; `spread` is in [0, 1). */
export function renewAtMs(life: { fromMs: number; untilMs: number }, spread: number): number {
  return life.fromMs + (life.untilMs - life.fromMs) * (RENEW_FROM + RENEW_SPREAD * spread);
}

export class TokenRenewal {
  readonly #newest: () => string;
  readonly #reconnect: () => void;
  readonly #spread = Math.random();
  #timer: NodeJS.Timeout | null = null;
  #token = '';
  /** Number of reconnects with a fresh token. */
  renewals = 0;

  /** @param newest returns the token that the file holds now */
  constructor(newest: () => string, reconnect: () => void) {
    this.#newest = newest;
    this.#reconnect = reconnect;
  }

  /** The connection was established with this token. */
  connected(token: string): void {
    this.stop();
    this.#token = token;
    const life = lifeOfToken(token);
    if (life) this.#wait(renewAtMs(life, this.#spread) - Date.now());
  }

  stop(): void {
    if (this.#timer) clearTimeout(this.#timer);
    this.#timer = null;
  }

  #wait(ms: number): void {
    // The maximum delay of a timer; the token is checked again then.
    const waitMs = Math.min(Math.max(ms, LEAST_MS), 0x7fffffff);
    this.#timer = setTimeout(() => this.#look(), waitMs);
    this.#timer.unref();
  }

  #look(): void {
    if (this.#newest() !== this.#token) {
      this.renewals += 1;
      this.#reconnect();
      return;
    }
    const life = lifeOfToken(this.#token);
    if (!life) return;
    const leftMs = life.untilMs - Date.now();
    const early = renewAtMs(life, this.#spread) > Date.now();
    if (leftMs > 0) this.#wait(early ? leftMs : Math.min(LOOK_EVERY_MS, leftMs / 4));
  }
}
