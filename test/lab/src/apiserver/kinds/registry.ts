// Which resources exist at this moment: the built-in ones and those that stored CustomResourceDefinitions add.
//
// One place answers "what does this path mean", "what does discovery list" and "what does the name `pods` stand for".
// Bounded: at most `maxCustomResources` definitions, beyond which a new one is refused.

import assert from 'node:assert/strict';
import { apiVersionOf, builtinResources, type ResourceDef, reviewResources } from './resources.ts';

/** More custom resources than any test needs; a loop that registers them is a bug. */
export const maxCustomResources = 200;

export class Registry {
  #custom = new Map<string, ResourceDef[]>();

  /** Every served resource, built-in ones first. */
  all(): ResourceDef[] {
    return [...builtinResources, ...reviewResources, ...[...this.#custom.values()].flat()];
  }

  /** The resource behind a group, version and plural name, or undefined. */
  find(group: string, version: string, plural: string): ResourceDef | undefined {
    return this.all().find((def) => def.group === group && def.version === version && def.plural === plural);
  }

  /** The first definition that keeps its objects in this bucket. */
  byStorage(storage: string): ResourceDef | undefined {
    return this.all().find((def) => def.storage === storage);
  }

  /** A resource by `plural` or `plural.group`, as in-process callers name it. Asserts that it exists. */
  named(name: string): ResourceDef {
    const def = this.byStorage(name) ?? this.all().find((entry) => entry.plural === name);
    assert(def !== undefined, `no resource is called ${name}`);
    return def;
  }

  /** A resource by the apiVersion and kind that its objects carry, or undefined. */
  byKind(apiVersion: string, kind: string): ResourceDef | undefined {
    return this.all().find((def) => apiVersionOf(def) === apiVersion && def.kind === kind);
  }

  /** Replaces the resources that one CustomResourceDefinition serves; an empty list removes it. */
  setCustom(crdName: string, defs: ResourceDef[]): void {
    if (defs.length === 0) {
      this.#custom.delete(crdName);
      return;
    }
    assert(this.#custom.has(crdName) || this.#custom.size < maxCustomResources, 'too many custom resource definitions');
    this.#custom.set(crdName, defs);
  }

  /** True when this name may still be registered. */
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
