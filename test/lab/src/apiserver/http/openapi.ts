/**
 * OpenAPI v3 for kubectl, with two purposes. The `fieldValidation` parameter on a kind's PATCH
 * shows that the server validates fields, so kubectl fetches no schema before it sends. `explain`
 * finds the schemas of custom resources; built-in kinds have none, and their description says so.
 * Media types are absent, so that `apply` uses its own patch of built-in kinds. Pure.
 */
import type { Registry } from '../kinds/registry.ts';
import { apiVersionOf, type ResourceDef } from '../kinds/resources.ts';
import { isObject, type JsonObject } from '../types.ts';

const root = '/openapi/v3';

const prefixOf = (group: string, version: string) => (group === '' ? `api/${version}` : `apis/${group}/${version}`);
const gvkOf = ({ group, version, kind }: ResourceDef) => ({ group, version, kind });

const metaName = 'io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta';
const text = (description: string) => ({ type: 'string', description });
const textMap = (description: string) => ({ type: 'object', additionalProperties: { type: 'string' }, description });

/** The fields of metadata that `explain` shows. */
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

/** The document at a path below /openapi/v3; undefined for other paths. */
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
