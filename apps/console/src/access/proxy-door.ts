/** The door of the cluster's console: visitors see what Kubernetes lets them see. */
import type { IncomingMessage } from 'node:http';
import { type Door, type Guest, Refused } from './door.ts';
import { MAX_NAMESPACES, type Rights } from './rights.ts';
import type { Visitors } from './visitors.ts';

export class ProxyDoor implements Door {
  readonly kind = 'proxy';
  readonly #visitors: Visitors;
  readonly #rights: Rights;
  readonly #onRefused: (error: Refused) => void;

  constructor(visitors: Visitors, rights: Rights, onRefused: (error: Refused) => void) {
    this.#visitors = visitors;
    this.#rights = rights;
    this.#onRefused = onRefused;
  }

  async admit(request: IncomingMessage): Promise<Guest> {
    try {
      const identity = await this.#visitors.identify(request);
      const { user } = identity;
      const scope = await this.#rights.scopeOf(user);
      const name = user.username ?? '';
      if (scope.isAll || scope.namespaces.length > 0) return { name, scope, identity };
      // The name of a person may be anything: it must not become a second command.
      const shown = /^[\w.@:-]+$/.test(name) ? name : 'USER';
      throw new Refused(
        403,
        `${name} may not see violations in any ${this.#rights.isCut ? `of the first ${MAX_NAMESPACES} namespaces` : 'namespace'}`,
        `an administrator gives the right: kubectl -n NAMESPACE create rolebinding NAME --clusterrole bailiff-viewer --user ${shown}`,
      );
    } catch (error) {
      if (error instanceof Refused) this.#onRefused(error);
      throw error;
    }
  }
}
