// OpenAPI v3 as far as kubectl needs it: that the server validates fields itself, so that objects can be sent from files, and the schemas of
// custom resources for `kubectl explain`. Pure.
//
// kubectl looks for the `fieldValidation` parameter on a kind's PATCH before it sends anything; finding it, it asks for no schema. `explain`
// looks a resource up among the paths and its kind among the schemas. Of built-in kinds there are no schemas, and the document says so where
// `explain` shows it. No media types are named, so that `apply` keeps to its own patch of built-in kinds.

import type { Registry } from '../kinds/registry.ts';
import { apiVersionOf, type ResourceDef } from '../kinds/resources.ts';
import { isObject, type JsonObject } from '../types.ts';

const root = '/openapi/v3';

const prefixOf = (group: string, version: string) => (group === '' ? `api/${version}` : `apis/${group}/${version}`);
const gvkOf = ({ group, version, kind }: ResourceDef) => ({ group, version, kind });

const metaName = 'io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta';
const text = (description: string) => ({ type: 'string', description });
const textMap = (description: string) => ({ type: 'object', additionalProperties: { type: 'string' }, description });

/** The fields of metadata that people ask about. */
const metaSchema: JsonObject = {
  type: 'object',
  description: 'Metadata that every object has.',
  properties: {
    name: text('Unique within a namespace, or in the cluster for what has none. Cannot be changed.'),
    namespace: text('Where the object is. Cannot be changed.'),
    labels: textMap('Pairs by which objects are selected.'),
    annotations: textMap('Pairs that are kept with the object and select nothing.'),
    uid: text('Unique in time and space, set by the server.'),
    resourceVersion: text('Changes with every write; an update may carry the one it was made from.'),
    creationTimestamp: { ...text('When the server made it.'), format: 'date-time' },
    generation: { type: 'integer', format: 'int64', description: 'Grows with every change of the spec.' },
    finalizers: { type: 'array', items: { type: 'string' }, description: 'The object stays until this is empty.' },
  },
};

const typeMeta = {
  apiVersion: text('Group and version of the schema that the object is of.'),
  kind: text('The kind of the object.'),
};

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
  return {
    openapi: '3.0.0',
    info: { title: `Bailiff lab ${apiVersionOf(defs[0]!)}`, version: 'v1' },
    paths: Object.fromEntries(defs.flatMap(pathsOf)),
    components: { schemas: { [metaName]: metaSchema, ...Object.fromEntries(defs.map(schemaOf)) } },
  };
}

function pathsOf(def: ResourceDef): [string, JsonObject][] {
  const place = def.namespaced ? '/namespaces/{namespace}' : '';
  const all = `/${prefixOf(def.group, def.version)}${place}/${def.plural}`;
  const operation = (action: string) => ({
    responses: {},
    'x-kubernetes-action': action,
    'x-kubernetes-group-version-kind': gvkOf(def),
  });
  const parameters = [{ name: 'fieldValidation', in: 'query', schema: { type: 'string', uniqueItems: true } }];
  return [
    [all, { get: operation('list'), post: operation('post') }],
    [`${all}/{name}`, { get: operation('get'), patch: { parameters, ...operation('patch') } }],
  ];
}

function schemaOf(def: ResourceDef): [string, JsonObject] {
  const { group, version, kind, schema } = def;
  const name = [...(group === '' ? ['core'] : group.split('.').reverse()), version, kind].join('.');
  const metadata = {
    description: 'Metadata that every object has.',
    allOf: [{ $ref: `#/components/schemas/${metaName}` }],
  };
  const properties = { ...typeMeta, metadata };
  const which = { 'x-kubernetes-group-version-kind': [gvkOf(def)] };
  if (schema === undefined) {
    const description = `The lab's API server keeps no schema of a ${kind}: ask a real cluster what its fields are.`;
    return [name, { type: 'object', description, properties, ...which }];
  }
  const own = isObject(schema['properties']) ? schema['properties'] : {};
  return [name, { ...schema, properties: { ...own, ...properties }, ...which }];
}
