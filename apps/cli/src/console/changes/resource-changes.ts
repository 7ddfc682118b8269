/**
 * Changes on the page of a cluster: the console updates the custom resource with the visitor's own token, so
 * the API server decides, and its audit log names the visitor. ipam-sync writes the value to the bus, under
 * the name and the reason in the annotations. The console itself may change nothing.
 *
 * Whether a change is offered is asked by SubjectAccessReview, and used for KEEP_MS; before a change it is
 * asked again. Bound: MAX_NAMED reviews of single resources for one page.
 */
import { isDeepStrictEqual } from 'node:util';
import { readConfig, type StoredConfig } from '@bailiff/bus';
import { type Changes, type ConfirmedChange, type Guest, identityOf, KEEP_MS, Recent, Refused } from '@bailiff/console';
import {
  apiPath,
  getObject,
  type KubeApi,
  KubeError,
  type KubeObject,
  reviewAccess,
  type TokenUserInfo,
} from '@bailiff/kube';
import {
  type ConfigKey,
  changeAnnotations,
  parseConfigKey,
  RESOURCE_GROUP,
  RESOURCE_PLURALS,
  RESOURCE_VERSION,
  type ResourceKind,
  resourceOfKey,
  resourcePath,
} from '@bailiff/policy';
import { withResourceDefaults } from '@bailiff/policy/defaults';
import { pause } from '@bailiff/service/retry';
import type { Change } from '../../shared/config/change.ts';
import { CliError } from '../../shared/errors.ts';
import { type ConsoleBus, reading } from '../reading.ts';
import { assigned, checkedChange, keyToChange, nextValue, proposalOf, storedByKey } from './proposal.ts';

const MAX_REVIEWS_KEPT = 1_024;
const MAX_NAMED = 64;
const REVIEW_MS = 3_000;
/** ipam-sync writes its status between the read and the update of a resource. */
const ATTEMPTS = 3;
/** How long the result of ipam-sync is waited for. */
const RESULT_MS = 5_000;
const POLL_MS = 200;

export interface ResourceChangesOptions {
  bus: ConsoleBus;
  /** With the identity of the console: asks what visitors may. */
  client: KubeApi;
  /** With the identity of a visitor, and nothing of the console's own. */
  withToken(token: string): KubeApi;
}

interface Target {
  kind: ResourceKind;
  name: string;
  verb: 'update' | 'create';
}

interface Resource extends KubeObject {
  metadata: KubeObject['metadata'] & { generation?: number };
  spec?: Record<string, unknown>;
  status?: {
    observedGeneration?: number;
    configRevision?: number;
    conditions?: { type: string; status: string; reason: string; message: string }[];
  };
}

/** What changes a key, or why nothing here does. Pure. */
export function targetOf(key: ConfigKey, stored: StoredConfig | null): Target | { whyNot: string } {
  const own = resourceOfKey(key);
  // A SpoofPolicy has any name, and may be of another scope than a value that exists.
  if (key.kind === 'spoof') return { whyNot: 'this page changes no SpoofPolicy: use kubectl, or the command' };
  if (!own) return { whyNot: 'no custom resource sets this key: use the command' };
  if (stored?.owner && !stored.released) return { kind: own.kind, name: stored.owner.name, verb: 'update' };
  if (stored && !stored.released) return { whyNot: 'the command line owns this key: use the command' };
  return { ...own, verb: 'create' };
}

const NO_TOKEN = 'the proxy of this console sends your name, but no token of yours: use the command';
const rightText = ({ verb, kind }: Target): string => `${verb} ${RESOURCE_PLURALS[kind]}.${RESOURCE_GROUP}`;

export class ResourceChanges implements Changes {
  readonly #options: ResourceChangesOptions;
  readonly #reviews = new Recent<boolean>(MAX_REVIEWS_KEPT, KEEP_MS);

  constructor(options: ResourceChangesOptions) {
    this.#options = options;
  }

