// As little OpenAPI as lets kubectl send objects from files: that the server validates fields itself. Pure.
//
// kubectl looks for the `fieldValidation` parameter on a kind's PATCH before it sends anything; finding it, it asks for
// no schema. There are no schemas here.

import type { Registry } from './registry.ts';
import { apiVersionOf } from './resources.ts';
import type { JsonObject } from './types.ts';

const root = '/openapi/v3';

const prefixOf = (group: string, version: string) => (group === '' ? `api/${version}` : `apis/${group}/${version}`);

/** The document at a path below /openapi/v3, or undefined where there is none. */
export function openApiDocument(registry: Registry, path: string): JsonObject | undefined {
  if (path === root) {
    const prefixes = new Set(registry.all().map((def) => prefixOf(def.group, def.version)));
    return {
      paths: Object.fromEntries([...prefixes].map((prefix) => [prefix, { serverRelativeURL: `${root}/${prefix}` }])),
    };
  }
  const defs = registry.all().filter((def) => path === `${root}/${prefixOf(def.group, def.version)}`);
  if (defs.length === 0) return undefined;
  const parameters = [{ name: 'fieldValidation', in: 'query', schema: { type: 'string', uniqueItems: true } }];
  const paths = defs.map((def) => {
    const place = def.namespaced ? '/namespaces/{namespace}' : '';
    const patch = {
      parameters,
      responses: {},
      'x-kubernetes-action': 'patch',
      'x-kubernetes-group-version-kind': { group: def.group, version: def.version, kind: def.kind },
    };
    return [`/${prefixOf(def.group, def.version)}${place}/${def.plural}/{name}`, { patch }];
  });
  return {
    openapi: '3.0.0',
    info: { title: `Bailiff lab ${apiVersionOf(defs[0]!)}`, version: 'v1' },
    paths: Object.fromEntries(paths),
  };
}
