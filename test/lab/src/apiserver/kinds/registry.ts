/**
 * Served resources: the built-in ones and those of stored CustomResourceDefinitions. Requests,
 * discovery and in-process callers resolve resources here. Bounded: at most `maxCustomResources`
 * definitions; a further one is rejected.
 */
import assert from 'node:assert/strict';
import { apiVersionOf, builtinResources, type ResourceDef, reviewResources } from './resources.ts';

/** More custom resources than any test needs. */
export const maxCustomResources = 200;

export class Registry {
  #custom = new Map<string, ResourceDef[]>();

  /** Every served resource, built-in ones first. */
  all(): ResourceDef[] {
    return [...builtinResources, ...reviewResources, ...[...this.#custom.values()].flat()];
  }

  /** The resource of a group, version and plural name; undefined if unknown. */
  find(group: string, version: string, plural: string): ResourceDef | undefined {
    return this.all().find((def) => def.group === group && def.version === version && def.plural === plural);
  }

  /** The first definition with this storage bucket. */
  byStorage(storage: string): ResourceDef | undefined {
    return this.all().find((def) => def.storage === storage);
  }

  /** A resource by `plural` or `plural.group`. Asserts that it exists. */
  byName(name: string): ResourceDef {
    const def = this.byStorage(name) ?? this.all().find((entry) => entry.plural === name);
    assert(def !== undefined, `no resource is called ${name}`);
    return def;
  }

  /** A resource by apiVersion and kind of its objects; undefined if unknown. */
  byKind(apiVersion: string, kind: string): ResourceDef | undefined {
    return this.all().find((def) => apiVersionOf(def) === apiVersion && def.kind === kind);
  }

  /** Replaces the resources of one CustomResourceDefinition; an empty list removes them. */
  setCustom(crdName: string, defs: ResourceDef[]): void {
    if (defs.length === 0) {
      this.#custom.delete(crdName);
      return;
    }
    assert(this.#custom.has(crdName) || this.#custom.size < maxCustomResources, 'too many custom resource definitions');
    this.#custom.set(crdName, defs);
  }

  /** True if this definition may be registered. */
  hasRoom(crdName: string): boolean {
    return this.#custom.has(crdName) || this.#custom.size < maxCustomResources;
  }

  /** The served versions of a group, preferred first, in the order of registration. */
  versionsOf(group: string): string[] {
    return [
      ...new Set(
        this.all()
          .filter((def) => def.group === group)
          .map((def) => def.version),
      ),
    ];
  }

  /** Groups other than the core one, in the order of registration. */
  groups(): string[] {
    return [...new Set(this.all().map((def) => def.group))].filter((group) => group !== '');
  }
}
