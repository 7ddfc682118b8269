/**
 * Operations on stored objects, for requests and for in-process callers of the lab. Each method
 * implements the complete semantics (preconditions, defaults, conflicts, grace period, finalizers,
 * dry run). HTTP adds transport, faults and authorization. All methods are synchronous, so no
 * update is lost. Errors are ApiError.
 */
import { randomUUID } from 'node:crypto';
import { ApiError, alreadyExists, badRequest, notFound, unsupportedMediaType } from '../errors.ts';
import { fromStored, toStored } from '../kinds/conversion.ts';
import type { Registry } from '../kinds/registry.ts';
import { apiVersionOf, type ResourceDef } from '../kinds/resources.ts';
import { type ListOptions, type ListPage, listPage, selection } from '../store/listing.ts';
import { keyOf, type Store } from '../store/store.ts';
import { timeText } from '../times.ts';
import { isObject, type KubeObject, type ObjectInput, sameJson } from '../types.ts';
import { checkPreconditions, type DeleteOptions, isReleased, planDelete } from './deletion.ts';
import {
  applyJsonPatch,
  applyMergePatch,
  applyStrategicPatch,
  jsonPatchType,
  mergePatchType,
  strategicPatchType,
} from './patch.ts';
import { prepareCreate, prepareUpdate } from './prepare.ts';

/** Address of an object; the namespace is '' or absent for cluster-scoped ones. */
export interface ObjectRef {
  namespace?: string;
  name: string;
}

export interface WriteOptions {
  dryRun?: boolean;
  subresource?: '' | 'status';
  /** Rejects unknown fields of a custom object instead of pruning them. */
  strict?: boolean;
  /** Called before the write with the new and old object; throws ApiError to reject it. */
  review?: DeleteOptions['review'];
}

export interface DeleteResult {
  object: KubeObject;
  /** False if the object is still stored and marked for deletion. */
  removed: boolean;
}

/** Hooks of writes: validation by custom schemas, garbage collection. */
export interface WriteHooks {
  /** The object to store (with defaults, without unknown fields). Throws ApiError to reject it. */
  admit(def: ResourceDef, object: KubeObject, strict: boolean): KubeObject;
  /** Called before the deletion of an object whose dependents stay. */
  orphan(uid: string): void;
}

export class Operations {
  readonly store: Store;
  readonly registry: Registry;
  readonly #nowMs: () => number;
  readonly #hooks: WriteHooks;

  constructor(store: Store, registry: Registry, nowMs: () => number, hooks: WriteHooks) {
    this.store = store;
    this.registry = registry;
    this.#nowMs = nowMs;
    this.#hooks = hooks;
  }

  /** The definition behind `pods`, `leases.coordination.k8s.io`, or a definition itself. */
  resolve(resource: string | ResourceDef): ResourceDef {
    return typeof resource === 'string' ? this.registry.byName(resource) : resource;
  }

