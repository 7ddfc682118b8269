/** The door of `bailiff console`: a link opens a session, which sees what its user sees. */
import type { IncomingMessage } from 'node:http';
import { type Door, type Guest, Refused } from '../access/door.ts';
import { EVERYTHING } from '../access/scope.ts';
import { cookieIn } from './request-check.ts';
import type { Opened, Sessions } from './sessions.ts';

/** The page sends it with each request for data; only here, its value counts. */
export const KEY_HEADER = 'x-bailiff-key';

export class LinkDoor implements Door {
  readonly kind = 'link';
  readonly #sessions: Sessions;

  constructor(sessions: Sessions) {
    this.#sessions = sessions;
  }

  /** Cookies do not distinguish ports: two consoles of a machine need two names. @param port of the console */
  static cookieName = (port: number | undefined): string => `bailiff_console_${port}`;

  /** Null: the token is wrong, or was used. */
  open(token: string): Opened | null {
    return this.#sessions.open(token);
  }

  async admit({ headers, socket }: IncomingMessage): Promise<Guest> {
    const key = headers[KEY_HEADER];
    const cookie = cookieIn(headers.cookie, LinkDoor.cookieName(socket.localPort));
    if (this.#sessions.isOpen(cookie, typeof key === 'string' ? key : '')) return { name: '', scope: EVERYTHING };
    throw new Refused(
      401,
      'no session: the link was used, or the console was started again',
      'run `bailiff console` and open the link that it prints',
    );
  }
}
