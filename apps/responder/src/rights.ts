/**
 * Checks whether the API server permits what the response policies in force need, so that a missing
 * right shows before an attack. Every identity may review itself.
 */
import { type Access, type KubeApi, KubeError, mayAccess } from '@bailiff/kube';
import type { ResponsePolicy } from '@bailiff/policy';
import { actionsOf, responderRules } from '@bailiff/response';

/** Roles have no event for their users. */
export const CHECK_MS = 60_000;

export interface RightsOptions {
  client: KubeApi;
  /** Policies in force. */
  policies(): Iterable<ResponsePolicy>;
  /** Every action is a dry run. */
  dryRun: boolean;
  onChange(): void;
  onError(error: KubeError): void;
  signal: AbortSignal;
}

export class RightsCheck {
  readonly #o: RightsOptions;
  #missing: readonly string[] = [];
  #running = false;
  #again = false;

  constructor(options: RightsOptions) {
    this.#o = options;
  }

  /** `delete pods`; empty before the first check. */
  get missing(): readonly string[] {
    return this.#missing;
  }

  /** Policies changed, or it is time. A call during a check repeats it once. */
  async check(): Promise<void> {
    this.#again = this.#running;
    if (this.#running) return;
    this.#running = true;
    try {
      do {
        this.#again = false;
        await this.#review();
      } while (this.#again);
    } catch (error) {
      if (!(error instanceof KubeError)) throw error;
      if (!this.#o.signal.aborted) this.#o.onError(error);
    } finally {
      this.#running = false;
    }
  }

  async #review(): Promise<void> {
    const { client, policies, dryRun, signal } = this.#o;
    const { acting, dryRun: dry } = actionsOf(policies());
    const rules = responderRules(
      dryRun ? { acting: new Set(), dryRun: new Set([...acting, ...dry]) } : { acting, dryRun: dry },
    );
    const needs = rules.flatMap(({ apiGroups: [group], resources: [resource], verbs }) =>
      verbs.map((verb) => ({ verb, group, resource })),
    );
    const may = await Promise.all(needs.map((need) => mayAccess(client, accessOf(need), { attempts: 1, signal })));
    const missing = needs.flatMap(({ verb, resource }, index) => (may[index] ? [] : [`${verb} ${resource}`]));
    const isChanged = missing.join() !== this.#missing.join();
    this.#missing = missing;
    if (isChanged) this.#o.onChange();
  }
}

function accessOf({ verb, group, resource: path }: { verb: string; group: string; resource: string }): Access {
  const [resource = '', subresource = ''] = path.split('/');
  return { verb, group, resource, subresource };
}
