/**
 * Handles resource requests: from a parsed request and its body to a response or a watch. No
 * sockets here. Errors are thrown as ApiError and become a Status in the HTTP layer.
 */
import type { ServiceAccountTokens } from '../access/tokens.ts';
import type { TokenUser } from '../access/users.ts';
import { type ApiError, badRequest, invalid, methodNotAllowed, resourceNotFound, success } from '../errors.ts';
import { crdStorage } from '../kinds/crds.ts';
import type { ResourceDef } from '../kinds/resources.ts';
import { listOptionsOf, type ResourceRequest } from '../request/path.ts';
import { listPage, parseVersion, selection } from '../store/listing.ts';
import { keyOf } from '../store/store.ts';
import type { WatchRequest } from '../store/watch.ts';
import type { IncludeObject } from '../table/table.ts';
import { isObject, type KubeObject, listAt, type ObjectInput } from '../types.ts';
import { admitByPolicies } from '../verbs/admission.ts';
import type { DeleteOptions } from '../verbs/deletion.ts';
import { evict } from '../verbs/eviction.ts';
import type { Operations, WriteOptions } from '../verbs/operations.ts';
import { type FaceOptions, faceOf, showList, showOne } from './negotiate.ts';

export interface Incoming {
  request: ResourceRequest;
  accept: string | undefined;
  contentType: string | undefined;
  /** Parsed JSON, undefined for no body. */
  body: unknown;
  user: TokenUser;
}

export type Answer =
  | { kind: 'body'; status: number; body: object }
  | { kind: 'watch'; watch: WatchRequest; def: ResourceDef; face: FaceOptions };

/** Default duration of a watch: half an hour, the minimum of a real server. */
export const defaultWatchMs = 30 * 60 * 1000;

/** Limit of a watch's duration. */
export const maxWatchMs = 6 * 60 * 60 * 1000;

export class ResourceHandler {
  readonly #operations: Operations;
  readonly #nowMs: () => number;
  readonly #tokens: ServiceAccountTokens;

  constructor(operations: Operations, nowMs: () => number, tokens: ServiceAccountTokens) {
    this.#operations = operations;
    this.#nowMs = nowMs;
    this.#tokens = tokens;
  }

  /** The definition of the requested resource. Throws 404 and 405. */
  definition(request: ResourceRequest): ResourceDef {
    const def = this.#operations.registry.find(request.group, request.version, request.resource);
    if (def === undefined) throw resourceNotFound();
    if (request.subresource === '') {
      if (!def.verbs.includes(request.verb)) throw methodNotAllowed();
      return def;
    }
    const sub = def.subresources.find((entry) => entry.name === request.subresource);
    if (sub === undefined) throw resourceNotFound();
    if (!sub.verbs.includes(request.verb)) throw methodNotAllowed();
    return def;
  }

  /** Handles the request. Throws ApiError. */
  handle(incoming: Incoming): Answer {
    const { request } = incoming;
    const def = this.definition(request);
    if (def.namespaced && request.namespace === '' && !['list', 'watch', 'deletecollection'].includes(request.verb)) {
      throw request.verb === 'create' ? methodNotAllowed() : resourceNotFound();
    }
    if (!def.namespaced && request.namespace !== '') throw resourceNotFound();
    const face = this.#face(def, incoming);
    switch (request.verb) {
      case 'get':
        return ok(showOne(def, this.#stored(def, request), face));
      case 'list':
        return this.#list(def, request, face);
      case 'watch':
        return this.#watch(def, request, face);
      case 'create':
        return this.#create(def, incoming, face);
      case 'update':
        return this.#update(def, incoming, face);
      case 'patch':
        return this.#patch(def, incoming, face);
      case 'delete':
        return this.#delete(def, incoming, face);
      case 'deletecollection':
        return this.#deleteCollection(def, incoming);
    }
  }

  #face(def: ResourceDef, incoming: Incoming): FaceOptions {
    const include = incoming.request.query.get('includeObject');
    return {
      face: faceOf(incoming.accept),
      include: include === 'None' || include === 'Object' ? (include as IncludeObject) : 'Metadata',
      context: {
        nowMs: this.#nowMs(),
        crd: def.custom ? this.#operations.store.get(crdStorage, `${def.plural}.${def.group}`) : undefined,
      },
    };
  }

  #stored(def: ResourceDef, request: ResourceRequest): KubeObject {
    // The operation checks for 404; the response needs the stored version from the store.
    this.#operations.get(def, request);
    return this.#operations.store.get(def.storage, keyOf(def.namespaced ? request.namespace : '', request.name))!;
  }

