/**
 * Reconnects with a fresh token before the server drops the connection whose token ends.
 *
 * Place in the path: connect.ts starts it for a connection by token. The kubelet replaces a projected token at 80 % of its life; from
 * 85 % on, each process at a time of its own, the file is looked at, and a token that is another one is taken by a reconnect. Where the
 * file has none, the server ends the connection when the token does, and the ordinary reconnect goes on until there is one.
 */
const RENEW_FROM = 0.85;
/** So that a fleet that was rolled out at once does not come back at once. */
const RENEW_SPREAD = 0.1;
/** While the file still has the old one, it is looked at this often; and never more often than that. */
const LOOK_EVERY_MS = 10_000;
const LEAST_MS = 250;

/** Times of a token in ms since 1970; null when it says none that can be read. Nothing is verified: the server does that. */
export function lifeOfToken(token: string): { fromMs: number; untilMs: number } | null {
  try {
    const payload = Buffer.from(token.split('.')[1] ?? '', 'base64url').toString('utf8');
    const { iat, exp } = JSON.parse(payload) as { iat?: unknown; exp?: unknown };
    if (typeof iat !== 'number' || typeof exp !== 'number' || !(exp > iat)) return null;
    return { fromMs: iat * 1000, untilMs: exp * 1000 };
  } catch {
    return null;
  }
}

/** When a token is to be replaced; `spread` in [0, 1). */
export function renewAtMs(life: { fromMs: number; untilMs: number }, spread: number): number {
  return life.fromMs + (life.untilMs - life.fromMs) * (RENEW_FROM + RENEW_SPREAD * spread);
}

export class TokenRenewal {
  readonly #newest: () => string;
  readonly #reconnect: () => void;
  readonly #spread = Math.random();
  #timer: NodeJS.Timeout | null = null;
  #token = '';
  /** Reconnects for a fresh token. */
  renewals = 0;

  /** @param newest the token as the file has it now */
  constructor(newest: () => string, reconnect: () => void) {
    this.#newest = newest;
    this.#reconnect = reconnect;
  }

  /** The connection is up by this token. */
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
    // Longer than a timer can count: looked at again then.
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