  async whyNot(keys: readonly string[], { identity }: Guest, _signal: AbortSignal): Promise<Map<string, string>> {
    if (!identity?.token) return new Map(keys.map((key) => [key, NO_TOKEN]));
    const stored = await storedByKey(this.#options.bus);
    const reasons = new Map<string, string>();
    let named = 0;
    for (const key of keys) {
      const target = targetOf(parseConfigKey(key), stored.get(key) ?? null);
      if ('whyNot' in target) reasons.set(key, target.whyNot);
      else {
        const may =
          (await this.#recently(identity.user, target, '')) ||
          // The name of a new resource does not exist yet for a role.
          (target.verb === 'update' &&
            named++ < MAX_NAMED &&
            (await this.#recently(identity.user, target, target.name)));
        reasons.set(key, may ? '' : `you may not ${rightText(target)}`);
      }
    }
    return reasons;
  }

  async propose({ key: text, assignments }: ConfirmedProposal, guest: Guest, signal: AbortSignal) {
    const { target, key, stored, token, user } = await this.#admitted(text, guest);
    const { change, basis } = await this.#change({ target, key, stored, token, assignments, signal });
    const reader = reading(this.#options.bus, signal);
    const view = await proposalOf(reader, change, user.username ?? '', basis);
    const what = `${target.kind} ${target.name}`;
    const how = target.verb === 'create' ? `It creates the ${what}.` : `It updates the ${what}.`;
    return {
      ...view,
      notes: [`${how} A tool that manages this resource, such as Argo CD, may revert it.`, ...view.notes],
    };
  }

  async apply({ key: text, assignments, basis, reason }: ConfirmedChange, guest: Guest, signal: AbortSignal) {
    const { target, key, stored, token, user } = await this.#admitted(text, guest);
    const note = { by: user.username ?? '', why: reason };
    const api = this.#options.withToken(token);
    for (let attempt = 1; ; attempt += 1) {
      const found = await this.#change({ target, key, stored, token, assignments, signal });
      if (found.basis !== basis) throw changedMeanwhile(text);
      if (found.resource) refuseSame(target, found.resource, found.spec);
      const { uid = '', generation = 0 } = found.resource?.metadata ?? {};
      const annotations = changeAnnotations(note, { uid, generation: generation + 1 });
      const written = await write(api, target, found.resource, found.spec, annotations, signal).catch((error) => {
        if (!(error instanceof KubeError) || error.code !== 'KUBE_CONFLICT' || attempt === ATTEMPTS)
          throw asVisitors(asUnknown(error));
        return null;
      });
      if (written) return resultOf(api, target, written, signal);
    }
  }

  #recently(user: TokenUserInfo, target: Target, name: string): Promise<boolean> {
    const key = [identityOf(user), rightText(target), name].join(' ');
    return this.#reviews.get(key, performance.now(), () => this.#may(user, target, name));
  }

  #may(user: TokenUserInfo, { verb, kind }: Target, name: string): Promise<boolean> {
    const access = { verb, group: RESOURCE_GROUP, resource: RESOURCE_PLURALS[kind], namespace: '' };
    return reviewAccess(this.#options.client, user, name === '' ? access : { ...access, name }, {
      timeoutMs: REVIEW_MS,
    });
  }

  /** @throws Refused 403, asked at the API server now */
  async #admitted(text: string, { identity }: Guest) {
    if (!identity?.token) throw new Refused(403, NO_TOKEN, '');
    const { user, token } = identity;
    const key = keyToChange(text);
    const stored = await readConfig(this.#options.bus.bus, key);
    const target = targetOf(key, stored);
    if ('whyNot' in target) throw new Refused(403, target.whyNot, '');
    const name = target.verb === 'update' ? target.name : '';
    if (!(await this.#may(user, target, name))) {
      throw new Refused(
        403,
        `you may not ${rightText(target)}`,
        `an administrator gives the right: a ClusterRole with ${target.verb} on ${RESOURCE_PLURALS[target.kind]}.${RESOURCE_GROUP}, bound to you`,
      );
    }
    return { target, key, stored, user, token };
  }

  /** The resource as the visitor may read it, and the checked value that it would have. */
  async #change({
    target,
    key,
    stored,
    token,
    assignments,
    signal,
  }: {
    target: Target;
    key: ConfigKey;
    stored: StoredConfig | null;
    token: string;
    assignments: readonly string[];
    signal: AbortSignal;
  }): Promise<{ change: Change; basis: string; resource: Resource | null; spec: Record<string, unknown> }> {
    const reader = reading(this.#options.bus, signal);
    if (target.verb === 'create') {
      const spec = nextValue(key, stored, assignments);
      const basis = `revision ${stored?.bucketRevision ?? 0}`;
      return { change: await checkedChange(reader, key, stored, spec), basis, resource: null, spec };
    }
    const api = this.#options.withToken(token);
    const path = resourcePath(target.kind) + apiPath`/${target.name}`;
    const resource = await getObject<Resource>(api, path, { signal, timeoutMs: REVIEW_MS }).catch((error) => {
      throw asVisitors(error);
    });
    if (!resource) throw changedMeanwhile(`${target.kind} ${target.name}`);
    const spec = assigned(resource.spec ?? {}, assignments);
    const basis = `${resource.metadata.uid} ${resource.metadata.generation ?? 0}`;
    return { change: await checkedChange(reader, key, stored, spec), basis, resource, spec };
  }
}

type ConfirmedProposal = Pick<ConfirmedChange, 'key' | 'assignments'>;

const changedMeanwhile = (what: string) =>
  new KubeError('KUBE_CONFLICT', `${what} was changed since you saw it; nothing was written`);

/**
 * An update of the same spec makes no generation. Its record would be that of the next change, by any
 * client. @throws CliError CLI_STATE
 */
function refuseSame({ kind, name }: Target, { spec: stored = {} }: Resource, spec: Record<string, unknown>): void {
  if (!isDeepStrictEqual(withResourceDefaults(kind, spec), withResourceDefaults(kind, stored))) return;
  throw new CliError('CLI_STATE', `${kind} ${name} has these fields already: nothing to change`, {
    remedy: `kubectl describe ${kind.toLowerCase()} ${name} shows whether they are in force`,
  });
}

/** @throws KubeError KUBE_CONFLICT if the resource changed since it was read */
function write(
  api: KubeApi,
  { kind, name }: Target,
  resource: Resource | null,
  spec: Record<string, unknown>,
  annotations: Record<string, string>,
  signal: AbortSignal,
): Promise<Resource> {
  const common = { signal, attempts: 1 };
  if (!resource) {
    const body = { apiVersion: `${RESOURCE_GROUP}/${RESOURCE_VERSION}`, kind, metadata: { name, annotations }, spec };
    return api.request<Resource>({ verb: 'POST', path: resourcePath(kind), body, ...common });
  }
  const { metadata } = resource;
  const body = {
    ...resource,
    metadata: { ...metadata, annotations: { ...metadata.annotations, ...annotations } },
    spec,
  };
  return api.request<Resource>({ verb: 'PUT', path: resourcePath(kind) + apiPath`/${name}`, body, ...common });
}

/** What ipam-sync made of it, if that is known soon. The change is made already: nothing here is a failure of it. */
export async function resultOf(api: KubeApi, { kind, name }: Target, written: Resource, signal: AbortSignal) {
  const { generation = 1 } = written.metadata;
  const path = resourcePath(kind) + apiPath`/${name}`;
  const stored = `The API server accepted ${kind} ${name}, generation ${generation}`;
  const endMs = performance.now() + RESULT_MS;
  while (performance.now() < endMs && !signal.aborted) {
    const now = await getObject<Resource>(api, path, { signal }).catch((error: unknown) => {
      if (error instanceof KubeError) return null;
      throw error;
    });
    const { observedGeneration = 0, configRevision, conditions = [] } = now?.status ?? {};
    const accepted = conditions.find(({ type }) => type === 'Accepted');
    if (observedGeneration >= generation && accepted) {
      if (accepted.status === 'True')
        return { text: `${stored}; it is revision ${configRevision} on the bus`, isWritten: true, notes: [] };
      const refused = `${stored}, but it is not in force: ${accepted.reason}`;
      return { text: refused, isWritten: false, notes: [accepted.message] };
    }
    await pause(POLL_MS, signal);
  }
  return {
    text: `${stored}; ipam-sync has not written it to the bus yet`,
    isWritten: false,
    notes: [`kubectl describe ${kind.toLowerCase()} ${name} shows its state.`],
  };
}

const LOST: readonly string[] = ['KUBE_TIMEOUT', 'KUBE_ABORTED', 'KUBE_UNREACHABLE', 'KUBE_SERVER'];

/** Without a response, the API server may have stored the change. */
function asUnknown(error: unknown): unknown {
  if (!(error instanceof KubeError) || !LOST.includes(error.code)) return error;
  const text = `${error.message}; whether the change was written is not known: look at the history`;
  return new KubeError(error.code, text, error, { cause: error });
}

/** What the API server refuses to a visitor, for the visitor. */
function asVisitors(error: unknown): unknown {
  if (!(error instanceof KubeError)) return error;
  if (error.code === 'KUBE_FORBIDDEN') return new Refused(403, `the API server refuses it: ${error.message}`, '');
  if (error.code === 'KUBE_UNAUTHORIZED') {
    return new Refused(
      403,
      'the API server does not accept your token for itself',
      'the token is for another audience, or has ended: use the command',
    );
  }
  return error;
}