  #list(def: ResourceDef, request: ResourceRequest, face: FaceOptions): Answer {
    if (request.query.get('sendInitialEvents') !== null)
      throw badOption('sendInitialEvents', 'Forbidden: sendInitialEvents is forbidden for list');
    return ok(
      showList(def, listPage(this.#operations.store, def, request.namespace, listOptionsOf(request.query)), face),
    );
  }

  #watch(def: ResourceDef, request: ResourceRequest, face: FaceOptions): Answer {
    const { query } = request;
    const isTrue = (name: string) => ['1', 'true'].includes(query.get(name) ?? '');
    const seconds = Number(query.get('timeoutSeconds') ?? 0);
    if (!Number.isInteger(seconds) || seconds < 0) throw badRequest('timeoutSeconds: invalid value');
    const options = listOptionsOf(query);
    const sendInitialEvents = isTrue('sendInitialEvents');
    if (sendInitialEvents && options.resourceVersionMatch !== 'NotOlderThan') {
      throw badOption(
        'resourceVersionMatch',
        'Forbidden: sendInitialEvents requires setting resourceVersionMatch to NotOlderThan',
      );
    }
    // Checked here, while a status code can still be sent.
    selection(def, request.namespace, options);
    parseVersion(options.resourceVersion);
    const watch: WatchRequest = {
      def,
      namespace: request.namespace,
      options,
      bookmarks: isTrue('allowWatchBookmarks'),
      sendInitialEvents,
      timeoutMs: seconds === 0 ? defaultWatchMs : Math.min(seconds * 1000, maxWatchMs),
    };
    return { kind: 'watch', watch, def, face };
  }

  #create(def: ResourceDef, incoming: Incoming, face: FaceOptions): Answer {
    const { request } = incoming;
    const input = objectBody(incoming, def.kind);
    const dryRun = isDryRun(request.query, undefined);
    if (request.subresource === 'eviction') {
      this.#review(def, incoming)(input as KubeObject, null);
      evict(this.#operations, request.namespace, request.name, input, dryRun, this.#nowMs());
      return { kind: 'body', status: 201, body: { ...success(), code: 201 } };
    }
    if (request.subresource === 'token') {
      return { kind: 'body', status: 201, body: this.#tokens.issue(request.namespace, request.name, input) };
    }
    if (request.name !== '') throw methodNotAllowed();
    const created = this.#operations.create(def, input, def.namespaced ? request.namespace : undefined, {
      dryRun,
      strict: isStrict(request.query),
      review: this.#review(def, incoming),
    });
    return { kind: 'body', status: 201, body: this.#show(def, created, face) };
  }

  #update(def: ResourceDef, incoming: Incoming, face: FaceOptions): Answer {
    const { request } = incoming;
    const input = objectBody(incoming, def.kind);
    const options = this.#writeOptions(def, incoming);
    const [object, created] = this.#operations.update(def, request, input, options);
    return { kind: 'body', status: created ? 201 : 200, body: this.#show(def, object, face) };
  }

  #patch(def: ResourceDef, incoming: Incoming, face: FaceOptions): Answer {
    const { request } = incoming;
    const options = this.#writeOptions(def, incoming);
    const type = mediaType(incoming.contentType);
    if (incoming.body === undefined) throw badRequest('a patch needs a body');
    return ok(this.#show(def, this.#operations.patch(def, request, type, incoming.body, options), face));
  }

  #delete(def: ResourceDef, incoming: Incoming, face: FaceOptions): Answer {
    const { request } = incoming;
    if (request.subresource !== '') throw methodNotAllowed();
    const { object, removed } = this.#operations.delete(def, request, this.#deleteOptions(def, incoming));
    if (removed && !def.returnsDeleted) return ok(success(def, request.name, object.metadata.uid));
    return ok(this.#show(def, object, face));
  }

