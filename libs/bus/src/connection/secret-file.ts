/**
 * A secret that lies in a file and is replaced there while the process runs: a password or a token. Read at each use.
 *
 * A file may hold several, one a line, newest first: while passwords are rotated a client has the next one before the server takes it.
 * They are tried in turn, the newest first again after each success. A file that cannot be read, as while it is replaced, leaves what
 * was read last. Bounded: lines beyond MAX_SECRETS are not looked at.
 */
import { readFileSync } from 'node:fs';
import { BusError } from './errors.ts';

/** The one that comes, the one in force, and one of grace. */
export const MAX_SECRETS = 3;

/** Secrets of a text, newest first. */
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

  /** How many there are to try. */
  get count(): number {
    return this.#secrets.length;
  }

  /** The newest, as the file has it now. */
  newest(): string {
    return this.all()[0] as string;
  }

  /** All, newest first, as the file has them now. */
  all(): readonly string[] {
    this.#read();
    return this.#secrets;
  }

  /** The next to try. */
  next(): string {
    this.#read();
    const secret = this.#secrets[this.#turn % this.#secrets.length] as string;
    this.#turn += 1;
    return secret;
  }

  /** What was tried last was taken. */
  succeeded(): void {
    this.#turn = 0;
  }

  #read(): void {
    try {
      const secrets = secretsIn(readFileSync(this.path, 'utf8'));
      if (secrets.length > 0) this.#secrets = secrets;
    } catch {
      // An exception here would close the connection for good. A wrong secret is refused and tried again.
    }
  }
}
