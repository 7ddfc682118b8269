/** The field names that a schema allows at a path, for suggestions. Pure. */
import { type ConfigKey, schemaFor } from '@bailiff/policy';
import * as z from 'zod';

interface Schema {
  properties?: Record<string, Schema>;
  propertyNames?: { enum?: readonly string[] };
  additionalProperties?: Schema | boolean;
  items?: Schema;
  oneOf?: readonly Schema[];
  anyOf?: readonly Schema[];
  allOf?: readonly Schema[];
}

/** A schema and all its alternatives. */
function variants(schema: Schema): Schema[] {
  const { oneOf = [], anyOf = [], allOf = [] } = schema;
  return [schema, ...[...oneOf, ...anyOf, ...allOf].flatMap(variants)];
}

function within(schema: Schema, name: string): Schema[] {
  return variants(schema).flatMap(({ properties, additionalProperties, items }) => {
    const named = properties?.[name] ?? (/^\d+$/.test(name) ? items : undefined);
    if (named) return [named];
    return typeof additionalProperties === 'object' ? [additionalProperties] : [];
  });
}

/**
 * Field names at `path` of a value under `key`, over all variants. Empty if the path does not exist
 * or its names are free.
 * @param path without the field itself: `['steps', '0']`
 */
export function fieldNames(key: Pick<ConfigKey, 'kind' | 'scope'>, path: readonly string[]): string[] {
  const root = z.toJSONSchema(schemaFor(key), { io: 'input', unrepresentable: 'any', reused: 'inline' }) as Schema;
  const places = path.reduce<Schema[]>((at, name) => at.flatMap((schema) => within(schema, name)), [root]);
  const names = places
    .flatMap(variants)
    .flatMap(({ properties, propertyNames }) => [...Object.keys(properties ?? {}), ...(propertyNames?.enum ?? [])]);
  return [...new Set(names)];
}