  #deleteCollection(def: ResourceDef, incoming: Incoming): Answer {
    const { request } = incoming;
    const gone = this.#operations.deleteCollection(
      def,
      request.namespace,
      listOptionsOf(request.query),
      this.#deleteOptions(def, incoming),
    );
    const items = gone;
    const metadata = { resourceVersion: String(this.#operations.store.version) };
    return ok({ kind: def.listKind, apiVersion: gone[0]?.apiVersion ?? 'v1', metadata, items });
  }

  #writeOptions(def: ResourceDef, incoming: Incoming): WriteOptions {
    return { ...writeOptions(incoming.request), review: this.#review(def, incoming) };
  }
  #deleteOptions(def: ResourceDef, incoming: Incoming): DeleteOptions {
    return { ...deleteOptions(incoming), review: this.#review(def, incoming) };
  }

  /** Applies the stored admission policies to a write by this user. */
  #review(def: ResourceDef, { request, user }: Incoming) {
    const { store } = this.#operations;
    return (object: KubeObject | null, oldObject: KubeObject | null): void => {
      const operation = object === null ? 'DELETE' : oldObject === null ? 'CREATE' : 'UPDATE';
      const name = (object ?? oldObject)?.metadata?.name ?? request.name;
      const { subresource, namespace, query } = request;
      const dryRun = isDryRun(query, undefined);
      admitByPolicies(store, { operation, def, subresource, namespace, name, object, oldObject, dryRun, user });
    };
  }

  /**
   * Responses to writes use the client's version. Tables are for reads, but kubectl requests them
   * for deletes too.
   */
  #show(def: ResourceDef, object: KubeObject, face: FaceOptions): object {
    return face.face === 'object' ? object : showOne(def, object, face);
  }
}

/** The rejection of a query option. */
function badOption(field: string, message: string): ApiError {
  const subject = { group: 'meta.k8s.io', plural: 'options', kind: 'Options' };
  return invalid(subject, '', [{ reason: 'FieldValueForbidden', message, field }]);
}

function ok(body: object): Answer {
  return { kind: 'body', status: 200, body };
}

function statusOrNone(request: ResourceRequest): '' | 'status' {
  return request.subresource === 'status' ? 'status' : '';
}

const isStrict = (query: URLSearchParams) => query.get('fieldValidation') === 'Strict';

function writeOptions(request: ResourceRequest): WriteOptions {
  const { query } = request;
  return { dryRun: isDryRun(query, undefined), subresource: statusOrNone(request), strict: isStrict(query) };
}

/** `application/json; charset=utf-8` → `application/json`. */
export function mediaType(header: string | undefined): string {
  return (header ?? '').split(';')[0]!.trim().toLowerCase();
}

function objectBody(incoming: Incoming, kind: string): ObjectInput {
  if (!isObject(incoming.body)) throw badRequest(`the object provided is unrecognized (must be of type ${kind})`);
  return incoming.body;
}

function isDryRun(query: URLSearchParams, body: unknown): boolean {
  const values = [...query.getAll('dryRun'), ...listAt<string>(body, 'dryRun')];
  const wrong = values.find((value) => value !== 'All');
  if (wrong !== undefined) throw badOption('dryRun', `Unsupported value: ["${wrong}"]: supported values: "All"`);
  return values.length > 0;
}

function deleteOptions(incoming: Incoming): DeleteOptions {
  const { query } = incoming.request;
  const body = incoming.body === undefined ? {} : objectBody(incoming, 'DeleteOptions');
  const grace =
    body['gracePeriodSeconds'] ??
    (query.has('gracePeriodSeconds') ? Number(query.get('gracePeriodSeconds')) : undefined);
  const policy = body['propagationPolicy'] ?? query.get('propagationPolicy') ?? undefined;
  if (grace !== undefined && grace !== null && !Number.isInteger(grace))
    throw badRequest('gracePeriodSeconds: invalid value');
  return {
    gracePeriodSeconds: typeof grace === 'number' ? grace : undefined,
    preconditions: isObject(body['preconditions']) ? body['preconditions'] : undefined,
    propagationPolicy: policy as DeleteOptions['propagationPolicy'],
    dryRun: isDryRun(query, body),
  };
}
