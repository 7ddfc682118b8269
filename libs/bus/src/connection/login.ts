/**
 * Credentials for each connection attempt, and the wait after a refused one. A password or token
 * file is read again at each attempt, so a rotation needs no restart.
 */
import { backoffMs } from '@bailiff/service/retry';
import { type Authenticator, usernamePasswordAuthenticator } from '@nats-io/nats-core';
import { SecretFile } from './secret-file.ts';

export interface Credentials {
  user: string;
  /**
   * Set one of `password`, `passwordFile` and `tokenFile`. A file keeps the secret out of the
   * environment and the process list.
   */
  password?: string;
  /**
   * One password a line, newest first, tried in turn. During a rotation the file holds the next
   * password before the server accepts it.
   */
  passwordFile?: string;
  /**
   * A token that expires, such as a projected ServiceAccount token. The client reconnects with a
   * fresh token before that.
   */
  tokenFile?: string;
}

/**
 * Wait before the next attempt: long enough to spare a restarted server a thousand nodes at once,
 * and short compared with its restart.
 */
const RECONNECT_WAIT_MS = 250;
const RECONNECT_JITTER_MS = 250;
/**
 * Upper bound of the doubling wait after a token was refused, or got no response: the server or bus-auth
 * may be overloaded. When the bus comes back, all nodes log in at once, and the server gives each login up
 * after AUTH_TIMEOUT_S. If they came again within that time for ever, each would be answered too late, and
 * none would get in any more. 5,000 nodes with two connections are 300 logins a second at this bound.
 */
const REFUSED_WAIT_MAX_MS = 30_000;

/**
 * Wait after a number of consecutive token refusals; `random` is in [0, 1). Spread over three times its
 * shortest, so that logins that failed together do not come together again.
 */
export function retryDelayMs(refusals: number, random: number): number {
  if (refusals === 0) return RECONNECT_WAIT_MS + random * RECONNECT_JITTER_MS;
  return backoffMs(refusals + 1, { baseMs: RECONNECT_WAIT_MS, maxMs: REFUSED_WAIT_MAX_MS }) * (0.5 + random);
}

export class Login {
  readonly authenticator: Authenticator;
  readonly file: SecretFile | null;
  readonly isToken: boolean;
  /** The secret of the last attempt. */
  secret = '';
  /** Consecutive refusals. */
  #refusals = 0;

  constructor({ user, password, passwordFile, tokenFile }: Credentials) {
    const path = tokenFile ?? passwordFile;
    this.isToken = tokenFile !== undefined;
    this.file = path === undefined ? null : new SecretFile(path);
    this.authenticator = usernamePasswordAuthenticator(user, () => {
      this.secret = this.file?.next() ?? password ?? '';
      return this.secret;
    });
  }

  /**
   * Refused, or without a response. Counts tokens only: after a refused password the next one is tried
   * without delay.
   */
  refused(): void {
    if (this.isToken) this.#refusals += 1;
  }

  succeeded(): void {
    this.#refusals = 0;
    this.file?.succeeded();
  }

  delayMs(): number {
    return retryDelayMs(this.#refusals, Math.random());
  }
}
