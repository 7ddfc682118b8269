/**
 * Checks whether the API server permits what the response policies in force need, so that a missing
 * right, a refused credential or a server that cannot be reached shows before an attack. Every identity
 * may review itself.
 */
import { type Access, type KubeApi, KubeError, mayAccess } from '@bailiff/kube';
import type { ResponsePolicy } from '@bailiff/policy';
import { actionsOf, responderRules } from '@bailiff/response';

/** Roles have no event for their users. Without a response to make, only this finds a server that hangs. */
const CHECK_MS = 20_000;
/** Interval of `tick`, and of checks while the last one failed. */
export const TICK_MS = 5_000;

/** Without these, no response can be carried out. Others say nothing about responses. */
const FAILURES: Partial<Record<KubeError['code'], string>> = {
  KUBE_UNAUTHORIZED: 'the API server refuses the credential',
  KUBE_UNREACHABLE: 'the API server cannot be reached',
  KUBE_TIMEOUT: 'the API server cannot be reached',
  KUBE_SERVER: 'the API server fails',
};

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
  #problem = '';
  #ticks = 0;
  #running = false;
  #again = false;

  constructor(options: RightsOptions) {
    this.#o = options;
  }

  /** `delete pods`; empty before the first check. */
  get missing(): readonly string[] {
    return this.#missing;
  }

  /** Why responses cannot be carried out; empty if the last check got a response. */
  get problem(): string {
    return this.#problem;
  }

  /** Call it every TICK_MS. */
  tick(): void {
    this.#ticks += 1;
    const isDue = this.#problem !== '' || this.#ticks % (CHECK_MS / TICK_MS) === 0;
    if (isDue && !this.#running) void this.check();
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
        this.#problem = '';
      } while (this.#again);
    } catch (error) {
      if (!(error instanceof KubeError)) throw error;
      if (this.#o.signal.aborted) return;
      const what = FAILURES[error.code];
      this.#problem = what === undefined ? '' : `${what}: ${error.message}`;
      this.#o.onError(error);
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
