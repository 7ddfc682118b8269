/**
 * A password or token file that is replaced while the process runs. It is read at each use.
 *
 * The file may hold several secrets, one a line, newest first: during a rotation a client has the
 * next password before the server accepts it. They are tried in turn, starting with the newest
 * again after each success. If the file cannot be read, for example while it is replaced, the last
 * content stays in use. Lines beyond MAX_SECRETS are ignored.
 */
import { readFileSync } from 'node:fs';
import { BusError } from './errors.ts';

/** The next secret, the current one, and the previous one. */
export const MAX_SECRETS = 3;

/** Parses secrets, newest first. */
export function secretsIn(text: string): string[] {
  const lines = text.split('\n').map((line) => line.trim());
  return lines.filter((line) => line !== '').slice(0, MAX_SECRETS);
}

export class SecretFile {
  readonly path: string;
  #secrets: readonly string[];
  #turn = 0;

  /** @throws BusError BUS_AUTHENTICATION when it cannot be read or holds nothing */
  constructor(path: string) {
    this.path = path;
    try {
      this.#secrets = secretsIn(readFileSync(path, 'utf8'));
    } catch (cause) {
      throw new BusError('BUS_AUTHENTICATION', `the secret cannot be read: ${(cause as Error).message}`, { cause });
    }
    if (this.#secrets.length === 0) throw new BusError('BUS_AUTHENTICATION', `${path} holds no secret`);
  }

  /** Number of secrets to try. */
  get count(): number {
    return this.#secrets.length;
  }

  /** The newest secret of the current file. */
  newest(): string {
    return this.all()[0] as string;
  }

  /** All secrets of the current file, newest first. */
  all(): readonly string[] {
    this.#read();
    return this.#secrets;
  }

  /** The next secret to try. */
  next(): string {
    this.#read();
    const secret = this.#secrets[this.#turn % this.#secrets.length] as string;
    this.#turn += 1;
    return secret;
  }

  /** The last secret was accepted. */
  succeeded(): void {
    this.#turn = 0;
  }

  #read(): void {
    try {
      const secrets = secretsIn(readFileSync(this.path, 'utf8'));
      if (secrets.length > 0) this.#secrets = secrets;
    } catch {
      // An exception here would close the connection for good. The server refuses a wrong secret,
      // and the client retries.
    }
  }
}