  get(resource: string | ResourceDef, ref: ObjectRef): KubeObject {
    const def = this.resolve(resource);
    return fromStored(def, this.#stored(def, ref));
  }

  list(resource: string | ResourceDef, namespace = '', options: ListOptions = {}): ListPage {
    const def = this.resolve(resource);
    const page = listPage(this.store, def, namespace, options);
    return { ...page, items: page.items.map((item) => fromStored(def, item)) };
  }

  /** Creates; for namespaced kinds the namespace is the argument's or the object's own. */
  create(
    resource: string | ResourceDef,
    input: ObjectInput,
    namespace?: string,
    options: WriteOptions = {},
  ): KubeObject {
    const def = this.resolve(resource);
    this.#checkKind(def, input);
    const home = this.#home(def, input, namespace);
    if (def.namespaced) this.checkNamespace(home, def);
    const birth = { namespace: home, uid: randomUUID(), nowText: timeText(this.#nowMs()) };
    const object = this.#hooks.admit(def, prepareCreate(def, toStored(def, input), birth), options.strict ?? false);
    const key = keyOf(def.namespaced ? home : '', object.metadata.name);
    const existing = this.store.get(def.storage, key);
    if (existing !== undefined) {
      throw alreadyExists(def, object.metadata.name, existing.metadata.deletionTimestamp !== undefined);
    }
    options.review?.(object, null);
    return fromStored(def, options.dryRun ? object : this.store.put(def.storage, key, object));
  }

  /** Replaces an object. The second value is true if the object was created. */
  update(
    resource: string | ResourceDef,
    ref: ObjectRef,
    input: ObjectInput,
    options: WriteOptions = {},
  ): [KubeObject, boolean] {
    const def = this.resolve(resource);
    this.#checkKind(def, input);
    const current = this.store.get(def.storage, this.#key(def, ref));
    if (current === undefined) {
      if (!def.createOnUpdate || options.subresource) throw notFound(def, ref.name);
      const named = { ...input, metadata: { ...input.metadata, name: ref.name } };
      return [this.create(def, named, ref.namespace, options), true];
    }
    this.#home(def, input, ref.namespace);
    return [this.#replace(def, ref, current, toStored(def, input), 'put', options), false];
  }

  patch(
    resource: string | ResourceDef,
    ref: ObjectRef,
    type: string,
    patch: unknown,
    options: WriteOptions = {},
  ): KubeObject {
    const def = this.resolve(resource);
    const current = this.#stored(def, ref);
    const shown = fromStored(def, current);
    const patched = applyPatch(def, shown, type, patch);
    if (!isObject(patched)) throw badRequest('the patched object is not an object');
    this.#checkKind(def, patched);
    return this.#replace(def, ref, current, toStored(def, patched), 'patch', options);
  }

  delete(resource: string | ResourceDef, ref: ObjectRef, options: DeleteOptions = {}): DeleteResult {
    const def = this.resolve(resource);
    const object = this.#stored(def, ref);
    checkPreconditions(def, object, options);
    if (def.storage === 'namespaces' && protectedNamespaces.includes(ref.name)) {
      throw new ApiError(403, 'Forbidden', `namespaces "${ref.name}" is forbidden: this namespace may not be deleted`, {
        name: ref.name,
        kind: 'namespaces',
      });
    }
    options.review?.(null, object);
    const key = this.#key(def, ref);
    const plan = planDelete(def, object, options, this.#nowMs());
    if (plan.step === 'pending') return { object: fromStored(def, object), removed: false };
    if (options.dryRun) return { object: fromStored(def, plan.marked ?? object), removed: plan.step === 'remove' };
    if (options.propagationPolicy === 'Orphan') this.#hooks.orphan(object.metadata.uid);
    const marked = plan.marked === undefined ? object : this.store.put(def.storage, key, plan.marked);
    if (plan.step === 'mark') return { object: fromStored(def, marked), removed: false };
    this.store.remove(def.storage, key);
    return { object: fromStored(def, marked), removed: true };
  }

  /** Deletes all objects of a list; returns the list. */
  deleteCollection(
    resource: string | ResourceDef,
    namespace: string,
    list: ListOptions,
    options: DeleteOptions,
  ): KubeObject[] {
    const def = this.resolve(resource);
    const selects = selection(def, namespace, list);
    const chosen = this.store.list(def.storage).filter(selects);
    for (const object of chosen) this.delete(def, object.metadata, options);
    return chosen.map((object) => fromStored(def, object));
  }

  #replace(
    def: ResourceDef,
    ref: ObjectRef,
    current: KubeObject,
    input: ObjectInput,
    by: 'put' | 'patch',
    options: WriteOptions,
  ): KubeObject {
    const next = this.#hooks.admit(
      def,
      prepareUpdate(def, input, current, { subresource: options.subresource ?? '', by }),
      options.strict ?? false,
    );
    options.review?.(next, current);
    const key = this.#key(def, ref);
    if (isReleased(def, next)) {
      if (!options.dryRun) this.store.remove(def.storage, key);
      return fromStored(def, next);
    }
    if (sameJson(next, current)) return fromStored(def, current);
    return fromStored(def, options.dryRun ? next : this.store.put(def.storage, key, next));
  }

  #stored(def: ResourceDef, ref: ObjectRef): KubeObject {
    const object = this.store.get(def.storage, this.#key(def, ref));
    if (object === undefined) throw notFound(def, ref.name);
    return object;
  }

  #key(def: ResourceDef, ref: ObjectRef): string {
    return keyOf(def.namespaced ? ref.namespace : '', ref.name);
  }

  #checkKind(def: ResourceDef, input: ObjectInput): void {
    if (!isObject(input)) throw badRequest(`the object provided is unrecognized (must be of type ${def.kind})`);
    const wrongKind = input.kind !== undefined && input.kind !== '' && input.kind !== def.kind;
    const wrongVersion =
      input.apiVersion !== undefined && input.apiVersion !== '' && input.apiVersion !== apiVersionOf(def);
    if (wrongKind || wrongVersion) {
      throw badRequest(`${input.kind} in version "${input.apiVersion}" cannot be handled as a ${def.kind}`);
    }
  }

  #home(def: ResourceDef, input: ObjectInput, namespace: string | undefined): string {
    if (!def.namespaced) return '';
    const own = input.metadata?.namespace;
    if (namespace !== undefined && own && own !== namespace) {
      throw badRequest('the namespace of the provided object does not match the namespace sent on the request');
    }
    return namespace ?? (own || 'default');
  }

  /** Nothing is created in a namespace that is absent or being deleted. @throws ApiError */
  checkNamespace(name: string, def: ResourceDef): void {
    const namespace = this.store.get('namespaces', name);
    if (namespace === undefined) throw notFound({ group: '', plural: 'namespaces', kind: 'Namespace' }, name);
    if (namespace.metadata.deletionTimestamp === undefined) return;
    const why = `unable to create new content in namespace ${name} because it is being terminated`;
    throw new ApiError(403, 'Forbidden', `${def.plural} is forbidden: ${why}`, {
      kind: def.plural,
      causes: [
        {
          reason: 'NamespaceTerminating',
          message: `namespace ${name} is being terminated`,
          field: 'metadata.namespace',
        },
      ],
    });
  }
}

/** Namespaces that a real server refuses to delete. */
export const protectedNamespaces = ['default', 'kube-system', 'kube-public'];

function applyPatch(def: ResourceDef, target: KubeObject, type: string, patch: unknown): unknown {
  switch (type) {
    case mergePatchType:
      return applyMergePatch(target, patch);
    case jsonPatchType:
      return applyJsonPatch(target, patch);
    case strategicPatchType:
      if (!def.custom) return applyStrategicPatch(target, patch);
      break;
    default:
  }
  throw unsupportedMediaType(type, [jsonPatchType, mergePatchType, ...(def.custom ? [] : [strategicPatchType])]);
}
